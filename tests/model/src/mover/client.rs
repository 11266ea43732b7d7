//! The steps of applications: transactions that take no lock of the project's and carry nothing.

use switchover_protocol::Side;

use crate::mover::action::Action;
use crate::mover::kept::{Capture, Move};
use crate::mover::rules::{Form, Stage};
use crate::mover::state::{Broken, Door, Fleet, State, Task, Tokens, Version};
use crate::mover::{copier, promises};

/// What an application may do.
pub(crate) fn actions(model: &Move, state: &State, index: u8, actions: &mut Vec<Action>) {
    let client = &state.clients[index as usize];
    match client.task {
        None => {
            idle_actions(model, state, index, actions);
            for key in 0..model.size.keys {
                if state.left.writes > 0 {
                    actions.push(Action::Send(index, key, false));
                    if state.last[key as usize] != 0 {
                        actions.push(Action::Send(index, key, true));
                    }
                }
                if state.left.snapshots > 0 {
                    actions.push(Action::Look(index, key));
                }
            }
        }
        Some(Task::Sent { key, .. }) => {
            if may_execute(model, state, index, key) {
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
pub(crate) fn send(state: &mut State, index: u8, key: u8, deletes: bool) {
    state.left.writes -= 1;
    state.clients[index as usize].task = Some(Task::Sent { key, deletes });
}

/// The write executes where the table's name leads now, and not where it led when the write was sent.
pub(crate) fn execute(model: &Move, state: &mut State, index: u8) {
    let Some(Task::Sent { key, deletes }) = state.clients[index as usize].task else { return };
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
    if deletes && state.at(side).rows[key as usize] == 0 {
        return;
    }
    let version = state.next;
    state.next += 1;
    let is_marked = client.is_host && matches!(state.control.fleet, Fleet::Mirror(_));
    let leaves_change = state.at(side).is_captured || is_marked;
    let mut token = if leaves_change { new_token(model, state, side, version) } else { 0 };
    if !model.kept.change_with_row {
        state.at_mut(side).changes[key as usize] |= token;
        token = 0;
    }
    let row = if deletes { 0 } else { version };
    state.clients[index as usize].task = Some(Task::Open { side, key, row, token });
}

/// The token of a write. Without the rule it is one more than the highest that is still there, as some databases count.
fn new_token(model: &Move, state: &State, side: Side, version: Version) -> Tokens {
    if model.kept.tokens_once {
        return 1 << version;
    }
    let there = state.at(side).changes.iter().fold(0, |all, tokens| all | tokens);
    let there = state.clients.iter().fold(there, |all, client| match client.task {
        Some(Task::Open { token, .. }) => all | token,
        Some(Task::Sent { .. } | Task::Snapshot { .. }) | None => all,
    });
    1 << (Tokens::BITS - there.leading_zeros()).max(1)
}

/// The row and its change become visible at once.
pub(crate) fn commit(model: &Move, state: &mut State, index: u8) {
    let Some(Task::Open { side, key, row, token }) = state.clients[index as usize].task.take() else { return };
    let at = key as usize;
    let table = state.at_mut(side);
    table.rows[at] = row;
    table.changes[at] = match model.kept.capture {
        Capture::PerKey if token != 0 => token,
        Capture::Append | Capture::PerKey => table.changes[at] | token,
    };
    state.last[at] = row;
    for client in &mut state.clients {
        if let Some(Task::Snapshot { key: other, fine, .. }) = &mut client.task
            && *other == key
        {
            *fine |= 1 << row;
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
