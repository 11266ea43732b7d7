//! A policy on databases in memory: the fakes in the place of the store, and the trial before it is published.

mod fakes;
mod vectors;

pub(crate) use fakes::{FakeStore, admission, from_fake, to_fake};
pub(crate) use vectors::{describe, try_out};
