//! The steps of a write. It is one transaction at home, or one at the database with the lock around a statement to the
//! other database.

use switchover_contract::{Guarantee, MirrorAction};
use switchover_protocol::{self as protocol, Operation, Plan, Side};

use crate::migration::{Migration, Reply};
use crate::promises;
use crate::reach;
use crate::rules::{CacheScheme, Upsert};
use crate::state::{Broken, Call, Late, Mode, State, Step, Version};

/// The version of a side after the write, once home has accepted it.
fn version_at(call: &Call, plan: &Plan, side: Side) -> Version {
    let version = if call.operation == Operation::Delete { 0 } else { call.version };
    let action = plan.mirrors.iter().find(|mirror| mirror.side == side).map(|mirror| mirror.action);
    if side != plan.home && action == Some(MirrorAction::Remove) { 0 } else { version }
}

/// How home treats the write.
fn mode_at_home(model: &Migration, call: &Call) -> Mode {
    let upserts = match model.rules.upsert {
        Upsert::Never => false,
        Upsert::In(phase) => phase == call.phase,
        Upsert::Always => true,
    };
    match call.operation {
        Operation::Create if !upserts => Mode::Insert,
        Operation::Update | Operation::Touch if !upserts => Mode::Update,
        _ => Mode::Put,
    }
}

/// Whether home accepts the write. If not, the client gets the answer that the session is gone, or that the key is
/// taken.
fn is_taken(model: &Migration, state: &mut State, call: &Call, plan: &Plan) -> bool {
    let is_there = state.at(plan.home).row != 0;
    let is_taken = match mode_at_home(model, call) {
        Mode::Put => true,
        Mode::Update => is_there,
        Mode::Insert => !is_there,
    };
    if !is_taken && !is_there && call.is_created && !state.told.delete_began {
        state.broken = Some(Broken::Gone);
    }
    is_taken
}

/// A write guards the key. Where hosts may be cut off, this is a part of the call's beginning.
fn begin_in_cache(model: &Migration, state: &mut State, index: u8, plan: &Plan) {
    if model.size.cuts == 0 {
        guard(model, state, index, plan);
    }
}

pub(crate) fn guard(model: &Migration, state: &mut State, index: u8, plan: &Plan) {
    let removes = plan.cache == protocol::Cache::Invalidate;
    if model.size.cache && removes && model.rules.cache == CacheScheme::GuardedLease {
        reach::remove(model, state, index);
        state.cache.guards |= 1 << index;
    }
}

pub(crate) fn end_in_cache(model: &Migration, state: &mut State, index: u8, call: &Call) {
    let sets = matches!(model.rules.cache, CacheScheme::SetAndFill | CacheScheme::SetAndLease);
    reach::remove(model, state, index);
    state.cache.guards &= !(1 << index);
    if sets && call.operation != Operation::Delete {
        state.cache.entry = call.version;
    }
}

/// All databases are written: the cache comes next, then the acknowledgement.
fn written(model: &Migration, state: &mut State, call: &mut Call, plan: &Plan) -> bool {
    if model.size.cache && plan.cache == protocol::Cache::Invalidate {
        call.step = Step::Written;
        return true;
    }
    promises::acknowledge(state, call);
    false
}

/// Writes home in one transaction, with a mark or without.
pub(crate) fn write_home(
    model: &Migration,
    state: &mut State,
    index: u8,
    call: &mut Call,
    plan: &Plan,
    reply: Reply,
) -> bool {
    if !model.takes(state, call.epoch) {
        return false;
    }
    begin_in_cache(model, state, index, plan);
    let mirror = plan.mirrors.first();
    let marks = mirror.is_some_and(|mirror| mirror.guarantee == Guarantee::Marked);
    if reply == Reply::Late {
        let (mode, version) = (mode_at_home(model, call), version_at(call, plan, plan.home));
        let late = Late {
            side: plan.home,
            mode,
            version,
            epoch: call.epoch,
            is_numbered: false,
            is_next: true,
            marks,
            sender: None,
        };
        state.late = Some(late);
        return false;
    }
    if !is_taken(model, state, call, plan) {
        return false;
    }
    state.at_mut(plan.home).row = version_at(call, plan, plan.home);
    if marks && (model.rules.mark_with_row || reply == Reply::Answered) {
        model.mark(state, plan.home);
    }
    if reply != Reply::Answered {
        return false;
    }
    if mirror.is_some_and(|mirror| mirror.guarantee == Guarantee::BestEffort) {
        call.step = Step::Homed;
        return true;
    }
    written(model, state, call, plan)
}

/// Writes the mirror of a published scheme: one statement after home, without lock and number. A failure is ignored.
pub(crate) fn try_mirror(model: &Migration, state: &mut State, call: &mut Call, plan: &Plan, reply: Reply) -> bool {
    let side = plan.home.other();
    let version = version_at(call, plan, side);
    if model.takes(state, call.epoch) {
        match reply {
            Reply::Answered | Reply::Unheard => state.at_mut(side).row = version,
            Reply::Failed => {}
            Reply::Late => send_late(state, call, side, Mode::Put, version),
        }
    }
    written(model, state, call, plan)
}

/// Begins the transaction at the database with the lock. The row is written there, and not visible to others yet.
pub(crate) fn lock(model: &Migration, state: &mut State, index: u8, call: &mut Call, plan: &Plan) -> bool {
    if !model.takes(state, call.epoch) {
        return false;
    }
    begin_in_cache(model, state, index, plan);
    if plan.home == plan.lock && !is_taken(model, state, call, plan) {
        return false;
    }
    let database = state.at_mut(plan.lock);
    database.lock = index + 1;
    database.row_locked = database.row != 0 || call.operation == Operation::Create;
    call.holds = true;
    call.other = plan.lock.other();
    call.is_next = true;
    call.step = Step::Locked;
    true
}

/// Sends the statement to the database without the lock.
pub(crate) fn carry(model: &Migration, state: &mut State, call: &mut Call, plan: &Plan, reply: Reply) -> bool {
    let side = call.other;
    // A number that is learned only now does not show what happened since the lock was taken.
    let is_next = call.is_next || !model.rules.number_before_lock;
    let is_refused = !model.takes_numbered(state, call.epoch, is_next);
    let mode = if side == plan.home { mode_at_home(model, call) } else { Mode::Put };
    let version = version_at(call, plan, side);
    match reply {
        Reply::Failed => return false,
        Reply::Late => {
            if !is_refused {
                send_late(state, call, side, mode, version);
            }
            return false;
        }
        Reply::Answered | Reply::Unheard if is_refused => return false,
        Reply::Answered | Reply::Unheard => {}
    }
    if side == plan.home && !is_taken(model, state, call, plan) {
        return false;
    }
    state.at_mut(side).row = version;
    state.count_up(side);
    call.is_next = false;
    call.step = Step::Carried;
    reply == Reply::Answered
}

fn send_late(state: &mut State, call: &Call, side: Side, mode: Mode, version: Version) {
    let epoch = call.epoch;
    state.late =
        Some(Late { side, mode, version, epoch, is_numbered: true, is_next: true, marks: false, sender: None });
}

/// Ends the transaction at the database with the lock.
pub(crate) fn commit(
    model: &Migration,
    state: &mut State,
    index: u8,
    call: &mut Call,
    plan: &Plan,
    reply: Reply,
) -> bool {
    if !call.holds || !model.takes(state, call.epoch) || reply == Reply::Failed {
        return false;
    }
    let version = version_at(call, plan, plan.lock);
    let database = state.at_mut(plan.lock);
    database.row = version;
    database.mark = false;
    state.unlock(index);
    call.holds = false;
    reply == Reply::Answered && written(model, state, call, plan)
}
