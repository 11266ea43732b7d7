//! A table of PostgreSQL is moved while programs that know nothing of it write it.
#![cfg(feature = "postgres")]

mod rebuild;
mod site;
mod transfer;
