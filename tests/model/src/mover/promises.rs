//! What a user of a move may rely on: every read that could be made now finds the last committed row.

use switchover_protocol::Side;

use crate::mover::kept::Move;
use crate::mover::rules::Form;
use crate::mover::state::{Broken, Door, State, Version};

/// A read that could be made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    /// The server that is asked.
    pub(crate) server: Side,
    /// The key.
    pub(crate) key: u8,
    /// What it finds.
    pub(crate) found: Version,
}

/// Every read of one statement.
pub(crate) fn reads(model: &Move, state: &State) -> impl Iterator<Item = Read> {
    let servers: &[Side] = match model.form {
        Form::Rename | Form::Fleet => &[Side::Old],
        Form::Bridge | Form::Seal => &[Side::Old, Side::New],
    };
    let open = servers.iter().filter_map(|server| match state.doors[*server as usize] {
        Door::Leads(side) => Some((*server, side)),
        Door::Reads => Some((*server, Side::Old)),
        Door::Waits | Door::Refuses => None,
    });
    let keys = model.size.keys;
    open.flat_map(move |(server, side)| {
        (0..keys).map(move |key| Read { server, key, found: state.at(side).rows[key as usize] })
    })
}

/// The promise that a read breaks.
pub(crate) fn breaks(state: &State, read: Read) -> Option<Broken> {
    of_found(read.found, 1 << state.last[read.key as usize])
}

/// The promise that is broken if a read finds this, and may find only what has a bit.
pub(crate) fn of_found(found: Version, fine: u8) -> Option<Broken> {
    match found {
        _ if fine & (1 << found) != 0 => None,
        0 => Some(Broken::Lost),
        _ if fine == 1 => Some(Broken::Back),
        _ => Some(Broken::Stale),
    }
}
