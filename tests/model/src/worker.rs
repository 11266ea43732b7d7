//! The worker, which copies marked and idle keys, and the verifier, which reads both databases one after the other.

use switchover_protocol::{Guard, Phase, Side};

use crate::control;
use crate::migration::{Action, Migration, Reply};
use crate::rules::Ends;
use crate::state::{CopyStep, Copying, Late, Mode, State, WORKER};

/// What worker and verifier may do next.
pub(crate) fn actions(model: &Migration, state: &State, actions: &mut Vec<Action>) {
    if !model.rules.worker {
        return;
    }
    match &state.worker.task {
        None => {
            let from = state.worker.phase.source();
            if from.is_some_and(|from| has_work(state, from) && !is_blocked(model, state)) {
                actions.push(Action::Copy);
            }
        }
        Some(copying) => proceed_actions(state, copying, actions),
    }
    let has_work = state.worker.task.is_some() || state.worker.epoch != state.control.epoch;
    if state.left.crashes > 0 && has_work {
        actions.push(Action::Crash(WORKER));
    }
    if state.left.lost_locks > 0 && state.worker.task.is_some_and(|copying| copying.holds) {
        actions.push(Action::LoseLock(WORKER));
    }
    verifier_actions(model, state, actions);
}

fn proceed_actions(state: &State, copying: &Copying, actions: &mut Vec<Action>) {
    actions.push(Action::ProceedCopy(Reply::Answered));
    let is_sent_without_lock = copying.step == CopyStep::Read && copying.from == Side::Old;
    if state.left.failures > 0 && copying.step != CopyStep::Committed {
        actions.push(Action::ProceedCopy(Reply::Unheard));
        actions.push(Action::ProceedCopy(Reply::Failed));
    }
    if state.left.lates > 0 && state.late.is_none() && is_sent_without_lock {
        actions.push(Action::ProceedCopy(Reply::Late));
    }
}

/// Whether the worker may copy the key. In `mirror` it may copy every key; in other phases only a marked one.
fn has_work(state: &State, from: Side) -> bool {
    state.at(from).mark || state.worker.phase == Phase::Mirror
}

fn is_blocked(model: &Migration, state: &State) -> bool {
    model.rules.copy_locked && state.at(Side::Old).lock != 0
}

/// Locks the key at the old database, in both directions, and reads it at its source.
pub(crate) fn begin(model: &Migration, state: &mut State) {
    let Some(from) = state.worker.phase.source() else { return };
    let epoch = state.worker.epoch;
    if !model.takes(state, epoch) {
        return;
    }
    let holds = model.rules.copy_locked;
    if holds {
        state.at_mut(Side::Old).lock = WORKER + 1;
    }
    let version = state.at(from).row;
    state.worker.task =
        Some(Copying { from, step: CopyStep::Read, epoch, version, is_next: true, is_same_mark: true, holds });
}

/// A copy makes its next step.
pub(crate) fn proceed(model: &Migration, state: &mut State, reply: Reply) {
    let Some(mut copying) = state.worker.task else { return };
    match reply {
        Reply::Answered => {}
        Reply::Unheard | Reply::Failed => state.left.failures -= 1,
        Reply::Late => state.left.lates -= 1,
    }
    let goes_on = model.takes(state, copying.epoch)
        && match (copying.from, copying.step) {
            (Side::Old, CopyStep::Read) => carry(model, state, &mut copying, reply),
            (Side::Old, CopyStep::Carried | CopyStep::Committed) => {
                commit(model, state, &mut copying, reply);
                false
            }
            (Side::New, CopyStep::Read | CopyStep::Carried) => {
                let version = copying.version;
                let is_committed = commit(model, state, &mut copying, reply);
                if is_committed {
                    state.at_mut(Side::Old).row = version;
                }
                copying.step = CopyStep::Committed;
                is_committed && reply == Reply::Answered
            }
            (Side::New, CopyStep::Committed) => {
                if copying.is_same_mark || !model.rules.mark_token {
                    state.at_mut(Side::New).mark = false;
                }
                false
            }
        };
    if !goes_on {
        if reply == Reply::Late && model.rules.ends == Ends::AwaitedBySender {
            state.wait_for_end(WORKER);
        }
        state.unlock(WORKER);
    }
    state.worker.task = goes_on.then_some(copying);
}

/// Sends the statement to the new database, which does not have the lock.
fn carry(model: &Migration, state: &mut State, copying: &mut Copying, reply: Reply) -> bool {
    let is_next = copying.is_next || !model.rules.number_before_lock;
    if !model.takes_numbered(state, copying.epoch, is_next) {
        return false;
    }
    let is_equal = state.at(Side::New).row == copying.version;
    match reply {
        Reply::Failed => return false,
        Reply::Late => {
            let (version, epoch) = (copying.version, copying.epoch);
            let (side, mode) = (Side::New, Mode::Put);
            state.late =
                Some(Late { side, mode, version, epoch, is_numbered: true, is_next: true, marks: false, sender: None });
            return false;
        }
        Reply::Answered | Reply::Unheard => {}
    }
    state.at_mut(Side::New).row = copying.version;
    if !is_equal || model.rules.number_on_equal {
        state.count_up(Side::New);
    }
    copying.step = CopyStep::Carried;
    reply == Reply::Answered
}

/// Ends the transaction at the old database, and removes the mark there. Returns whether it was committed.
fn commit(model: &Migration, state: &mut State, copying: &mut Copying, reply: Reply) -> bool {
    if (model.rules.copy_locked && !copying.holds) || reply == Reply::Failed {
        return false;
    }
    state.at_mut(Side::Old).mark = false;
    state.unlock(WORKER);
    copying.holds = false;
    true
}

fn verifier_actions(model: &Migration, state: &State, actions: &mut Vec<Action>) {
    let control = &state.control;
    if control.phase != Phase::Mirror || control.verified || !model.rules.keeps(Guard::Verified) {
        return;
    }
    if state.verifier.is_some() {
        actions.push(Action::VerifyNew);
    } else if control::standing(model, state).verification().is_some() {
        actions.push(Action::VerifyOld);
    }
}

/// The verifier reads the old row and its mark.
pub(crate) fn verify_old(state: &mut State) {
    let old = state.at(Side::Old);
    state.verifier = Some((old.row, old.mark));
}

/// The verifier reads the new row. A key that is equal or marked is in order.
pub(crate) fn verify_new(state: &mut State) {
    let Some((row, is_marked)) = state.verifier.take() else { return };
    state.control.verified = is_marked || row == state.at(Side::New).row;
}
