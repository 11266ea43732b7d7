//! What becomes of a statement without an answer: it executes late, or its end comes first.

use crate::migration::{Action, Migration};
use crate::rules::Ends;
use crate::state::{Late, Mode, State, WAITING};

/// Whether a late statement has to wait for a lock.
pub(crate) fn is_blocked(state: &State, late: &Late) -> bool {
    let database = state.at(late.side);
    !late.is_numbered && database.lock != 0 && (late.marks || database.row_locked)
}

/// What may end a late statement.
pub(crate) fn end_actions(model: &Migration, state: &State, actions: &mut Vec<Action>) {
    if model.rules.ends == Ends::None || state.late.is_none() {
        return;
    }
    actions.push(Action::EndLate);
    if state.left.lost_locks > 0 && state.databases.iter().any(|database| database.lock == WAITING + 1) {
        actions.push(Action::LoseLateLock);
    }
}

/// Who waits for the end of a late statement is gone, and the statement is not.
pub(crate) fn forget_sender(state: &mut State) {
    state.unlock(WAITING);
    if let Some(late) = &mut state.late {
        late.sender = None;
    }
}

/// A late statement can execute no more. What was locked until then is free.
pub(crate) fn end(state: &mut State) {
    state.late = None;
    state.unlock(WAITING);
}

/// A late statement executes. A statement that the database would refuse was already removed from the state.
pub(crate) fn arrive(model: &Migration, state: &mut State) {
    let Some(late) = state.late else { return };
    end(state);
    let database = state.at_mut(late.side);
    let is_taken = match late.mode {
        Mode::Put => true,
        Mode::Update => database.row != 0,
        Mode::Insert => database.row == 0,
    };
    if !is_taken {
        return;
    }
    database.row = late.version;
    if late.marks {
        model.mark(state, late.side);
    }
    if late.is_numbered {
        state.count_up(late.side);
    }
}
