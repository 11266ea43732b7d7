//! `switchover migrate`: an operator moves a fleet through the phases of a migration.

mod show;
mod steps;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use serde_json::json;
use switchover::migration::{Beginning, Controller, MigrationError, StepCommand};
use switchover_server::report::{self, Begun, Statement};

use crate::output::{Verdict, print};
use crate::place;

/// The commands of `migrate`.
#[derive(Subcommand)]
#[command(after_help = "\
The order of a migration, each step when `status` shows its guards green:
  switchover migrate init
  switchover migrate advance      off -> mirror; the hosts backfill by themselves
  switchover migrate settle       and they verify
  switchover migrate advance      mirror -> strict -> cutover -> reverse
  switchover migrate complete     the last one; until then `rollback` goes back

Exit status: 0 all is well; 1 the command failed; 2 a guard is red, or rows differ.")]
pub(crate) enum Command {
    /// Make side tables, fences and the control document; hosts may then join
    Init(Init),
    /// Show what `init` would make, and whether the databases can carry the migration
    Preflight(Named),
    /// Show where the migration stands, and what the next step waits for
    Status(Status),
    /// List the hosts, with what they have acknowledged
    Hosts(Named),
    /// Go to the next phase, or to a neighbour that is named
    Advance(Advance),
    /// Settle `mirror`: begin an epoch in which everything of `off` has ended, so that verification can begin
    Settle(Step),
    /// Go back to the previous phase
    Rollback(Step),
    /// Go back to `off`, phase by phase
    Abort(Step),
    /// Go from `reverse` to `complete`; there is no way back from there
    Complete(Step),
    /// Stop the jobs that copy, with a reason; calls are not touched
    Hold(Hold),
    /// Let the jobs go on
    Resume(Resume),
    /// Limit how many rows a second the jobs may copy or compare
    Rate(Rate),
    /// Change the policy, or its flags, of the whole fleet
    Policy(Policy),
    /// Give up a host whose lease has run out, so that no barrier waits for it
    Evict(Evict),
    /// Wait until the backfill has reached the last key
    Backfill(Wait),
    /// Wait until a verification is whole
    Verify(Wait),
    /// Compare the unexpired sessions of both databases once, both ways, and change nothing
    Diff(Named),
    /// Compare as `diff` does, and mark what differs, so that the hosts copy it once more
    Repair(Repair),
    /// Count the keys that wait for a copy
    Marks(Named),
    /// Print everything that the control tables know, as evidence
    Evidence(Named),
}

/// What every command takes.
#[derive(Args)]
pub(crate) struct Named {
    /// The configuration, which names the migration and its control tables
    #[arg(long, default_value = place::CONFIG)]
    pub(crate) config: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// The options of `init`.
#[derive(Args)]
pub(crate) struct Init {
    #[command(flatten)]
    named: Named,
    /// `backfill`: idle sessions are copied; `lazy`: they are carried over by use, or end
    #[arg(long, default_value = "backfill")]
    profile: String,
    /// The policy that answers, by its name
    #[arg(long, default_value = switchover::migration::POLICY_DEFAULT)]
    policy: String,
    /// A further flag of the policy, NAME=VALUE; may be repeated
    #[arg(long = "flag", value_name = "NAME=VALUE")]
    flags: Vec<String>,
    /// Print the statements, and execute none
    #[arg(long)]
    dry_run: bool,
}

/// The options of `status`.
#[derive(Args)]
pub(crate) struct Status {
    #[command(flatten)]
    named: Named,
    /// Print it again every two seconds; with --json one object a line
    #[arg(long)]
    watch: bool,
}

/// The options of `advance`.
#[derive(Args)]
pub(crate) struct Advance {
    #[command(flatten)]
    step: Step,
    /// The phase to go to, a neighbour of the one in force
    #[arg(long, value_name = "PHASE")]
    to: Option<String>,
}

/// The options of a step.
#[derive(Args)]
pub(crate) struct Step {
    #[command(flatten)]
    named: Named,
    /// Show the guards, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Go on although this guard is not green; only one that is advice, such as `backfilled`. May be repeated
    #[arg(long = "override", value_name = "GUARD")]
    overridden: Vec<String>,
    /// How many seconds to wait until every host has acknowledged
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
}

/// The options of `repair`.
#[derive(Args)]
pub(crate) struct Repair {
    #[command(flatten)]
    named: Named,
    /// Compare, and mark nothing
    #[arg(long)]
    dry_run: bool,
}

/// The options of `hold`.
#[derive(Args)]
pub(crate) struct Hold {
    #[command(flatten)]
    named: Named,
    /// Why, for everybody who looks at the status
    why: String,
    /// Show what is in force, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// The options of `resume`.
#[derive(Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    named: Named,
    /// Show what is in force, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// The options of `rate`.
#[derive(Args)]
pub(crate) struct Rate {
    #[command(flatten)]
    named: Named,
    /// Rows a second, or `none`
    rows: String,
    /// Show what is in force, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// The options of `policy`.
#[derive(Args)]
pub(crate) struct Policy {
    #[command(flatten)]
    named: Named,
    /// The policy, by its name: `phased`, or NAME of NAME.wasm in the hosts' folder of policies
    policy: String,
    /// A flag of the policy, NAME=VALUE; may be repeated. Flags that are left out are no longer set
    #[arg(long = "flag", value_name = "NAME=VALUE")]
    flags: Vec<String>,
    /// Check whether it could be changed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// How many seconds to wait until every host has acknowledged
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
}

/// The options of `evict`.
#[derive(Args)]
pub(crate) struct Evict {
    #[command(flatten)]
    named: Named,
    /// The name of the host
    host: String,
    /// Check whether it could be given up, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// The options of a wait.
#[derive(Args)]
pub(crate) struct Wait {
    #[command(flatten)]
    named: Named,
    /// How many seconds to wait at most; 0: as long as it takes
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
}

impl Wait {
    fn patience(&self) -> Option<Duration> {
        (self.wait > 0).then(|| Duration::from_secs(self.wait))
    }
}

/// Runs a command of `migrate`.
pub(crate) async fn run(command: Command) -> Result<Verdict> {
    match command {
        Command::Init(options) => init(options).await,
        Command::Preflight(named) => preflight(&named).await,
        Command::Status(options) => watch::status(&options.named, options.watch).await,
        Command::Hosts(named) => show::hosts(&controller(&named).await?.status().await?, named.json),
        Command::Advance(options) => steps::advance(&options).await,
        Command::Settle(options) => steps::made(StepCommand::Settle, &options).await,
        Command::Rollback(options) => steps::made(StepCommand::Rollback, &options).await,
        Command::Abort(options) => steps::made(StepCommand::Abort, &options).await,
        Command::Complete(options) => steps::made(StepCommand::Complete, &options).await,
        Command::Hold(Hold { named, why, dry_run }) => {
            ensure!(!why.trim().is_empty(), "say why: whoever looks at the status will ask");
            let controller = controller(&named).await?;
            if dry_run {
                return in_force(&named, &controller).await;
            }
            controller.hold(Some(why)).await?;
            done(&named, "the jobs that copy rest; calls go on")
        }
        Command::Resume(Resume { named, dry_run }) => {
            let controller = controller(&named).await?;
            if dry_run {
                return in_force(&named, &controller).await;
            }
            controller.hold(None).await?;
            done(&named, "the jobs go on")
        }
        Command::Rate(Rate { named, rows, dry_run }) => {
            let rate = match rows.as_str() {
                "none" => None,
                rows => Some(rows.parse().map_err(|_| anyhow::anyhow!("`{rows:.32}` is neither a number nor `none`"))?),
            };
            ensure!(rate != Some(0), "a rate of 0 would stop the jobs: use `hold`, which says why");
            let controller = controller(&named).await?;
            if dry_run {
                return in_force(&named, &controller).await;
            }
            controller.set_rate(rate).await?;
            done(&named, "the rate is set")
        }
        Command::Policy(options) => steps::policy(options).await,
        Command::Evict(Evict { named, host, dry_run }) => {
            let controller = controller(&named).await?;
            if dry_run {
                controller.look_at_eviction(&host).await?;
                return done(&named, "it could be given up");
            }
            controller.evict(&host).await?;
            done(&named, "it is given up: no barrier waits for it any more")
        }
        Command::Backfill(options) => watch::backfill(&options).await,
        Command::Verify(options) => watch::verify(&options).await,
        Command::Diff(named) => diff(named).await,
        Command::Repair(options) => repair(options).await,
        Command::Marks(named) => show::marks(&controller(&named).await?.status().await?, named.json),
        Command::Evidence(named) => {
            print(json!(report::status(&controller(&named).await?.evidence().await?)))?;
            Ok(Verdict::Fine)
        }
    }
}

/// The operator's end of the configured migration.
async fn controller(named: &Named) -> Result<Controller> {
    let who = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    let by: String =
        who.unwrap_or_else(|| "somebody".to_owned()).chars().filter(|c| !c.is_control()).take(64).collect();
    Ok(place::read_config(&named.config)?.controller(&by).await?)
}

fn done(named: &Named, what: &str) -> Result<Verdict> {
    if named.json {
        print(json!(report::Done::YES))?;
    } else {
        print(what)?;
    }
    Ok(Verdict::Fine)
}

/// What `hold`, `resume` and `rate` would change.
async fn in_force(named: &Named, controller: &Controller) -> Result<Verdict> {
    let document = controller.document().await?;
    if named.json {
        print(json!(report::copying(document)))?;
    } else {
        let rate = document.rate.map_or_else(|| "no rate".to_owned(), |rate| format!("{rate} rows a second"));
        let held = document.held.map_or_else(|| "the jobs may go on".to_owned(), |why| format!("held: {why}"));
        print(format_args!("in force: {held}; {rate}"))?;
    }
    Ok(Verdict::Fine)
}

async fn init(options: Init) -> Result<Verdict> {
    let Init { named, profile, policy, flags, dry_run } = options;
    let profile = report::profile(&profile).map_err(anyhow::Error::msg)?;
    let beginning = Beginning { profile, policy, flags: pairs(&flags)? };
    let controller = controller(&named).await?;
    if dry_run {
        let planned = controller.look_at_init(&beginning).await?;
        return statements_shown(&named, report::planned(controller.migration(), planned));
    }
    let statements = controller.init(beginning).await?;
    let document = controller.document().await?;
    let what = format!(
        "the migration `{}` is in `{}`, epoch {}: start the hosts, then `switchover migrate advance`",
        document.migration, document.phase, document.epoch.0
    );
    let verdict = statements_shown(&named, report::begun(document, statements))?;
    if !named.json {
        print(what)?;
    }
    Ok(verdict)
}

async fn preflight(named: &Named) -> Result<Verdict> {
    let controller = controller(named).await?;
    let verdict = statements_shown(named, report::planned(controller.migration(), controller.planned().await?))?;
    if !named.json {
        print("both databases can carry the migration; `init` makes what is listed above")?;
    }
    Ok(verdict)
}

fn statements_shown(named: &Named, begun: Begun) -> Result<Verdict> {
    if named.json {
        print(json!(begun))?;
        return Ok(Verdict::Fine);
    }
    let mut last = "";
    for Statement { database, statement } in &begun.statements {
        if database != last {
            print(format_args!("-- {database}"))?;
            last = database;
        }
        print(format_args!("{};", statement.trim_end_matches(';')))?;
    }
    Ok(Verdict::Fine)
}

async fn diff(named: Named) -> Result<Verdict> {
    let config = place::read_config(&named.config)?;
    let controller = controller(&named).await?;
    let [old, new] = controller.databases();
    let alike = crate::verify::compared(old.as_ref(), new.as_ref(), &config.limits(), named.json).await?;
    Ok(if alike { Verdict::Fine } else { Verdict::Red })
}

async fn repair(options: Repair) -> Result<Verdict> {
    let Repair { named, dry_run } = options;
    let config = place::read_config(&named.config)?;
    let controller = controller(&named).await?;
    let bar = crate::verify::progress()?;
    let repaired = controller.repair(&config.limits(), !dry_run, &mut |rows| bar.inc(rows)).await;
    bar.finish_and_clear();
    let repaired = repaired?;
    if named.json {
        print(json!(report::repair(&repaired)))?;
    } else {
        crate::verify::show(&repaired.comparison)?;
        print(format_args!(
            "{} sessions are marked; the hosts copy them, and `migrate marks` counts them",
            repaired.marked
        ))?;
    }
    let unreadable = repaired.comparison.old.unreadable + repaired.comparison.new.unreadable;
    let left = repaired.comparison.differences() - repaired.marked + unreadable;
    Ok(if left == 0 { Verdict::Fine } else { Verdict::Red })
}

/// `NAME=VALUE` as a pair.
fn pairs(flags: &[String]) -> Result<Vec<(String, String)>> {
    let pair = |flag: &String| flag.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let pairs: Option<Vec<_>> = flags.iter().map(pair).collect();
    pairs.ok_or_else(|| anyhow::anyhow!("a flag is NAME=VALUE, for example --flag cache=on"))
}

/// The exit status of an error that is a finding and no failure.
fn is_red(error: &MigrationError) -> bool {
    matches!(error, MigrationError::Red { .. } | MigrationError::NotSealed { .. })
}
