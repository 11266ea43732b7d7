//! `switchover move`: a table is moved while programs that know nothing of Switchover go on writing it.

mod run;
mod show;

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use serde_json::json;
use switchover::Table;
use switchover::backends::moves::{CutBound, Mover, Plan, Side, State};
use switchover::backends::{Address, Kind};

use crate::output::{Verdict, note, print};

/// The commands of `move`.
#[derive(Subcommand)]
#[command(after_help = "\
A table of PostgreSQL is built again within its database, without its ended rows, while applications use it; or with
`--to postgres://…` it is carried to another server. There the cut seals the old table until applications are restarted
with the new address, or with `--bridge postgres://…` lets them go on through it until then:
  switchover move preflight postgres://…        what is in the way, and what would be made
  switchover move run postgres://…              carry rows over and compare; leave it running
  switchover move cut postgres://…              the new table counts; where it takes the name, applications notice nothing
  switchover move back postgres://…             the old one counts again
  switchover move finish postgres://…           end the way back

Exit status: 0 all is well; 1 the command failed; 2 rows differ, or the cut was not made.")]
pub(crate) enum Command {
    /// Show what is in the way, and the statements that `run` begins with; change nothing
    Preflight(Begin),
    /// Note what is written, carry rows over, and compare; again and again, until Ctrl-C. It may be started again
    Run(run::Options),
    /// Show where the move stands
    Status(run::Watched),
    /// Make the new table the one that counts. With --to, the old one refuses from then on, in words
    Cut(Exchange),
    /// Make the old table count again, with what was written since. With --to, only before the new one is open
    Back(Exchange),
    /// Before the cut: take everything away, and leave the table as it was
    Abort(Named),
    /// After the cut: end the way back. The old table stays, unless --drop-old
    Finish(Finish),
    /// Print everything that was recorded, as evidence
    Evidence(Named),
}

/// What every command takes.
#[derive(Args, Clone)]
pub(crate) struct Named {
    /// The database: an address such as `postgres://USER:PASSWORD@HOST/DATABASE`
    database: String,
    /// The database on another server that the table is carried to. Without it the table is built again where it is
    #[arg(long, value_name = "DATABASE")]
    to: Option<String>,
    /// The new database as the old server reaches it, with the user of the bridge. Applications go on through the old
    /// server after the cut, until each is restarted with the new address
    #[arg(long, value_name = "DATABASE", requires = "to")]
    bridge: Option<String>,
    /// The table
    #[arg(long, value_name = "NAME", default_value = "django_session")]
    table: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What begins a move.
#[derive(Args, Clone)]
pub(crate) struct Begin {
    #[command(flatten)]
    named: Named,
    /// The SQL condition of rows that live; those alone are carried. Tables of known libraries need none
    #[arg(long, value_name = "CONDITION", conflicts_with = "all")]
    living: Option<String>,
    /// Carry every row, also those that have ended
    #[arg(long)]
    all: bool,
}

/// The options of an exchange.
#[derive(Args)]
pub(crate) struct Exchange {
    #[command(flatten)]
    named: Named,
    /// How many milliseconds applications may wait; a try that would take longer is taken back
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    wait_ms: u64,
    /// How often to try
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    tries: u32,
    /// Say whether it would be made, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// The options of `finish`.
#[derive(Args)]
pub(crate) struct Finish {
    #[command(flatten)]
    named: Named,
    /// Drop the old table, with the rows in it
    #[arg(long)]
    drop_old: bool,
}

/// Runs a command of `move`.
pub(crate) async fn run(command: Command) -> Result<Verdict> {
    match command {
        Command::Preflight(begin) => preflight(&begin).await,
        Command::Run(options) => run::run(&options).await,
        Command::Status(watched) => run::status(&watched).await,
        Command::Cut(options) => exchange(&options, Side::Old).await,
        Command::Back(options) => exchange(&options, Side::New).await,
        Command::Abort(named) => {
            open(&named).await?.abort().await?;
            done(&named, "the table is as it was, and nothing is noted any more")
        }
        Command::Finish(Finish { named, drop_old }) => {
            open(&named).await?.finish(drop_old).await?;
            done(&named, "nothing is noted any more; there is no way back")
        }
        Command::Evidence(named) => {
            let mut mover = open(&named).await?;
            let state = begun(&mut *mover).await?;
            let mut told = show::as_json(&state);
            told["log"] = show::log(&mover.log().await?);
            print(told)?;
            Ok(Verdict::Fine)
        }
    }
}

async fn open(named: &Named) -> Result<Box<dyn Mover>> {
    let (address, table) = (postgres(&named.database)?, Table::parse(&named.table)?);
    Ok(match &named.to {
        None => Box::new(address.rebuild(&table).await?),
        Some(to) => {
            let bridge = named.bridge.as_deref().map(postgres).transpose()?;
            Box::new(address.transfer(&postgres(to)?, bridge.as_ref(), &table).await?)
        }
    })
}

/// No message repeats the address, because it may hold a password.
fn postgres(text: &str) -> Result<Address> {
    let address = Address::parse(text).ok().filter(|address| address.kind() == Kind::Postgres);
    address.context("a database is an address that begins with `postgres://`")
}

async fn begun(mover: &mut dyn Mover) -> Result<State> {
    mover.state().await?.context("no move of this table was begun: `switchover move run` begins one")
}

impl Begin {
    /// Which rows are carried.
    fn living(&self, mover: &dyn Mover) -> Result<String> {
        match (&self.living, mover.known_table()) {
            (Some(condition), _) => Ok(condition.clone()),
            (None, _) if self.all => Ok("true".to_owned()),
            (None, Some(known)) => Ok(known.living.to_owned()),
            (None, None) => bail!(
                "these are not the columns of a library that is known: say which rows live, \
                 as in --living 'expires > now()', or --all"
            ),
        }
    }
}

async fn preflight(begin: &Begin) -> Result<Verdict> {
    let mut mover = open(&begin.named).await?;
    let living = begin.living(&*mover)?;
    let obstacles = mover.obstacles(&living).await?;
    let Plan { made, made_at_new, noted } = mover.planned(&living).await?;
    if begin.named.json {
        let (ok, statements) = (obstacles.is_empty(), [made, made_at_new, noted].concat());
        print(json!({"ok": ok, "living": living, "obstacles": obstacles, "statements": statements}))?;
    } else {
        print(format_args!("-- {}, rows where {living}", mover.summary()))?;
        made.iter().try_for_each(|statement| print(format_args!("{statement};")))?;
        if !made_at_new.is_empty() {
            print("-- at the new server")?;
            made_at_new.iter().try_for_each(|statement| print(format_args!("{statement};")))?;
        }
        print("-- writes wait at most 100 ms while these are made")?;
        noted.iter().try_for_each(|statement| print(format_args!("{statement};")))?;
        obstacles.iter().try_for_each(|obstacle| print(format_args!("-- in the way: {obstacle}")))?;
    }
    Ok(if obstacles.is_empty() { Verdict::Fine } else { Verdict::Red })
}

async fn exchange(options: &Exchange, from: Side) -> Result<Verdict> {
    let mut mover = open(&options.named).await?;
    let refusal = begun(&mut *mover).await?.refusal(from);
    if options.dry_run || refusal.is_some() {
        let made = if options.dry_run { "would be made" } else { "was made" };
        let told = match &refusal {
            None => format!("the exchange {made}"),
            Some(why) => format!("nothing {made}: {why}"),
        };
        if options.named.json {
            print(json!({"ok": refusal.is_none(), "made": false, "why": refusal}))?;
        } else {
            print(told)?;
        }
        return Ok(if refusal.is_none() { Verdict::Fine } else { Verdict::Red });
    }
    let bound = CutBound { wait: Duration::from_millis(options.wait_ms), tries: options.tries };
    match mover.cut(from, bound).await {
        Ok(cut) if options.named.json => {
            let waited = u64::try_from(cut.waited.as_millis()).unwrap_or(u64::MAX);
            let told = json!({"ok": true, "made": true, "waited_ms": waited, "carried": cut.carried, "taken_back": cut.taken_back});
            print(told)?;
            Ok(Verdict::Fine)
        }
        Ok(cut) => {
            let ms = cut.waited.as_millis();
            print(format_args!("done: applications waited {ms} ms at most; {} tries were taken back", cut.taken_back))?;
            if options.named.to.is_some() && from == Side::Old {
                let (meanwhile, when) = match options.named.bridge {
                    Some(_) => ("the old table leads to the new one", "one by one"),
                    None => ("the old table refuses", "now"),
                };
                print(format_args!("{meanwhile}: restart the applications with the new address, {when}"))?;
            }
            Ok(Verdict::Fine)
        }
        Err(switchover::capabilities::DatabaseError::Conflict { message }) => {
            if options.named.json {
                print(json!({"ok": false, "made": false, "why": message}))?;
            } else {
                note(message);
            }
            Ok(Verdict::Red)
        }
        Err(error) => Err(error.into()),
    }
}

fn done(named: &Named, what: &str) -> Result<Verdict> {
    if named.json {
        print(json!({"ok": true}))?;
    } else {
        print(what)?;
    }
    Ok(Verdict::Fine)
}

/// A rate of rows.
fn rate(text: &str) -> Result<u64> {
    let rate = text.parse().ok().filter(|rate| *rate > 0);
    ensure!(rate.is_some(), "a whole number of rows a second, above 0");
    rate.context("a rate")
}
