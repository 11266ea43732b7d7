//! The steps of calls at a cache that not every host reaches.

use switchover_protocol::Operation;

use crate::migration::{Migration, Reply};
use crate::outage::{Covers, Look, Remedy, Stamp};
use crate::promises;
use crate::reach;
use crate::state::{Call, State, Step};
use crate::write::{end_in_cache, guard};

/// A load looks at its host's confirmation, and asks the cache next.
pub(crate) fn begin_load(model: &Migration, state: &State, index: u8, call: &mut Call) {
    if model.size.cache && reach::asks(model, state, index) {
        call.step = Step::Asking;
        if model.rules.outage.stamps() && model.rules.outage.look == Look::Before {
            call.generation = state.reach.views[index as usize].generation;
        }
    }
}

/// A load asks the cache. After a miss it has a lease, unless the key is guarded.
pub(crate) fn ask(model: &Migration, state: &mut State, index: u8, call: &mut Call) -> bool {
    let rules = &model.rules.outage;
    call.step = Step::Begun;
    let is_sent = match rules.look {
        Look::Before => state.reach.cut & (1 << index) == 0,
        Look::After | Look::Never => reach::asks(model, state, index),
    };
    if !is_sent {
        call.generation = 0;
        return true;
    }
    let generation = state.reach.views[index as usize].generation;
    let (entry, of_entry) = (state.cache.entry, state.reach.entry_generation);
    let expected = if rules.look == Look::Before { call.generation } else { generation };
    if entry != 0 && (!rules.stamps() || rules.look == Look::Never || of_entry == expected) {
        (call.step, call.version, call.generation) = (Step::Hit, entry, of_entry);
        // What the published bound allows is no broken promise.
        call.before &= !state.reach.stale_allowed;
        call.is_deleted &= state.reach.back_allowed & (1 << entry) == 0;
        return true;
    }
    // An entry of another generation makes room for a lease.
    state.cache.entry = 0;
    state.reach.entry_generation = 0;
    call.generation = if rules.stamps() { generation } else { 0 };
    if state.cache.guards == 0 {
        state.cache.leases |= 1 << index;
    }
    true
}

/// A hit has arrived. If the host may not serve it, the load asks the database.
pub(crate) fn hit(model: &Migration, state: &mut State, index: u8, call: &mut Call) -> bool {
    let serves = match model.rules.outage.look {
        Look::After => reach::serves(model, state, index, call.generation),
        Look::Before | Look::Never => true,
    };
    if serves {
        state.broken = state.broken.or(promises::of_load(state, call));
        return false;
    }
    (call.step, call.version, call.generation) = (Step::Begun, 0, 0);
    true
}

/// The generation of an entry that a load fills.
pub(crate) fn stamp(model: &Migration, state: &State, index: u8, call: &Call) -> u8 {
    match model.rules.outage.stamp {
        _ if !model.rules.outage.stamps() => 0,
        Stamp::Lease => call.generation,
        Stamp::Fill => state.reach.views[index as usize].generation,
    }
}

/// A write begins, with its guard. What follows the guard is done only where a rule is left out: it is too early.
pub(crate) fn begin_write(model: &Migration, state: &mut State, index: u8, call: &mut Call) {
    let rules = &model.rules.outage;
    let bit = 1 << index;
    let reaches = state.reach.cut & bit == 0;
    if reaches {
        guard(model, state, index, model.plan(call.phase, call.operation));
    }
    call.is_guarded = reaches && !rules.despite_guard;
    call.was_held = !rules.held_after_write && state.reach.in_force & bit != 0;
    if !reaches && !rules.after_write && covers(rules.covers, call) {
        state.reach.generation += 1;
        call.generation = state.reach.generation;
    }
}

fn covers(covers: Covers, call: &Call) -> bool {
    match covers {
        Covers::Nothing => false,
        Covers::Deletes => call.operation == Operation::Delete,
        Covers::Writes => true,
    }
}

/// All databases are written. The host removes the entry, or does what makes that unnecessary.
pub(crate) fn end_write(model: &Migration, state: &mut State, index: u8, call: &mut Call) -> bool {
    let rules = &model.rules.outage;
    let bit = 1 << index;
    if state.reach.cut & bit == 0 {
        return finish(model, state, index, call);
    }
    state.reach.owed |= bit;
    if !covers(rules.covers, call) {
        if rules.bound {
            let versions = (1 << state.told.next) - 1;
            state.reach.stale_allowed |= versions;
            state.reach.back_allowed |= if call.operation == Operation::Delete { versions } else { 0 };
        }
        promises::acknowledge(state, call);
        return false;
    }
    let is_settled = match rules.remedy {
        _ if call.is_guarded => true,
        Remedy::Raise | Remedy::Relay => false,
        Remedy::RaiseAndSuspend | Remedy::Suspend if !rules.held_after_write => call.was_held,
        Remedy::RaiseOnce | Remedy::RaiseAndSuspend | Remedy::Suspend => state.reach.in_force & bit != 0,
    };
    if is_settled {
        promises::acknowledge(state, call);
        return false;
    }
    let has_raised = !rules.after_write && call.generation != 0;
    if rules.confirms() && !has_raised {
        state.reach.generation += 1;
        call.generation = state.reach.generation;
    }
    if rules.suspends() {
        state.reach.suspended |= bit;
        state.reach.held |= bit;
        state.reach.in_force &= !bit;
    }
    call.step = Step::Waiting;
    true
}

/// The host removes the entry, and acknowledges.
fn finish(model: &Migration, state: &mut State, index: u8, call: &Call) -> bool {
    end_in_cache(model, state, index, call);
    state.reach.owed &= !(1 << index);
    promises::acknowledge(state, call);
    false
}

/// Whether a write need not wait any longer.
pub(crate) fn may_end(model: &Migration, state: &State, index: u8, call: &Call) -> bool {
    let bit = 1 << index;
    let is_done = match model.rules.outage.remedy {
        Remedy::Relay => state.reach.owed & bit == 0,
        _ => reach::is_confirmed(model, state, index, call),
    };
    is_done || state.reach.cut & bit == 0
}

/// A write has waited long enough, or gives up.
pub(crate) fn end_waiting(model: &Migration, state: &mut State, index: u8, call: &Call, reply: Reply) -> bool {
    let rules = &model.rules.outage;
    let bit = 1 << index;
    if reply != Reply::Answered {
        return false;
    }
    if state.reach.cut & bit == 0 {
        return finish(model, state, index, call);
    }
    if rules.suspends() && state.reach.held & bit == 0 {
        return false;
    }
    if rules.suspends() || rules.remedy == Remedy::RaiseOnce {
        state.reach.in_force |= bit;
    }
    promises::acknowledge(state, call);
    false
}
