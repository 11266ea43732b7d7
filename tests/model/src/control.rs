//! The controller: barrier, guards, fence, settling, steps forwards and back, and hosts that crash or are given up.

use switchover_protocol::{Phase, Profile, Side};

use crate::model::{Action, Migration};
use crate::rules::{Fence, Guards};
use crate::state::{Process, State, WORKER};

/// What the controller may do next, and who may acknowledge.
pub(crate) fn actions(model: &Migration, state: &State, actions: &mut Vec<Action>) {
    let control = &state.control;
    for index in 0..model.size.hosts {
        let host = &state.hosts[index as usize];
        if may_acknowledge(model, state, host) {
            actions.push(Action::Acknowledge(index));
        }
        if state.left.evictions > 0 && host.epoch != control.epoch && !host.is_evicted {
            actions.push(Action::Evict(index));
        }
    }
    if model.rules.worker && may_acknowledge(model, state, &state.worker) {
        actions.push(Action::Acknowledge(WORKER));
    }
    if control.fence < control.epoch && wants_fence(model, state) && has_barrier(model, state) {
        actions.push(Action::Seal);
    }
    match control.next {
        Some(_) => actions.push(Action::Enter),
        None => decisions(model, state, actions),
    }
}

fn may_acknowledge<Task>(model: &Migration, state: &State, process: &Process<Task>) -> bool {
    process.epoch != state.control.epoch && (process.task.is_none() || !model.rules.drain)
}

fn decisions(model: &Migration, state: &State, actions: &mut Vec<Action>) {
    let (control, rules) = (&state.control, &model.rules);
    if !is_settled_down(model, state) || control.epoch > model.size.transitions || control.phase == Phase::Complete {
        return;
    }
    let at = rules.path.iter().position(|phase| *phase == control.phase).unwrap_or_default();
    if control.phase == Phase::Mirror && rules.settle && !control.settled {
        actions.push(Action::Decide(Phase::Mirror));
    }
    if let Some(next) = rules.path.get(at + 1).filter(|next| may_advance(model, state, **next)) {
        actions.push(Action::Decide(*next));
    }
    if at > 0 && state.left.rollbacks > 0 && may_go_back(model, state, rules.path[at - 1]) {
        actions.push(Action::Decide(rules.path[at - 1]));
    }
}

fn wants_fence(model: &Migration, state: &State) -> bool {
    match model.rules.fence {
        Fence::Never => false,
        Fence::AtEviction => state.hosts.iter().any(|host| host.is_evicted),
        Fence::AtEveryEpoch => true,
    }
}

fn has_barrier(model: &Migration, state: &State) -> bool {
    !model.rules.barrier || all_acknowledged(model, state)
}

/// Everybody is in the epoch in force, and nothing older can happen any more: guards can be looked at, keys verified.
pub(crate) fn is_settled_down(model: &Migration, state: &State) -> bool {
    let is_fenced = state.control.fence == state.control.epoch;
    has_barrier(model, state) && (is_fenced || !model.rules.fence_first || !wants_fence(model, state))
}

/// The guards of a step forwards.
fn may_advance(model: &Migration, state: &State, next: Phase) -> bool {
    let (control, rules) = (&state.control, &model.rules);
    let (old, new) = (state.at(Side::Old), state.at(Side::New));
    if rules.guards == Guards::EqualRows {
        return !reads_new(next) || reads_new(control.phase) || old.row == new.row;
    }
    let leaves_mirror = control.phase == Phase::Mirror;
    let is_settled = !leaves_mirror || !rules.settle || control.settled;
    let is_verified = !leaves_mirror || !rules.verify || control.verified;
    let moves_reads = reads_new(next) && !reads_new(control.phase);
    let has_no_marks = !moves_reads || !rules.old_marks || !old.mark;
    let has_all = !moves_reads || rules.profile != Profile::Lazy || old.row == 0 || new.row != 0;
    is_settled && is_verified && has_no_marks && has_all
}

/// The guard of a step back.
fn may_go_back(model: &Migration, state: &State, next: Phase) -> bool {
    let moves_reads = reads_new(state.control.phase) && !reads_new(next);
    !moves_reads || !model.rules.new_marks || !state.at(Side::New).mark
}

fn reads_new(phase: Phase) -> bool {
    match phase {
        Phase::Off | Phase::Invalidate | Phase::Mirror | Phase::Strict => false,
        Phase::Cutover | Phase::Reverse | Phase::Complete => true,
    }
}

/// Every process that was not given up is in the epoch in force.
pub(crate) fn all_acknowledged(model: &Migration, state: &State) -> bool {
    let epoch = state.control.epoch;
    let mut hosts = state.hosts.iter().take(model.size.hosts.into());
    hosts.all(|host| host.epoch == epoch || host.is_evicted) && (!model.rules.worker || state.worker.epoch == epoch)
}

/// Barrier and guards are in order: the step is decided, and its guards are not looked at again.
pub(crate) fn decide(model: &Migration, state: &mut State, next: Phase) {
    let place = |phase: Phase| model.rules.path.iter().position(|other| *other == phase);
    if place(next) < place(state.control.phase) {
        state.left.rollbacks -= 1;
        state.control.rolled_back = true;
    }
    state.control.next = Some(next);
}

/// The next epoch is in force.
pub(crate) fn enter(model: &Migration, state: &mut State) {
    let Some(next) = state.control.next.take() else { return };
    let raises = wants_fence(model, state);
    let control = &mut state.control;
    if raises {
        control.fence = control.epoch;
    }
    control.epoch += 1;
    // Who comes back to `mirror` from `strict` was settled and verified before.
    control.settled = next == Phase::Mirror && (control.phase == Phase::Mirror || control.verified);
    if next == Phase::Off && model.rules.forget_verification {
        control.verified = false;
    }
    let begins = control.phase == Phase::Off;
    control.phase = next;
    state.verifier = None;
    if next == Phase::Invalidate && begins && model.rules.truncate {
        state.at_mut(Side::New).row = 0;
    }
}

/// A process takes over the epoch in force.
pub(crate) fn acknowledge(state: &mut State, process: u8) {
    let (epoch, phase) = (state.control.epoch, state.control.phase);
    if process == WORKER {
        state.worker.epoch = epoch;
        state.worker.phase = phase;
    } else {
        let host = &mut state.hosts[process as usize];
        (host.epoch, host.phase, host.is_evicted) = (epoch, phase, false);
    }
}

/// A process is gone with all that it was at, its transactions are rolled back; it comes back in the epoch in force.
pub(crate) fn crash(state: &mut State, process: u8) {
    state.left.crashes -= 1;
    state.unlock(process);
    if process == WORKER {
        state.worker.task = None;
    } else {
        state.hosts[process as usize].task = None;
        state.cache.leases &= !(1 << process);
    }
    acknowledge(state, process);
}

/// The database ends the transaction of a paused process, which does not know it.
pub(crate) fn lose_lock(state: &mut State, process: u8) {
    state.left.lost_locks -= 1;
    state.unlock(process);
    if process == WORKER {
        if let Some(copying) = &mut state.worker.task {
            copying.holds = false;
        }
    } else if let Some(call) = &mut state.hosts[process as usize].task {
        call.holds = false;
    }
}

/// A host is given up: nobody waits for it any more. Its statements are refused once the fence is above its epoch.
pub(crate) fn evict(state: &mut State, process: u8) {
    state.left.evictions -= 1;
    state.hosts[process as usize].is_evicted = true;
}
