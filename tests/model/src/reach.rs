//! Which hosts reach the cache, what the control document says about it, and what each host has confirmed of that.
//!
//! A confirmation has no clock here: it may run out at any time. Who waits for it goes on when it has run out, however
//! much longer it waits in reality.

use crate::migration::{Action, Migration};
use crate::outage::{Covers, Look, Remedy, Stamp};
use crate::state::{Call, HOSTS_MAX, State, Step};
use crate::view::{Reach, View};

impl Reach {
    /// The first state: generation 1, confirmed by every host. Without cuts all of this stays empty.
    pub(crate) fn first(model: &Migration) -> Self {
        if model.size.cuts == 0 {
            return Self::default();
        }
        let view = View { generation: 1, is_open: true, is_valid: true, asked: None };
        Self { generation: 1, views: [view; HOSTS_MAX], ..Self::default() }
    }
}

/// What hosts, the network and the control document may do next about the cache.
pub(crate) fn actions(model: &Migration, state: &State, index: u8, actions: &mut Vec<Action>) {
    let (reach, rules, bit) = (&state.reach, &model.rules.outage, 1 << index);
    if reach.cut & bit == 0 {
        if state.left.cuts > 0 {
            actions.push(Action::Cut(index));
        }
        if reach.owed & bit != 0 {
            actions.push(Action::Pay(index));
        }
        let is_asked = rules.covers != Covers::Nothing && rules.remedy == Remedy::Relay;
        if is_asked && waiting(model, state) & reach.owed & !bit != 0 {
            actions.push(Action::Relay(index));
        }
    } else {
        actions.push(Action::Heal(index));
    }
    if !rules.confirms() {
        return;
    }
    let view = &reach.views[index as usize];
    // What a host confirms a second time, and what runs out while it is in force, changes nothing.
    let is_old = view.generation != reach.generation;
    match view.asked {
        None if is_old || !view.is_valid || !rules.from_question => actions.push(Action::Ask(index)),
        None => {}
        Some(_) => actions.push(Action::Confirm(index)),
    }
    let was_asked_before = view.asked.is_some_and(|(generation, _)| generation != reach.generation);
    if (view.is_valid && is_old) || (was_asked_before && rules.from_question) {
        actions.push(Action::RunOut(index));
    }
    if reach.held & bit != 0 {
        actions.push(Action::Lapse(index));
    }
    if reach.suspended & bit != 0 && may_lift(model, reach, bit) {
        actions.push(Action::Lift(index));
    }
}

fn may_lift(model: &Migration, reach: &Reach, bit: u8) -> bool {
    let rules = &model.rules.outage;
    let has_paid = reach.owed & bit == 0 || rules.remedy != Remedy::Suspend || !rules.pays_first;
    reach.held & bit == 0 || (reach.cut & bit == 0 && has_paid)
}

fn waiting(model: &Migration, state: &State) -> u8 {
    let waits = |index: &u8| state.hosts[*index as usize].task.is_some_and(|call| call.step == Step::Waiting);
    (0..model.size.hosts).filter(waits).map(|index| 1 << index).sum()
}

/// The cut begins or ends.
pub(crate) fn cut(model: &Migration, state: &mut State, index: u8, is_cut: bool) {
    let bit = 1 << index;
    if is_cut {
        state.left.cuts -= 1;
        state.reach.cut |= bit;
        return;
    }
    state.reach.cut &= !bit;
    if model.rules.outage.remedy == Remedy::RaiseOnce {
        state.reach.in_force &= !bit;
    }
}

/// The cache forgets everything, guards too.
pub(crate) fn flush(state: &mut State) {
    state.left.flushes -= 1;
    state.cache.guards = 0;
    clear(state);
}

/// Removes entry and leases.
fn clear(state: &mut State) {
    state.cache.entry = 0;
    state.cache.leases = 0;
    let reach = &mut state.reach;
    (reach.entry_generation, reach.stale_allowed, reach.back_allowed) = (0, 0, 0);
}

/// A host removes entry and leases of the key.
pub(crate) fn remove(model: &Migration, state: &mut State, index: u8) {
    if model.size.cuts == 0 || model.rules.outage.any_generation {
        return clear(state);
    }
    let generation = state.reach.views[index as usize].generation;
    for (other, host) in state.hosts.iter().enumerate() {
        if host.task.is_some_and(|call| call.generation == generation) {
            state.cache.leases &= !(1 << other);
        }
    }
    if state.reach.entry_generation == generation {
        state.cache.entry = 0;
        state.reach.entry_generation = 0;
    }
}

/// A host reads the control document. The answer is on its way.
pub(crate) fn ask(state: &mut State, index: u8) {
    let said = (state.reach.generation, state.reach.suspended == 0);
    state.reach.views[index as usize].asked = Some(said);
}

/// The answer arrives.
pub(crate) fn confirm(state: &mut State, index: u8) {
    let view = &mut state.reach.views[index as usize];
    let Some((generation, is_open)) = view.asked.take() else { return };
    *view = View { generation, is_open, is_valid: true, asked: None };
}

/// So much time passes that what the host has confirmed has run out, and what it has asked for too.
pub(crate) fn run_out(model: &Migration, state: &mut State, index: u8) {
    let view = &mut state.reach.views[index as usize];
    view.is_valid = false;
    if model.rules.outage.from_question {
        view.asked = None;
    }
    if model.rules.outage.any_generation && model.rules.outage.stamp == Stamp::Lease {
        (view.generation, view.is_open) = (0, false);
    }
}

/// A host executes at the cache what it owes. For one that waits, another host does it.
pub(crate) fn pay(state: &mut State, hosts: u8) {
    clear(state);
    state.reach.owed &= !hosts;
}

/// A host that reaches the cache does what it was asked for.
pub(crate) fn relay(model: &Migration, state: &mut State, index: u8) {
    let hosts = waiting(model, state) & !(1 << index);
    pay(state, hosts);
}

/// The lease of a suspension has run out, by its host's own clock.
pub(crate) fn lapse(state: &mut State, index: u8) {
    state.reach.held &= !(1 << index);
    state.reach.in_force &= !(1 << index);
}

/// A suspension ends: its host ends it, or its host is gone.
pub(crate) fn lift(model: &Migration, state: &mut State, index: u8) {
    let rules = &model.rules.outage;
    let is_orphan = state.reach.held & (1 << index) == 0;
    if is_orphan && rules.remedy == Remedy::Suspend && rules.outlives_entries {
        clear(state);
    }
    state.reach.suspended &= !(1 << index);
    state.reach.generation += 1;
    lapse(state, index);
}

/// A host forgets what it owed, held and confirmed.
pub(crate) fn crash(state: &mut State, index: u8) {
    lapse(state, index);
    state.reach.owed &= !(1 << index);
    let view = &mut state.reach.views[index as usize];
    (view.is_valid, view.asked) = (false, None);
}

/// Whether a host asks the cache for the key.
pub(crate) fn asks(model: &Migration, state: &State, index: u8) -> bool {
    let (reach, rules, bit) = (&state.reach, &model.rules.outage, 1 << index);
    (reach.cut | reach.owed) & bit == 0
        && (!rules.confirms() || rules.look == Look::Never || reach.views[index as usize].is_usable())
}

/// Whether a host serves an entry of this generation.
pub(crate) fn serves(model: &Migration, state: &State, index: u8, generation: u8) -> bool {
    let rules = &model.rules.outage;
    let is_equal = state.reach.views[index as usize].generation == generation;
    asks(model, state, index) && (is_equal || !rules.stamps() || rules.look == Look::Never)
}

/// Whether every other host has confirmed the generation of this write, or can serve nothing of an earlier one.
pub(crate) fn is_confirmed(model: &Migration, state: &State, index: u8, call: &Call) -> bool {
    let rules = &model.rules.outage;
    !rules.waits
        || (0..model.size.hosts).filter(|other| *other != index).all(|other| {
            let view = &state.reach.views[other as usize];
            let is_on_its_way = view.asked.is_some_and(|(generation, _)| generation < call.generation);
            view.generation >= call.generation || !(view.is_valid || (is_on_its_way && rules.from_question))
        })
}
