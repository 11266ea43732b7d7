//! Hosts are interchangeable: states that differ only in the order of their hosts are represented by one of them.

use crate::state::{HOSTS_MAX, State};
use crate::view::Reach;

/// The state with its hosts in a fixed order.
pub fn representative(state: &State) -> State {
    let mut order: [usize; HOSTS_MAX] = std::array::from_fn(|index| index);
    order.sort_by_key(|index| key(state, *index));
    let mut sorted = state.clone();
    sorted.cache.leases = 0;
    sorted.cache.guards = 0;
    for bits in bits_of(&mut sorted.reach) {
        *bits = 0;
    }
    for (to, from) in order.iter().copied().enumerate() {
        sorted.hosts[to] = state.hosts[from];
        sorted.cache.leases |= (state.cache.leases >> from & 1) << to;
        sorted.cache.guards |= (state.cache.guards >> from & 1) << to;
        sorted.reach.views[to] = state.reach.views[from];
        let mut before = state.reach;
        for (bits, before) in bits_of(&mut sorted.reach).into_iter().zip(bits_of(&mut before)) {
            *bits |= (*before >> from & 1) << to;
        }
        for (database, before) in sorted.databases.iter_mut().zip(&state.databases) {
            if usize::from(before.lock) == from + 1 {
                database.lock = u8::try_from(to + 1).unwrap_or(u8::MAX);
            }
        }
    }
    if let (Some(late), Some(from)) = (&mut sorted.late, state.late.and_then(|late| late.sender)) {
        let to = order.iter().position(|index| *index == usize::from(from));
        late.sender = Some(to.and_then(|to| u8::try_from(to).ok()).unwrap_or(from));
    }
    sorted
}

/// Everything that may differ between two hosts. Hosts with equal keys are equal.
fn key(state: &State, index: usize) -> impl Ord + use<> {
    let host = &state.hosts[index];
    let call = host.task.map(|call| {
        let flags = (call.is_created, call.is_deleted, call.is_next, call.holds, call.is_guarded, call.was_held);
        let begun = (call.operation as u8, call.step as u8, call.phase as u8, call.epoch, call.other as u8);
        (begun, call.version, call.before, call.generation, flags)
    });
    let mut reach = state.reach;
    let view = (reach.views[index], bits_of(&mut reach).map(|bits| *bits >> index & 1));
    let bits = (state.cache.leases >> index & 1, state.cache.guards >> index & 1, view);
    let sends = state.late.is_some_and(|late| late.sender.is_some_and(|sender| usize::from(sender) == index));
    let locks = state.databases.map(|database| usize::from(database.lock) == index + 1);
    (host.epoch, host.phase as u8, host.is_evicted, call, bits, locks, sends)
}

/// What has one bit for each host.
fn bits_of(reach: &mut Reach) -> [&mut u8; 5] {
    [&mut reach.cut, &mut reach.owed, &mut reach.suspended, &mut reach.held, &mut reach.in_force]
}
