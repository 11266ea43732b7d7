//! Moves of a table that applications write themselves, captured by triggers of the project's own.

mod captured;
mod cuts;
mod link;
mod rebuild;
mod transfer;

pub use self::rebuild::Rebuild;
pub use self::transfer::Transfer;
