//! A policy on databases in memory: the fakes that replace the store, and the trial before a policy is published.

mod fakes;
mod vectors;

pub(crate) use fakes::{FakeStore, admission, from_fake, to_fake};
pub(crate) use vectors::{describe, try_out};
