//! A table of PostgreSQL that applications write, and what a move makes beside it: a trigger that notes the key of each
//! write in the writer's own transaction, and a row that says where the move stands.

mod layouts;
mod names;
mod obstacles;
mod open;
mod progress;
mod state;
mod triggers;

use switchover_core::moves::Form;

pub(super) use self::names::Names;
pub(super) use self::open::{Shape, connected, shape};
pub(super) use self::state::{COLUMNS, Locked};
pub(super) use self::triggers::PATIENCE;
use super::link::Link;

/// The table, on a connection of its own.
pub(super) struct Captured {
    pub(super) link: Link,
    pub(super) names: Names,
    pub(super) shape: Shape,
    pub(super) place: String,
    /// The form of the move, which whoever goes on with it must know.
    pub(super) form: Form,
}
