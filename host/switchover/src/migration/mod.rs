//! What a migration needs besides its policy: a comparison of two databases that are in use.

mod carried;
mod compare;
mod error;
mod look;

pub use self::carried::ensure_carried;
pub use self::compare::{Comparison, Difference, PAGE, SHOWN_MAX, SUSPECTS_MAX, Seen, compare};
pub use self::error::CompareError;
pub use self::look::{Row, Stride, look, tool_deadline, tool_patience};
