//! The calls of clients at a host. Each reads and writes by the table, under the epoch with which it began.

use switchover_contract::Guarantee;
use switchover_protocol::{self as protocol, Operation, Plan, Side};

use crate::cached;
use crate::migration::{Action, Migration, Reply};
use crate::promises;
use crate::rules::{CacheScheme, Ends};
use crate::state::{Call, State, Step};
use crate::write::{carry, commit, end_in_cache, lock, try_mirror, write_home};

/// What a host may do next.
pub(crate) fn actions(model: &Migration, state: &State, index: u8, actions: &mut Vec<Action>) {
    let host = &state.hosts[index as usize];
    let bit = 1 << index;
    match &host.task {
        None => begin_actions(model, state, index, actions),
        Some(call) => proceed_actions(model, state, index, call, actions),
    }
    let remembers = (state.reach.owed | state.reach.held) & bit != 0;
    let has_work = host.task.is_some() || host.epoch != state.control.epoch || remembers;
    if state.left.crashes > 0 && has_work {
        actions.push(Action::Crash(index));
    }
    if state.left.lost_locks > 0 && host.task.is_some_and(|call| call.holds) {
        actions.push(Action::LoseLock(index));
    }
    if state.cache.guards & bit != 0 && host.task.is_none_or(|call| call.operation == Operation::Load) {
        actions.push(Action::GuardEnds(index));
    }
}

fn begin_actions(model: &Migration, state: &State, index: u8, actions: &mut Vec<Action>) {
    let told = &state.told;
    if state.left.loads > 0 && told.created && (!model.size.cache || state.cache.entry == 0 || model.size.cuts > 0) {
        actions.push(Action::Begin(index, Operation::Load));
    }
    if state.left.operations == 0 {
        return;
    }
    if !told.create_began {
        actions.push(Action::Begin(index, Operation::Create));
    }
    // A key is random, so only a client that got the key from a create can name it.
    if told.created {
        actions.push(Action::Begin(index, Operation::Update));
        if model.size.touch {
            actions.push(Action::Begin(index, Operation::Touch));
        }
        actions.push(Action::Begin(index, Operation::Delete));
    }
}

fn proceed_actions(model: &Migration, state: &State, index: u8, call: &Call, actions: &mut Vec<Action>) {
    let plan = model.plan(call.phase, call.operation);
    let go = |reply| Action::Proceed(index, reply);
    let can_fail = state.left.failures > 0;
    let can_be_late = state.left.lates > 0 && state.late.is_none();
    match (call.operation, call.step) {
        (_, Step::Waiting) => {
            if cached::may_end(model, state, index, call) {
                actions.push(go(Reply::Answered));
            }
            if can_fail {
                actions.push(go(Reply::Unheard));
            }
        }
        (Operation::Load, _) | (_, Step::Written | Step::ReadFirst | Step::Found | Step::Asking | Step::Hit) => {
            actions.push(go(Reply::Answered));
        }
        (_, Step::Begun) => {
            if is_blocked(state, plan) {
                return;
            }
            actions.push(go(Reply::Answered));
            if can_fail && !is_strict(plan) {
                actions.push(go(Reply::Unheard));
            }
            if can_be_late && !is_strict(plan) {
                actions.push(go(Reply::Late));
            }
        }
        (_, Step::Locked | Step::Homed | Step::Carried) => {
            actions.push(go(Reply::Answered));
            if can_fail {
                actions.push(go(Reply::Unheard));
                actions.push(go(Reply::Failed));
            }
            // The commit of the transaction with the lock is left out: it keeps the lock until it has executed.
            if can_be_late && call.step != Step::Carried {
                actions.push(go(Reply::Late));
            }
        }
    }
}

fn is_strict(plan: &Plan) -> bool {
    plan.mirrors.iter().any(|mirror| mirror.guarantee == Guarantee::Strict)
}

/// Whether the first statement of a write has to wait for a lock.
fn is_blocked(state: &State, plan: &Plan) -> bool {
    let knows_key_lock = plan.mirrors.iter().any(|mirror| mirror.guarantee != Guarantee::BestEffort);
    let side = if is_strict(plan) { plan.lock } else { plan.home };
    let database = state.at(side);
    database.lock != 0 && (knows_key_lock || database.row_locked)
}

/// A client calls a host. From here on the call has the host's epoch.
pub(crate) fn begin(model: &Migration, state: &mut State, index: u8, operation: Operation) {
    let host = state.hosts[index as usize];
    let told = &mut state.told;
    let mut call = Call {
        operation,
        step: Step::Begun,
        phase: host.phase,
        epoch: host.epoch,
        version: 0,
        before: told.acknowledged,
        is_created: told.created,
        is_deleted: told.deleted,
        other: Side::New,
        is_next: false,
        holds: false,
        generation: 0,
        is_guarded: false,
        was_held: false,
    };
    match operation {
        Operation::Load => {
            call.before = told.obsolete;
            state.left.loads -= 1;
            if model.size.cuts > 0 {
                cached::begin_load(model, state, index, &mut call);
            } else if model.size.cache && state.cache.guards == 0 {
                state.cache.leases |= 1 << index;
            }
        }
        Operation::Delete => {
            told.delete_began = true;
            state.left.operations -= 1;
        }
        Operation::Create | Operation::Update | Operation::Touch => {
            told.create_began |= operation == Operation::Create;
            call.version = told.next;
            told.next += 1;
            state.left.operations -= 1;
        }
        Operation::Exists | Operation::ClearExpired => unreachable!("tried in every state, or not modelled"),
    }
    if operation != Operation::Load && model.size.cuts > 0 {
        cached::begin_write(model, state, index, &mut call);
    }
    state.hosts[index as usize].task = Some(call);
}

/// A call makes its next step.
pub(crate) fn proceed(model: &Migration, state: &mut State, index: u8, reply: Reply) {
    let Some(mut call) = state.hosts[index as usize].task else { return };
    match reply {
        Reply::Answered => {}
        Reply::Unheard | Reply::Failed => state.left.failures -= 1,
        Reply::Late => state.left.lates -= 1,
    }
    let plan = model.plan(call.phase, call.operation);
    let goes_on = match (call.operation, call.step) {
        (Operation::Load, step) => load(model, state, index, &mut call, plan, step),
        (_, Step::Begun) if is_strict(plan) => lock(model, state, index, &mut call, plan),
        (_, Step::Begun) => write_home(model, state, index, &mut call, plan, reply),
        (_, Step::Locked) => carry(model, state, &mut call, plan, reply),
        (_, Step::Carried) => commit(model, state, index, &mut call, plan, reply),
        (_, Step::Homed) => try_mirror(model, state, &mut call, plan, reply),
        (_, Step::Written) if model.size.cuts > 0 => cached::end_write(model, state, index, &mut call),
        (_, Step::Waiting) => cached::end_waiting(model, state, index, &call, reply),
        (_, Step::Written) => {
            end_in_cache(model, state, index, &call);
            promises::acknowledge(state, &call);
            false
        }
        (_, Step::ReadFirst | Step::Found | Step::Asking | Step::Hit) => false,
    };
    if !goes_on {
        if reply == Reply::Late && model.rules.ends == Ends::AwaitedBySender {
            state.wait_for_end(index);
        }
        state.unlock(index);
        state.cache.leases &= !(1 << index);
    }
    state.hosts[index as usize].task = goes_on.then_some(call);
}

fn load(model: &Migration, state: &mut State, index: u8, call: &mut Call, plan: &Plan, step: Step) -> bool {
    if step == Step::Found {
        let bit = 1 << index;
        let has_lease = state.cache.leases & bit != 0;
        let is_plain = matches!(model.rules.cache, CacheScheme::SetAndFill | CacheScheme::RemoveAndFill);
        let is_cut = state.reach.cut & bit != 0;
        if (has_lease || is_plain) && !is_cut {
            state.cache.entry = call.version;
            state.reach.entry_generation = cached::stamp(model, state, index, call);
        }
        return false;
    }
    match step {
        Step::Asking => return cached::ask(model, state, index, call),
        Step::Hit => return cached::hit(model, state, index, call),
        _ => {}
    }
    if !model.takes(state, call.epoch) {
        return false;
    }
    let asked = usize::from(step == Step::ReadFirst);
    call.version = state.at(plan.reads[asked]).row;
    if call.version == 0 && asked + 1 < plan.reads.len() {
        call.step = Step::ReadFirst;
        return true;
    }
    state.broken = state.broken.or(promises::of_load(state, call));
    call.step = Step::Found;
    model.size.cache && call.version != 0 && plan.cache == protocol::Cache::Fill
}
