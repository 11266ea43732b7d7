//! What follows the form `fleet`: the migration by phases, in the few steps that matter to the move. `docs/protocol.md`
//! and its model have the rest.

use switchover_protocol::Side;

use crate::mover::action::Action;
use crate::mover::kept::Move;
use crate::mover::rules::{Form, Stage};
use crate::mover::state::{Door, Fleet, State};

/// What the migration's controller and worker may do.
pub(crate) fn actions(model: &Move, state: &State, actions: &mut Vec<Action>) {
    if model.form != Form::Fleet || state.control.stage != Stage::Cut {
        return;
    }
    let is_idle = !state.clients.iter().any(|client| client.is_host && client.task.is_some());
    match state.control.fleet {
        Fleet::Off if is_idle => actions.push(Action::Mirror),
        Fleet::Mirror(compared) => {
            actions.extend((0..model.size.keys).map(Action::Compare));
            let everything = (1 << model.size.keys) - 1;
            let has_marks = state.at(Side::Old).changes.iter().any(|marks| *marks != 0);
            if compared == everything && !has_marks && is_idle {
                actions.push(Action::CutOver);
            }
        }
        Fleet::Off | Fleet::Over => {}
    }
}

/// A key is made equal under its lock, and its mark is gone. The migration's own model shows that it may be taken as one
/// step.
pub(crate) fn compare(state: &mut State, key: u8) {
    let row = state.at(Side::Old).rows[key as usize];
    state.at_mut(Side::New).rows[key as usize] = row;
    state.at_mut(Side::Old).changes[key as usize] = 0;
    if let Fleet::Mirror(compared) = &mut state.control.fleet {
        *compared |= 1 << key;
    }
}

/// Hosts read and write the new table.
pub(crate) fn cut_over(state: &mut State) {
    state.control.fleet = Fleet::Over;
    state.doors[Side::Old as usize] = Door::Leads(Side::New);
}
