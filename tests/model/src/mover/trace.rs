//! Renders a run of a move as a text for people: which process did what, what each table held then, and what was read at
//! the end.

use std::fmt::Write as _;

use switchover_protocol::Side;

use crate::mover::action::{Action, Lane, Reply};
use crate::mover::copies::Step;
use crate::mover::kept::Move;
use crate::mover::promises;
use crate::mover::rules::{Form, Stage};
use crate::mover::state::{Broken, Copying, Door, KEYS_MAX, Kind, State, Table, Task, Tokens, Version};
use crate::searched::{Promise as _, Steps};

/// Renders a run that breaks a promise, with one line for each step.
pub(crate) fn render(model: &Move, steps: &Steps<Move>, promise: Broken) -> String {
    let mut rows = vec![["who", "does", "old", "new", "fence at new", "stage"].map(str::to_owned)];
    let (first, _) = &steps[0];
    rows.push(row(model, "", "at the beginning", first));
    for pair in steps.windows(2) {
        let [(before, Some(action)), (after, _)] = pair else { continue };
        rows.push(row(model, &who(*action), &what(model, before, *action, after), after));
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
    let mut text = format!("broken: {}\n\n", promise.promise());
    for row in &rows {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    if let Some((last, _)) = steps.last() {
        let _ = writeln!(text, "\n{}", verdict(model, last, promise));
    }
    text
}

fn row(model: &Move, who: &str, what: &str, state: &State) -> [String; 6] {
    let [old, new] = [Side::Old, Side::New].map(|side| table(model, state.at(side)));
    let fence = state.at(Side::New).fence.number().to_string();
    [who.to_owned(), what.to_owned(), old, new, fence, state.control.stage.as_str().to_owned()]
}

fn version(version: Version) -> String {
    if version == 0 { "-".to_owned() } else { format!("v{version}") }
}

/// The rows and the changes of a table.
pub(crate) fn table(model: &Move, table: &Table) -> String {
    let keys = 0..usize::from(model.size.keys).min(KEYS_MAX);
    let key = |key: usize| format!("{}{}", version(table.rows[key]), changes(table.changes[key]));
    keys.map(key).collect::<Vec<_>>().join(" | ")
}

fn changes(tokens: Tokens) -> String {
    if tokens == 0 { String::new() } else { format!(" +{}", names(tokens)) }
}

fn names(tokens: Tokens) -> String {
    let names = (0..Tokens::BITS).filter(|token| tokens & (1 << token) != 0).map(|token| format!("c{token}"));
    names.collect::<Vec<_>>().join(" ")
}

/// A client or a copier, for people.
pub(crate) fn client(index: u8) -> String {
    format!("application {}", (b'A' + index) as char)
}

/// A copier, for people.
pub(crate) fn copier(index: u8) -> String {
    format!("copier {}", index + 1)
}

fn who(action: Action) -> String {
    match action {
        Action::Send(index, ..)
        | Action::Execute(index)
        | Action::Commit(index)
        | Action::RollBack(index)
        | Action::Look(index, _)
        | Action::Find(index)
        | Action::Restart(index, _)
        | Action::Upgrade(index) => client(index),
        Action::Take(index)
        | Action::Raise(index)
        | Action::Copy(index, ..)
        | Action::Proceed(index, ..)
        | Action::Crash(index) => copier(index),
        Action::Arrive => "network".to_owned(),
        Action::Mirror | Action::Compare(_) | Action::CutOver => "migration".to_owned(),
        Action::Install
        | Action::Empty
        | Action::Close
        | Action::Lock
        | Action::StepBack
        | Action::Enter(_)
        | Action::Open
        | Action::Unseal
        | Action::CaptureNew
        | Action::Again => "control".to_owned(),
    }
}

/// The key, where there are several.
fn of(model: &Move, key: u8) -> String {
    if model.size.keys == 1 { String::new() } else { format!(" of key {}", key + 1) }
}

/// What an action does.
pub(crate) fn what(model: &Move, before: &State, action: Action, after: &State) -> String {
    match action {
        Action::Send(_, key, Kind::Delete) => format!("sends a delete{}", of(model, key)),
        Action::Send(_, key, Kind::Put) => format!("sends a write{}", of(model, key)),
        Action::Send(_, key, Kind::Rekey) => format!("sends a change{} to key {}", of(model, key), 2 - key),
        Action::Execute(index) => executed(model, before, after, index),
        Action::Commit(index) => match before.clients[index as usize].task {
            Some(Task::Open { side, writes }) => {
                let written = writes.iter().flatten().map(|write| version(write.row));
                let tokens = writes.iter().flatten().fold(0, |all, write| all | write.token);
                let change = if tokens == 0 { "no change".to_owned() } else { names(tokens) };
                format!("commits {} at {side}, with {change}", written.collect::<Vec<_>>().join(" and "))
            }
            Some(Task::Sent { .. } | Task::Snapshot { .. }) | None => String::new(),
        },
        Action::RollBack(_) => "rolls back".to_owned(),
        Action::Look(..) => "begins a transaction with one snapshot".to_owned(),
        Action::Find(_) => "reads the row in that snapshot".to_owned(),
        Action::Restart(_, side) => format!("is restarted with the address of {side}"),
        Action::Upgrade(_) => "is replaced by a host of Switchover".to_owned(),
        Action::Take(index) => {
            let copier = &after.copiers[index as usize];
            let number = copier.generation.map_or(0, |generation| generation.number());
            let what = if model.kept.lease { "takes the lease" } else { "begins without the lease" };
            format!("{what}, generation {number}")
        }
        Action::Raise(index) => {
            let side = before.copiers[index as usize].from.other();
            format!("raises the fence at {side} to {}", after.at(side).fence.number())
        }
        Action::Copy(index, lane, key) => {
            let copy = after.copiers[index as usize].copies[lane as usize];
            let why = if lane == Lane::Scan { "for the scan" } else { "for a change" };
            let Some(copy) = copy else { return format!("scans past the absent row{}", of(model, key)) };
            let read = if copy.step == Step::Tokens { reads_row(copy.row) } else { reads_tokens(copy.seen) };
            format!("{read}{}, {why}", of(model, key))
        }
        Action::Proceed(index, lane, reply) => {
            let copier = &before.copiers[index as usize];
            let Some(copy) = &copier.copies[lane as usize] else { return String::new() };
            let next = after.copiers[index as usize].copies[lane as usize];
            proceeded(model, copier.from, copy, reply, next, before, after)
        }
        Action::Crash(_) => "crashes".to_owned(),
        Action::Arrive => {
            let put = before.late.map(|put| format!("{} at {}", puts(put.row), put.to)).unwrap_or_default();
            format!("the late put executes: {put}")
        }
        Action::Install => "the trigger at old is in force".to_owned(),
        Action::Empty => "empties new".to_owned(),
        Action::Close => format!("closes the fence, generation {}", after.control.generation.number()),
        Action::Lock => locked(model, before).to_owned(),
        Action::StepBack => "steps back: all is as before".to_owned(),
        Action::Enter(to) => entered(model, before.control.stage, to),
        Action::Open => "opens new to applications".to_owned(),
        Action::Unseal => "opens old again".to_owned(),
        Action::CaptureNew => "the trigger at new is in force".to_owned(),
        Action::Again => "begins another move".to_owned(),
        Action::Mirror => "puts `mirror` in force".to_owned(),
        Action::Compare(key) => format!("makes both rows equal{}, and clears the mark", of(model, key)),
        Action::CutOver => "puts `cutover` in force: hosts read new".to_owned(),
    }
}

fn executed(model: &Move, before: &State, after: &State, index: u8) -> String {
    let Some(Task::Sent { key, kind }) = before.clients[index as usize].task else { return String::new() };
    match (after.clients[index as usize].task, kind) {
        (Some(Task::Open { side, .. }), Kind::Delete) => {
            format!("deletes the row{} at {side}, not committed", of(model, key))
        }
        (Some(Task::Open { side, .. }), Kind::Rekey) => {
            format!("gives the row{} the key {} at {side}, not committed", of(model, key), 2 - key)
        }
        (Some(Task::Open { side, writes }), Kind::Put) => {
            let row = writes[key as usize].map_or(0, |write| write.row);
            format!("writes {}{} at {side}, not committed", version(row), of(model, key))
        }
        _ if before.doors[before.clients[index as usize].at as usize] == Door::Refuses => "is refused".to_owned(),
        _ => "finds no row to write, or is refused".to_owned(),
    }
}

fn reads_tokens(tokens: Tokens) -> String {
    if tokens == 0 { "reads that there is no change".to_owned() } else { format!("reads {}", names(tokens)) }
}

fn reads_row(row: Version) -> String {
    if row == 0 { "reads that there is no row".to_owned() } else { format!("reads {}", version(row)) }
}

fn puts(row: Version) -> String {
    if row == 0 { "removes the row".to_owned() } else { format!("puts {}", version(row)) }
}

fn proceeded(
    model: &Move,
    from: Side,
    copy: &Copying,
    reply: Reply,
    next: Option<Copying>,
    before: &State,
    after: &State,
) -> String {
    let to = from.other();
    match (copy.step, reply) {
        (Step::Tokens, _) => reads_tokens(next.map_or(0, |next| next.seen)),
        (Step::Row, _) => reads_row(next.map_or(0, |next| next.row)),
        (Step::Put, Reply::Unheard) => format!("{} at {to}: executed, and the answer is lost", puts(copy.row)),
        (Step::Put, Reply::Late) => format!("{} at {to}: no answer, and it is still on its way", puts(copy.row)),
        (Step::Put, Reply::Answered) if next.is_none() && model.kept.clears_after_put => {
            format!("{} at {to}: refused by the fence", puts(copy.row))
        }
        (Step::Put, Reply::Answered) => format!("{} at {to}", puts(copy.row)),
        (Step::Clear, _) => {
            let cleared: Tokens = (0..KEYS_MAX)
                .map(|key| before.at(from).changes[key] & !after.at(from).changes[key])
                .fold(0, |all, tokens| all | tokens);
            if cleared == 0 { "has nothing to clear".to_owned() } else { format!("clears {}", names(cleared)) }
        }
    }
}

fn locked(model: &Move, before: &State) -> &'static str {
    match (model.form, before.control.stage.home()) {
        (Form::Rename, Side::Old) => "locks old",
        (Form::Rename, Side::New) => "locks new",
        (Form::Bridge, Side::Old) => "locks old",
        (Form::Bridge, Side::New) => "locks the bridge, and seals new",
        (Form::Seal, Side::Old) => "seals old",
        (Form::Seal, Side::New) => "seals new",
        (Form::Fleet, _) => "seals old against all that are no hosts",
    }
}

fn entered(model: &Move, from: Stage, to: Stage) -> String {
    let what = match (model.form, from, to) {
        (Form::Rename, Stage::Verified, Stage::Cut) => ": the names are swapped",
        (Form::Bridge, Stage::Verified, Stage::Cut) => ": the bridge stands in old's place",
        (Form::Seal, Stage::Verified, Stage::Cut) => ": new is opened",
        (Form::Fleet, Stage::Verified, Stage::Cut) => ": a migration in `off` takes over",
        (_, Stage::Reversible, Stage::Aborted) => ": old counts again",
        _ => "",
    };
    format!("enters {}{what}", to.as_str())
}

/// The read, or the wait, that breaks the promise.
pub(crate) fn verdict(model: &Move, state: &State, promise: Broken) -> String {
    let why = match promise {
        Broken::Lost => "although a committed write left one there",
        Broken::Back => "although a committed delete left none there",
        Broken::Stale => "although a committed write had replaced it",
        Broken::Disturbed => {
            return "an application waits until the copier has an answer from the other table".to_owned();
        }
    };
    let read = promises::reads(model, state).find(|read| promises::breaks(state, *read) == Some(promise));
    let Some(read) = read else {
        let found = if promise == Broken::Lost { "no row" } else { "a row" };
        return format!("read: in its snapshot the application finds {found}, {why}");
    };
    let found = if read.found == 0 { "no row".to_owned() } else { version(read.found) };
    let key = of(model, read.key);
    let place = match model.form {
        Form::Rename => "whoever reads the table".to_owned(),
        Form::Fleet => "a host".to_owned(),
        Form::Bridge | Form::Seal => format!("whoever asks the server of {}", read.server),
    };
    format!("read: {place} finds {found}{key}, {why}")
}
