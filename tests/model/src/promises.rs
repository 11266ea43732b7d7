//! What a user may rely on, as predicates over a state, and the record of what was acknowledged to clients.

use stateright::Property;
use switchover_protocol::{Operation, Phase};

use crate::control;
use crate::migration::Migration;
use crate::reach;
use crate::state::{Broken, Call, State, Version};

/// A write is acknowledged to its client.
pub(crate) fn acknowledge(state: &mut State, call: &Call) {
    let told = &mut state.told;
    match call.operation {
        Operation::Create | Operation::Update | Operation::Touch => {
            told.created |= call.operation == Operation::Create;
            told.acknowledged |= 1 << call.version;
            told.obsolete |= call.before;
        }
        Operation::Delete => told.deleted = true,
        Operation::Load | Operation::Exists | Operation::ClearExpired => {}
    }
}

/// The promise that the result of a load of several steps breaks.
pub(crate) fn of_load(state: &State, call: &Call) -> Option<Broken> {
    match call.version {
        0 => (call.is_created && !state.told.delete_began).then_some(Broken::Lost),
        _ if call.is_deleted => Some(Broken::Back),
        version => (call.before & (1 << version) != 0).then_some(Broken::Stale),
    }
}

/// The promise that a read breaks if it finds this version in this state.
pub(crate) fn of_found(state: &State, version: Version) -> Option<Broken> {
    let told = &state.told;
    match version {
        0 => (told.created && !told.delete_began).then_some(Broken::Lost),
        _ if told.deleted => Some(Broken::Back),
        version => (told.obsolete & (1 << version) != 0).then_some(Broken::Stale),
    }
}

/// A read that could be made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The host that makes it, or whose router is followed.
    pub host: u8,
    /// How it reads.
    pub way: Way,
    /// The version that it finds.
    pub version: Version,
}

/// How a read is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `load`, by the table.
    Load,
    /// `load`, from the cache.
    Cached,
    /// `exists`, by the table.
    Exists,
    /// A query at the database to which the router sends.
    Routed,
}

/// Calls `see` for every read that could be made in a state, in one step.
pub fn reads(model: &Migration, state: &State, mut see: impl FnMut(Read)) {
    for index in 0..model.size.hosts {
        let host = &state.hosts[index as usize];
        let serves = || model.size.cuts == 0 || reach::serves(model, state, index, state.reach.entry_generation);
        if model.size.cache && state.cache.entry != 0 && serves() {
            see(Read { host: index, way: Way::Cached, version: state.cache.entry });
        }
        if !model.takes(state, host.epoch) {
            continue;
        }
        let first = |operation| {
            let plan = model.plan(host.phase, operation);
            plan.reads.iter().map(|side| state.at(*side).row).find(|row| *row != 0).unwrap_or(0)
        };
        see(Read { host: index, way: Way::Load, version: first(Operation::Load) });
        see(Read { host: index, way: Way::Exists, version: first(Operation::Exists) });
        if let Some(side) = model.table.route(host.phase, model.rules.profile) {
            see(Read { host: index, way: Way::Routed, version: state.at(side).row });
        }
    }
}

/// The promise that a read breaks.
pub fn breaks(state: &State, read: Read) -> Option<Broken> {
    match (read.way, of_found(state, read.version)) {
        // `exists` answers yes or no, and for a stale row yes is right.
        (Way::Exists, Some(Broken::Stale)) => None,
        // What the published bound allows.
        (Way::Cached, Some(Broken::Stale)) if state.reach.stale_allowed & (1 << read.version) != 0 => None,
        (Way::Cached, Some(Broken::Back)) if state.reach.back_allowed & (1 << read.version) != 0 => None,
        (_, broken) => broken,
    }
}

/// Whether a promise is kept in a state.
pub(crate) fn keeps(model: &Migration, state: &State, promise: Broken) -> bool {
    let mut is_broken = state.broken == Some(promise);
    if !is_broken && promise != Broken::Gone {
        reads(model, state, |read| is_broken |= breaks(state, read) == Some(promise));
    }
    !is_broken
}

/// The property that a phase is in force everywhere at some time.
pub(crate) fn reaches(phase: Phase) -> Property<Migration> {
    match phase {
        Phase::Off => Property::sometimes("off is reached", |m, s| is_everywhere(m, s, Phase::Off)),
        Phase::Invalidate => {
            Property::sometimes("invalidate is reached", |m, s| is_everywhere(m, s, Phase::Invalidate))
        }
        Phase::Mirror => Property::sometimes("mirror is reached", |m, s| is_everywhere(m, s, Phase::Mirror)),
        Phase::Strict => Property::sometimes("strict is reached", |m, s| is_everywhere(m, s, Phase::Strict)),
        Phase::Cutover => Property::sometimes("cutover is reached", |m, s| is_everywhere(m, s, Phase::Cutover)),
        Phase::Reverse => Property::sometimes("reverse is reached", |m, s| is_everywhere(m, s, Phase::Reverse)),
        Phase::Complete => Property::sometimes("complete is reached", |m, s| is_everywhere(m, s, Phase::Complete)),
    }
}

/// The property that a delete is acknowledged although no host reaches the cache.
pub(crate) fn acknowledges_in_the_dark() -> Property<Migration> {
    Property::sometimes(
        "a delete is acknowledged although no host reaches the cache",
        |model: &Migration, state: &State| {
            let everyone = (1 << model.size.hosts) - 1;
            state.told.deleted && state.reach.cut == everyone && state.reach.owed != 0
        },
    )
}

/// Whether a phase is in force at every process that was not given up.
pub(crate) fn is_everywhere(model: &Migration, state: &State, phase: Phase) -> bool {
    state.control.phase == phase && control::all_acknowledged(model, state)
}
