//! One model that must fail.

use crate::searched::Searched;

/// A model that must fail.
#[derive(Clone, Debug)]
pub struct Case<M: Searched> {
    /// Its name, for files and the command line.
    pub name: &'static str,
    /// What is left out, or whose scheme it is.
    pub about: &'static str,
    /// The model.
    pub model: M,
    /// The promises that it breaks, in the order of the traces.
    pub breaks: &'static [M::Promise],
}
