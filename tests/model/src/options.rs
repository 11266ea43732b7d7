//! The command line.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use switchover_model::check::Search;
use switchover_model::migration::Migration;
use switchover_model::outage::{Covers, Outage, Remedy};
use switchover_model::rules::{Rules, Size};
use switchover_model::table::Table;
use switchover_protocol::Profile;

use crate::move_options::Moves;

/// Explores the migration protocol by the policy's own table: every interleaving within the given bounds
#[derive(Parser)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  switchover-model --hosts 3 --operations 3 --crashes 1 --failures 1
  switchover-model --profile lazy --operations 3 --lates 1 --lost-locks 1 --transitions 8 --rollbacks 2
  switchover-model mutate cutover
  switchover-model mutate \"lazy strict load\" --large --generated-max 20000000
  switchover-model move --form bridge --writes 3 --takes 2 --crashes 1 --reverse
  switchover-model trace late-statement

The exit status is 1 if a promise is broken. Memory grows with the states: about 80 bytes for each, including
those that wait to be visited."
)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) explore: Explore,
}

/// The other commands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Try every single weakening of every arm of the table
    Mutate {
        /// Only those whose names contain this
        #[arg(default_value = "")]
        filter: String,
        /// Stop each search after about this many states, repetitions included
        #[arg(long)]
        generated_max: Option<usize>,
        /// With three writes, a late statement and a lost lock; use it with --generated-max
        #[arg(long)]
        large: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Explore `switchover move`, whose writers know nothing of the project
    Move(Moves),
    /// Show how a promise is broken without a rule, or by a published scheme
    Trace {
        /// Only cases whose names contain this
        #[arg(default_value = "")]
        name: String,
    },
}

/// How large the search is.
#[derive(Args)]
pub(crate) struct Explore {
    /// Hosts that serve calls, 1 to 3
    #[arg(long, default_value_t = 2)]
    hosts: u8,
    /// Writes of clients, up to 5
    #[arg(long, default_value_t = 2)]
    operations: u8,
    /// Loads of several steps; loads of one step are tried in every state
    #[arg(long, default_value_t = 0)]
    loads: u8,
    /// Crashes of hosts or of the worker
    #[arg(long, default_value_t = 0)]
    crashes: u8,
    /// Statements that fail, or whose answer is lost
    #[arg(long, default_value_t = 0)]
    failures: u8,
    /// Statements that execute after their sender gave up
    #[arg(long, default_value_t = 0)]
    lates: u8,
    /// Key locks that are lost while their holder is paused
    #[arg(long, default_value_t = 0)]
    lost_locks: u8,
    /// Hosts that are given up because they do not acknowledge
    #[arg(long, default_value_t = 0)]
    evictions: u8,
    /// Changes of the epoch
    #[arg(long, default_value_t = 6)]
    transitions: u8,
    /// How many of these changes may be steps backwards
    #[arg(long, default_value_t = 0)]
    rollbacks: u8,
    /// Times in which one host does not reach the cache; use it with --cache
    #[arg(long, default_value_t = 0)]
    cuts: u8,
    /// How often the cache forgets everything; use it with --cache
    #[arg(long, default_value_t = 0)]
    flushes: u8,
    /// Which writes wait if their removal did not reach the cache: nothing, deletes or writes
    #[arg(long, default_value = "nothing", value_parser = covers)]
    covers: Covers,
    /// What these wait for: raise, raise-and-suspend, suspend or relay
    #[arg(long, default_value = "suspend", value_parser = remedy)]
    remedy: Remedy,
    /// With a cache; use it with --loads 1 or more
    #[arg(long)]
    cache: bool,
    /// Clients touch sessions too
    #[arg(long)]
    touch: bool,
    /// The policy's profile: backfill or lazy
    #[arg(long, default_value = "backfill", value_parser = profile)]
    profile: Profile,
    /// Threads; with more than one a trace may not be the shortest
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Stop after about this many states, repetitions included
    #[arg(long)]
    generated_max: Option<usize>,
    /// Stop after this many seconds
    #[arg(long)]
    seconds_max: Option<u64>,
    /// Search depth first and treat hosts as interchangeable: fewer states, longer traces
    #[arg(long)]
    symmetry: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Explore {
    /// The protocol in this size.
    pub(crate) fn model(&self) -> Migration {
        let size = Size {
            hosts: self.hosts,
            operations: self.operations,
            loads: self.loads,
            crashes: self.crashes,
            failures: self.failures,
            lates: self.lates,
            lost_locks: self.lost_locks,
            evictions: self.evictions,
            transitions: self.transitions,
            rollbacks: self.rollbacks,
            cuts: self.cuts,
            flushes: self.flushes,
            cache: self.cache,
            touch: self.touch,
        };
        let rules = Rules { outage: Outage::by(self.remedy, self.covers), ..Rules::of(self.profile) };
        Migration { table: Table::shipped(), rules, size }
    }

    /// How to search it.
    pub(crate) fn search(&self) -> Search {
        Search {
            threads: self.threads.max(1),
            generated_max: self.generated_max,
            time_max: self.seconds_max.map(Duration::from_secs),
            symmetry: self.symmetry,
            goes_on: false,
        }
    }
}

fn profile(word: &str) -> Result<Profile, String> {
    Profile::parse(word).ok_or_else(|| format!("use one of {}", Profile::ALL.map(Profile::as_str).join(", ")))
}

fn covers(word: &str) -> Result<Covers, String> {
    match word {
        "nothing" => Ok(Covers::Nothing),
        "deletes" => Ok(Covers::Deletes),
        "writes" => Ok(Covers::Writes),
        _ => Err("use one of nothing, deletes, writes".to_owned()),
    }
}

fn remedy(word: &str) -> Result<Remedy, String> {
    match word {
        "raise" => Ok(Remedy::Raise),
        "raise-and-suspend" => Ok(Remedy::RaiseAndSuspend),
        "suspend" => Ok(Remedy::Suspend),
        "relay" => Ok(Remedy::Relay),
        _ => Err("use one of raise, raise-and-suspend, suspend, relay".to_owned()),
    }
}
