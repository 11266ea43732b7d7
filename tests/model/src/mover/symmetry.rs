//! Applications are interchangeable, and so are copiers: states that differ only in their order are represented by one
//! of them.

use crate::mover::state::{Client, Copier, Copying, State, Task};

/// The state with its applications and its copiers in a fixed order.
pub(crate) fn representative(state: &State) -> State {
    let mut sorted = state.clone();
    sorted.clients.sort_by_key(client);
    sorted.copiers.sort_by_key(copier);
    sorted
}

fn client(client: &Client) -> impl Ord + use<> {
    let task = match client.task {
        None => (0, 0, 0, 0, 0),
        Some(Task::Sent { key, deletes }) => (1, key, u8::from(deletes), 0, 0),
        Some(Task::Open { side, key, row, token }) => (2, key, row, token, side as u8),
        Some(Task::Snapshot { key, rows: [old, new], fine, is_old }) => (3 + u8::from(is_old), key, old, new, fine),
    };
    (client.at as u8, client.is_host, task)
}

fn copier(copier: &Copier) -> impl Ord + use<> {
    let copy = |copy: Copying| (copy.key, copy.step as u8, copy.seen, copy.row);
    (copier.generation, copier.from as u8, copier.copies.map(|held| held.map(copy)))
}
