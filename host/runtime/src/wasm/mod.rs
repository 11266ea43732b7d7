//! A policy as a component: the engine, its instances, and what a guest imports, one file for each interface of `wit/`.

mod bindings;
mod cache;
mod clock;
mod compiler;
mod convert;
mod databases;
mod engine;
mod flags;
mod handles;
mod instance;
mod limits;
mod linker;
mod log;
mod memory;
mod output;
mod processor_time;
mod settings;
mod state;

pub(crate) use compiler::{Compiler, Source};
