//! Renders a run of the model as a text for people: which process did what, what each database held then, and what was
//! read at the end.

use std::fmt::Write as _;

use switchover_contract::Guarantee;
use switchover_protocol::{Operation, Side};

use crate::migration::{Action, Migration, Reply, process_name};
use crate::outages;
use crate::promises::{self, Way};
use crate::searched::{Promise as _, Steps};
use crate::state::{Broken, Call, CopyStep, Database, State, Step, Version};

/// Renders a run that breaks a promise, with one line for each step.
pub fn render(model: &Migration, steps: &Steps<Migration>, promise: Broken) -> String {
    let mut rows = vec![["who", "does", "old", "new", "cache", "control document"].map(str::to_owned)];
    let (first, _) = &steps[0];
    rows.push(row(model, "", "at the beginning", first));
    for pair in steps.windows(2) {
        let [(before, Some(action)), (after, _)] = pair else { continue };
        rows.push(row(model, &who(*action), &what(model, before, *action, after), after));
    }
    let columns = 4 + usize::from(model.size.cache) + usize::from(model.rules.outage.confirms());
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = format!("broken: {}\n\n", promise.promise());
    for row in &rows {
        let cells: Vec<_> = (0..columns).map(|at| format!("{:<1$}", row[at], widths[at])).collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    if let Some((last, _)) = steps.last() {
        let _ = writeln!(text, "\n{}", verdict(model, last, promise));
    }
    text
}

fn row(model: &Migration, who: &str, what: &str, state: &State) -> [String; 6] {
    let cache = if model.size.cache { cache(state) } else { String::new() };
    let (old, new) = (database(state.at(Side::Old)), database(state.at(Side::New)));
    [who.to_owned(), what.to_owned(), old, new, cache, outages::document(state)]
}

fn version(version: Version) -> String {
    if version == 0 { "-".to_owned() } else { format!("v{version}") }
}

fn database(database: &Database) -> String {
    let mut text = version(database.row);
    if database.mark {
        text += " marked";
    }
    if database.lock != 0 {
        let _ = write!(text, " locked by {}", process_name(database.lock - 1));
    }
    text
}

fn cache(state: &State) -> String {
    let guards = if state.cache.guards != 0 { " guarded" } else { "" };
    version(state.cache.entry) + &outages::generation(state) + guards
}

fn who(action: Action) -> String {
    match action {
        Action::Begin(index, _)
        | Action::Proceed(index, _)
        | Action::GuardEnds(index)
        | Action::Cut(index)
        | Action::Heal(index)
        | Action::Pay(index)
        | Action::Relay(index)
        | Action::Ask(index)
        | Action::Confirm(index)
        | Action::RunOut(index)
        | Action::Lapse(index)
        | Action::Lift(index)
        | Action::Crash(index)
        | Action::LoseLock(index)
        | Action::Acknowledge(index)
        | Action::Evict(index) => process_name(index),
        Action::Copy | Action::ProceedCopy(_) => "worker".to_owned(),
        Action::Seal | Action::Decide(_) | Action::Enter => "control".to_owned(),
        Action::VerifyOld | Action::VerifyNew => "verifier".to_owned(),
        Action::Arrive | Action::EndLate | Action::LoseLateLock => "network".to_owned(),
        Action::Flush => "cache".to_owned(),
    }
}

pub(crate) fn what(model: &Migration, before: &State, action: Action, after: &State) -> String {
    let control = &after.control;
    match action {
        Action::Begin(index, operation) => {
            let host = &before.hosts[index as usize];
            let name = operation_name(operation, after.hosts[index as usize].task.map_or(0, |call| call.version));
            let early = outages::begun(before, after);
            format!("is asked to {name}, in {} (epoch {}){early}", host.phase, host.epoch)
        }
        Action::Proceed(index, reply) => {
            let Some(call) = &before.hosts[index as usize].task else { return String::new() };
            proceed(model, before, call, reply, after, index)
        }
        Action::Copy => match &after.worker.task {
            Some(copying) => {
                let lock = if copying.holds { "locks the key at old, " } else { "" };
                format!("{lock}{} at {}, to copy it", reads(copying.version), copying.from)
            }
            None => "is refused: its epoch is below the fence".to_owned(),
        },
        Action::ProceedCopy(reply) => copy(before, reply, after),
        Action::Crash(_) => "crashes, and starts again in the epoch in force".to_owned(),
        Action::LoseLock(_) => "is paused; the database takes its lock away".to_owned(),
        Action::Acknowledge(_) => format!("acknowledges epoch {}, {}", control.epoch, control.phase),
        Action::Evict(_) => "is given up".to_owned(),
        Action::Seal => format!("raises the fence to {}", control.fence),
        Action::Decide(next) if next == control.phase => "finds all in order to settle".to_owned(),
        Action::Decide(next) => format!("finds all in order to enter {next}"),
        Action::Enter if control.phase == before.control.phase => {
            format!("settles {}, epoch {}", control.phase, control.epoch)
        }
        Action::Enter => format!("puts {} in force, epoch {}", control.phase, control.epoch),
        Action::VerifyOld => "reads the key at old".to_owned(),
        Action::VerifyNew if control.verified => "reads it at new: equal or marked".to_owned(),
        Action::VerifyNew => "reads it at new: a mismatch, to be tried again".to_owned(),
        Action::Arrive => {
            let late = before.late.map(|late| format!("{} at {}", writes(late.version), late.side));
            format!("the late statement executes, and {}", late.unwrap_or_default())
        }
        Action::EndLate => "the end of the late statement passes: it will not execute".to_owned(),
        Action::LoseLateLock => "the lock that is held for the late statement is lost".to_owned(),
        Action::GuardEnds(_) => "its guard in the cache ends by itself".to_owned(),
        Action::Cut(_)
        | Action::Heal(_)
        | Action::Flush
        | Action::Pay(_)
        | Action::Relay(_)
        | Action::Ask(_)
        | Action::Confirm(_)
        | Action::RunOut(_)
        | Action::Lapse(_)
        | Action::Lift(_) => outages::what(before, action),
    }
}

fn operation_name(operation: Operation, of: Version) -> String {
    match operation {
        Operation::Load => "load".to_owned(),
        Operation::Create => format!("create {}", version(of)),
        Operation::Update => format!("update to {}", version(of)),
        Operation::Touch => format!("touch to {}", version(of)),
        Operation::Delete => "delete".to_owned(),
        Operation::Exists => "say whether the key is taken".to_owned(),
        Operation::ClearExpired => "clear what has ended".to_owned(),
    }
}

fn writes(of: Version) -> String {
    if of == 0 { "removes the row".to_owned() } else { format!("writes {}", version(of)) }
}

fn reads(of: Version) -> String {
    if of == 0 { "reads no row".to_owned() } else { format!("reads {}", version(of)) }
}

fn proceed(model: &Migration, before: &State, call: &Call, reply: Reply, after: &State, index: u8) -> String {
    let plan = model.plan(call.phase, call.operation);
    let next = after.hosts[index as usize].task;
    let writes = writes(if call.operation == Operation::Delete { 0 } else { call.version });
    let mirror = plan.mirrors.first();
    let is_strict = mirror.is_some_and(|mirror| mirror.guarantee == Guarantee::Strict);
    if call.operation == Operation::Load {
        return load(before, call, after, next);
    }
    let is_done = after.told.acknowledged != before.told.acknowledged || (after.told.deleted && !before.told.deleted);
    let done = if is_done { ", and acknowledges" } else { "" };
    let (sent, ends) = match call.step {
        Step::Written | Step::Waiting if model.size.cuts > 0 => {
            return outages::end(model, before, call, reply, next, index);
        }
        Step::Written => return format!("updates the cache{done}"),
        Step::Begun if is_strict => (format!("locks the key at {}, {writes} there", plan.lock), next.is_none()),
        Step::Begun => {
            let marked =
                if mirror.is_some_and(|mirror| mirror.guarantee == Guarantee::Marked) { ", marked" } else { "" };
            (format!("{writes} at {}{marked}", plan.home), next.is_none() && !is_done)
        }
        Step::Locked => (format!("{writes} at {}", call.other), next.is_none()),
        Step::Homed => (format!("{writes} at {}", plan.home.other()), false),
        Step::Carried => (format!("commits at {}", plan.lock), next.is_none() && !is_done),
        Step::ReadFirst | Step::Found | Step::Asking | Step::Hit | Step::Waiting => return String::new(),
    };
    match reply {
        Reply::Unheard => format!("{sent}; the answer is lost, and it returns an error"),
        Reply::Failed if call.step == Step::Homed => {
            format!("{writes} at {}: fails{done}", plan.home.other())
        }
        Reply::Failed => format!("{sent}: fails, and it returns an error"),
        Reply::Late => format!("{sent}: no answer; it gives up, and the statement is still on its way"),
        Reply::Answered if ends && after.broken == Some(Broken::Gone) => {
            format!("{sent}: no row; it answers that the session is gone")
        }
        Reply::Answered if ends => format!("{sent}: refused, or no such row"),
        Reply::Answered => format!("{sent}{done}"),
    }
}

fn load(before: &State, call: &Call, after: &State, next: Option<Call>) -> String {
    match call.step {
        Step::Found if after.cache.entry != before.cache.entry => {
            format!("fills the cache with {}", version(call.version))
        }
        Step::Found => "has lost its lease, and fills nothing".to_owned(),
        Step::Asking | Step::Hit => outages::load(call, next),
        _ => match next {
            Some(found) if found.step == Step::Found => reads(found.version),
            Some(_) => "reads no row, and asks the other database".to_owned(),
            None => "reads, and answers".to_owned(),
        },
    }
}

fn copy(before: &State, reply: Reply, after: &State) -> String {
    let Some(copying) = &before.worker.task else { return String::new() };
    let what = match (copying.from, copying.step) {
        (Side::Old, CopyStep::Read) => format!("{} at new", writes(copying.version)),
        (Side::Old, CopyStep::Carried | CopyStep::Committed) => "commits at old: the mark is gone".to_owned(),
        (Side::New, CopyStep::Read | CopyStep::Carried) => {
            format!("{} at old and commits", writes(copying.version))
        }
        (Side::New, CopyStep::Committed) if after.at(Side::New).mark => {
            "leaves the mark at new: it is another one".to_owned()
        }
        (Side::New, CopyStep::Committed) => "clears the mark at new".to_owned(),
    };
    match reply {
        Reply::Unheard => format!("{what}; the answer is lost, and it gives up"),
        Reply::Failed => format!("{what}: fails"),
        Reply::Late => format!("{what}: no answer; it gives up, and the statement is still on its way"),
        Reply::Answered if after.worker.task.is_none() && copying.step == CopyStep::Read => format!("{what}: refused"),
        Reply::Answered => what,
    }
}

/// The read, or the answer, that breaks the promise.
pub(crate) fn verdict(model: &Migration, state: &State, promise: Broken) -> String {
    let why = match promise {
        Broken::Lost => "although the session was acknowledged and nobody asked to delete it",
        Broken::Back => "although its delete was acknowledged",
        Broken::Stale => "although an acknowledged write had replaced it",
        Broken::Gone => "although nobody asked to delete it",
    };
    let mut line = match promise {
        Broken::Gone => format!("A client got the answer that its session is gone, {why}."),
        Broken::Lost | Broken::Back | Broken::Stale => format!("A load found it so, {why}."),
    };
    let mut is_first = true;
    promises::reads(model, state, |read| {
        if is_first && promises::breaks(state, read) == Some(promise) {
            is_first = false;
            let host = &state.hosts[read.host as usize];
            let how = match read.way {
                Way::Load => "a load at",
                Way::Cached => "a load from the cache at",
                Way::Exists => "whether the key is taken, asked at",
                Way::Routed => "a query that follows the router of",
            };
            let place = format!("{how} {} in {} (epoch {})", process_name(read.host), host.phase, host.epoch);
            line = format!(
                "read: {place} finds {}, {why}",
                if read.version == 0 { "nothing".to_owned() } else { version(read.version) }
            );
        }
    });
    line
}
