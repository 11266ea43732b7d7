//! The steps of applications: transactions that take no lock of the project's and carry nothing.

use switchover_protocol::Side;

use crate::mover::action::Action;
use crate::mover::kept::{Capture, Move};
use crate::mover::rules::{Form, Stage};
use crate::mover::state::{Broken, Door, Fleet, KEYS_MAX, Kind, State, Task, Tokens, Version, Write};
use crate::mover::{copier, promises};

/// What an application may do.
pub(crate) fn actions(model: &Move, state: &State, index: u8, actions: &mut Vec<Action>) {
    let client = &state.clients[index as usize];
    match client.task {
        None => {
            idle_actions(model, state, index, actions);
            for key in 0..model.size.keys {
                send_actions(state, index, key, actions);
            }
        }
        Some(Task::Sent { key, kind }) => {
            let other = if kind == Kind::Rekey { 1 - key } else { key };
            if [key, other].into_iter().all(|key| may_execute(model, state, index, key)) {
                actions.push(Action::Execute(index));
            }
        }
        Some(Task::Open { .. }) => actions.extend([Action::Commit(index), Action::RollBack(index)]),
        Some(Task::Snapshot { .. }) => {
            if door(state, index) != Door::Waits {
                actions.push(Action::Find(index));
            }
        }
    }
}

fn send_actions(state: &State, index: u8, key: u8, actions: &mut Vec<Action>) {
    let has_row = state.last[key as usize] != 0;
    if state.left.writes > 0 {
        actions.push(Action::Send(index, key, Kind::Put));
    }
    if state.left.writes > 0 && has_row {
        actions.push(Action::Send(index, key, Kind::Delete));
    }
    if state.left.writes > 0 && state.left.rekeys > 0 && has_row {
        actions.push(Action::Send(index, key, Kind::Rekey));
    }
    if state.left.snapshots > 0 {
        actions.push(Action::Look(index, key));
    }
}

fn idle_actions(model: &Move, state: &State, index: u8, actions: &mut Vec<Action>) {
    let client = &state.clients[index as usize];
    let other = client.at.other();
    let may_go = match model.form {
        Form::Rename | Form::Fleet => false,
        Form::Bridge => true,
        Form::Seal => matches!(door(state, index), Door::Refuses | Door::Reads),
    };
    if may_go && matches!(state.doors[other as usize], Door::Leads(_)) {
        actions.push(Action::Restart(index, other));
    }
    if model.form == Form::Fleet && !client.is_host && matches!(state.control.stage, Stage::Verified | Stage::Cut) {
        actions.push(Action::Upgrade(index));
    }
}

/// What the application meets at its address. A sealed table of the form `fleet` refuses whoever is no host.
fn door(state: &State, index: u8) -> Door {
    let client = &state.clients[index as usize];
    state.doors[client.at as usize]
}

fn is_refused(model: &Move, state: &State, index: u8) -> bool {
    let is_foreign = model.form == Form::Fleet && !state.clients[index as usize].is_host;
    door(state, index) == Door::Refuses || door(state, index) == Door::Reads || (is_foreign && state.control.is_cutting)
}

fn may_execute(model: &Move, state: &State, index: u8, key: u8) -> bool {
    if is_refused(model, state, index) {
        return true;
    }
    match door(state, index) {
        Door::Leads(side) => !state.is_row_locked(side, key) && !copier::blocks(model, state, side, key),
        Door::Reads | Door::Waits | Door::Refuses => false,
    }
}

/// Whether an application waits for a copier.
pub(crate) fn waits_for_a_copier(model: &Move, state: &State) -> bool {
    state.clients.iter().any(|client| match (client.task, state.doors[client.at as usize]) {
        (Some(Task::Sent { key, .. }), Door::Leads(side)) => copier::blocks(model, state, side, key),
        _ => false,
    })
}

/// An application sends a write.
pub(crate) fn send(state: &mut State, index: u8, key: u8, kind: Kind) {
    state.left.writes -= 1;
    state.left.rekeys -= u8::from(kind == Kind::Rekey);
    state.clients[index as usize].task = Some(Task::Sent { key, kind });
}

/// The write executes where the table's name leads now, and not where it led when the write was sent.
pub(crate) fn execute(model: &Move, state: &mut State, index: u8) {
    let Some(Task::Sent { key, kind }) = state.clients[index as usize].task else { return };
    let is_refused = is_refused(model, state, index);
    let client = state.clients[index as usize];
    state.clients[index as usize].task = None;
    if is_refused {
        let is_before = state.control.stage.home() == Side::Old && !state.control.is_cutting;
        if is_before && client.at == Side::Old && state.control.stage != Stage::Aborted {
            state.broken = Some(Broken::Disturbed);
        }
        return;
    }
    let Door::Leads(side) = state.doors[client.at as usize] else { return };
    let (at, other) = (key as usize, 1 - key as usize);
    let has = |key: usize| state.at(side).rows[key] != 0;
    let is_possible = match kind {
        Kind::Put => true,
        Kind::Delete => has(at),
        Kind::Rekey => has(at) && !has(other),
    };
    if !is_possible {
        return;
    }
    let mut writes = [None; KEYS_MAX];
    if kind == Kind::Rekey {
        writes[at] = Some(write(model, state, index, side, key, 0));
        if !model.kept.both_keys {
            writes[at] = Some(Write { row: 0, token: 0 });
        }
        let row = state.next;
        writes[other] = Some(write(model, state, index, side, 1 - key, row));
    } else {
        let row = if kind == Kind::Delete { 0 } else { state.next };
        writes[at] = Some(write(model, state, index, side, key, row));
    }
    state.clients[index as usize].task = Some(Task::Open { side, writes });
}

/// One row is written, and the trigger notes it.
fn write(model: &Move, state: &mut State, index: u8, side: Side, key: u8, row: Version) -> Write {
    let version = state.next;
    state.next += 1;
    let is_host = state.clients[index as usize].is_host;
    let is_marked = is_host && matches!(state.control.fleet, Fleet::Mirror(_));
    let leaves_change = state.at(side).is_captured || is_marked;
    let mut token = if leaves_change { new_token(model, state, side, version) } else { 0 };
    if !model.kept.change_with_row {
        state.at_mut(side).changes[key as usize] |= token;
        token = 0;
    }
    Write { row, token }
}

/// The token of a write. Without the rule it is one more than the highest that is still there, as some databases count.
fn new_token(model: &Move, state: &State, side: Side, version: Version) -> Tokens {
    if model.kept.tokens_once {
        return 1 << version;
    }
    let there = state.at(side).changes.iter().fold(0, |all, tokens| all | tokens);
    let there = state.clients.iter().fold(there, |all, client| match client.task {
        Some(Task::Open { writes, .. }) => writes.iter().flatten().fold(all, |all, write| all | write.token),
        Some(Task::Sent { .. } | Task::Snapshot { .. }) | None => all,
    });
    1 << (Tokens::BITS - there.leading_zeros()).max(1)
}

/// Rows and their changes become visible at once.
pub(crate) fn commit(model: &Move, state: &mut State, index: u8) {
    let Some(Task::Open { side, writes }) = state.clients[index as usize].task.take() else { return };
    for (at, write) in writes.iter().enumerate() {
        let Some(Write { row, token }) = *write else { continue };
        let table = state.at_mut(side);
        table.rows[at] = row;
        table.changes[at] = match model.kept.capture {
            Capture::PerKey if token != 0 => token,
            Capture::Append | Capture::PerKey => table.changes[at] | token,
        };
        state.last[at] = row;
        for client in &mut state.clients {
            if let Some(Task::Snapshot { key, fine, .. }) = &mut client.task
                && usize::from(*key) == at
            {
                *fine |= 1 << row;
            }
        }
    }
}

/// Nothing happened, except that a token was given.
pub(crate) fn roll_back(state: &mut State, index: u8) {
    state.clients[index as usize].task = None;
}

/// A transaction with one snapshot begins.
pub(crate) fn look(state: &mut State, index: u8, key: u8) {
    state.left.snapshots -= 1;
    let rows = [Side::Old, Side::New].map(|side| state.at(side).rows[key as usize]);
    let fine = 1 << state.last[key as usize];
    state.clients[index as usize].task = Some(Task::Snapshot { key, rows, fine, is_old: false });
}

/// It reads the table that has the name now, in the snapshot that it has. A foreign table has a snapshot of its own,
/// which begins with the read.
pub(crate) fn find(model: &Move, state: &mut State, index: u8) {
    let Some(Task::Snapshot { key, rows, fine, .. }) = state.clients[index as usize].task.take() else { return };
    let server = state.clients[index as usize].at;
    let found = match state.doors[server as usize] {
        Door::Leads(side) if model.form == Form::Rename || side == server => rows[side as usize],
        Door::Leads(side) => state.at(side).rows[key as usize],
        Door::Reads => rows[Side::Old as usize],
        Door::Waits | Door::Refuses => return,
    };
    state.broken = promises::of_found(found, fine);
}
