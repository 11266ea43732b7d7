//! What a migration needs beside its policy: two databases that are in use, compared.

mod carried;
mod compare;
mod error;
mod look;

pub use self::carried::ensure_carried;
pub use self::compare::{Comparison, Difference, PAGE, SHOWN_MAX, SUSPECTS_MAX, Seen, compare};
pub use self::error::CompareError;
pub use self::look::{Row, Stride, look, tool_deadline};
