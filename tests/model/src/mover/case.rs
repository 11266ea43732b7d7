//! One move that must fail.

use crate::case::Case;
use crate::mover::kept::{Kept, Move, Size};
use crate::mover::rules::Form;
use crate::mover::state::Broken;

/// A case, with the promises that it breaks.
pub(crate) fn of(
    name: &'static str,
    about: &'static str,
    breaks: &'static [Broken],
    form: Form,
    kept: Kept,
    size: Size,
) -> Case<Move> {
    Case { name, about, model: Move { form, kept, size }, breaks }
}
