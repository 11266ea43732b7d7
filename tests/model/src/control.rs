//! The controller: barrier, guards, fence, settling, steps forwards and back, and hosts that crash or are given up.

use switchover_protocol::{Effect, Epoch, Facts, Guard, Phase, Side, Standing, entered};

use crate::late;
use crate::migration::{Action, Migration};
use crate::reach;
use crate::rules::Fence;
use crate::state::{Process, State, WAITING, WORKER};

/// What the controller may do next, and which processes may acknowledge.
pub(crate) fn actions(model: &Migration, state: &State, actions: &mut Vec<Action>) {
    let control = &state.control;
    for index in 0..model.size.hosts {
        let host = &state.hosts[index as usize];
        if may_acknowledge(model, state, host) && !waits_for_end(state, index) {
            actions.push(Action::Acknowledge(index));
        }
        if state.left.evictions > 0 && host.epoch != control.epoch && !host.is_evicted {
            actions.push(Action::Evict(index));
        }
    }
    if model.rules.worker && may_acknowledge(model, state, &state.worker) && !waits_for_end(state, WORKER) {
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

fn waits_for_end(state: &State, process: u8) -> bool {
    state.late.is_some_and(|late| late.sender == Some(process))
}

fn decisions(model: &Migration, state: &State, actions: &mut Vec<Action>) {
    let (control, rules) = (&state.control, &model.rules);
    if !is_settled_down(model, state) || control.epoch > model.size.transitions {
        return;
    }
    let at = rules.path.iter().position(|phase| *phase == control.phase).unwrap_or_default();
    // Settling a second time would only require another verification, so it is left out.
    let settles = rules.keeps(Guard::Settled) && !control.settled;
    let settling = settles.then_some(control.phase);
    let forwards = rules.path.get(at + 1).copied();
    let back = (at > 0 && state.left.rollbacks > 0).then(|| rules.path[at - 1]);
    let steps = [settling, forwards, back].into_iter().flatten();
    actions.extend(steps.filter(|next| is_open(model, state, *next)).map(Action::Decide));
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

/// Whether every process is in the epoch in force and nothing older can happen any more. Then guards can be checked and
/// keys verified.
pub(crate) fn is_settled_down(model: &Migration, state: &State) -> bool {
    let is_fenced = state.control.fence == state.control.epoch;
    has_barrier(model, state) && (is_fenced || !model.rules.fence_first || !wants_fence(model, state))
}

/// Whether there is a step to this phase, and none of its guards that are kept blocks it.
fn is_open(model: &Migration, state: &State, next: Phase) -> bool {
    let rules = &model.rules;
    let (standing, facts) = (standing(model, state), facts(state));
    let mut findings = rules.edges(standing.phase, next).map(|edge| {
        let edge = edge?;
        Some(edge.findings(&standing, &facts).all(|finding| !rules.keeps(finding.guard) || !finding.blocks()))
    });
    let is_green = findings.all(|is_green| is_green == Some(true));
    is_green && (!rules.compares_rows || is_equal_where_reads_move(state, next))
}

fn is_equal_where_reads_move(state: &State, next: Phase) -> bool {
    let moves_reads = state.control.phase.home() == Side::Old && next.home() == Side::New;
    !moves_reads || state.at(Side::Old).row == state.at(Side::New).row
}

/// The control document in the protocol's type. The state does not hold which epoch settled, only whether one did and
/// whether a verification is of that one.
pub(crate) fn standing(model: &Migration, state: &State) -> Standing {
    let control = &state.control;
    let epoch = Epoch::from(u32::from(control.epoch));
    Standing {
        epoch,
        phase: control.phase,
        sealed: if is_settled_down(model, state) { epoch } else { Epoch::ZERO },
        settled: control.settled.then_some(Epoch::FIRST),
        verified: control.verified.then_some(Epoch::FIRST),
    }
}

/// The facts about the one key.
fn facts(state: &State) -> Facts {
    let (old, new) = (state.at(Side::Old), state.at(Side::New));
    Facts {
        // The model leaves out how a migration begins.
        side_tables: Some(true),
        lossless_schema: Some(true),
        predecessor_closed: Some(true),
        backfilled: None,
        marks_at_old: Some(old.mark.into()),
        marks_at_new: Some(new.mark.into()),
        living_not_at_new: Some((old.row != 0 && new.row == 0).into()),
    }
}

/// Whether every process that was not given up is in the epoch in force.
pub(crate) fn all_acknowledged(model: &Migration, state: &State) -> bool {
    let epoch = state.control.epoch;
    let mut hosts = state.hosts.iter().take(model.size.hosts.into());
    hosts.all(|host| host.epoch == epoch || host.is_evicted) && (!model.rules.worker || state.worker.epoch == epoch)
}

/// Decides a step, after barrier and guards were found in order. The guards are not checked again.
pub(crate) fn decide(state: &mut State, next: Phase) {
    if next < state.control.phase {
        state.left.rollbacks -= 1;
        state.control.rolled_back = true;
    }
    state.control.next = Some(next);
}

/// Puts the next epoch in force.
pub(crate) fn enter(model: &Migration, state: &mut State) {
    let Some(next) = state.control.next.take() else { return };
    let edge =
        model.rules.edges(state.control.phase, next).next_back().flatten().expect("it was open when it was decided");
    let entered = entered(standing(model, state), &edge);
    if wants_fence(model, state) {
        state.control.fence = state.control.epoch;
    }
    if edge.effect == Effect::EmptiesNew {
        state.at_mut(Side::New).row = 0;
    }
    let is_settled_already = next == Phase::Mirror && !model.rules.keeps(Guard::Settled);
    let control = &mut state.control;
    control.epoch += 1;
    control.phase = entered.phase;
    control.settled = entered.settled.is_some() || is_settled_already;
    control.verified = entered.is_verified();
    state.verifier = None;
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

/// A process crashes and loses its task. Its transactions are rolled back. It starts again in the epoch in force.
pub(crate) fn crash(state: &mut State, process: u8) {
    state.left.crashes -= 1;
    state.unlock(process);
    if waits_for_end(state, process) {
        late::forget_sender(state);
    }
    if process == WORKER {
        state.worker.task = None;
    } else {
        state.hosts[process as usize].task = None;
        state.cache.leases &= !(1 << process);
        reach::crash(state, process);
    }
    acknowledge(state, process);
}

/// The database ends the transaction of a paused process, which does not notice it.
pub(crate) fn lose_lock(state: &mut State, process: u8) {
    state.left.lost_locks -= 1;
    state.unlock(process);
    if process == WORKER {
        if let Some(copying) = &mut state.worker.task {
            copying.holds = false;
        }
    } else if process != WAITING
        && let Some(call) = &mut state.hosts[process as usize].task
    {
        call.holds = false;
    }
}

/// A host is given up: the barrier no longer waits for it. Its statements are refused once the fence is above its
/// epoch.
pub(crate) fn evict(state: &mut State, process: u8) {
    state.left.evictions -= 1;
    state.hosts[process as usize].is_evicted = true;
}
