//! What operators do by hand, on real servers: the tables are made, counted, cleared, compared and emptied by the
//! program, and what it says is held against what the servers themselves say.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod adversary;
mod clear_expired;
mod feeds;
mod init;
mod large;
mod migrate;
mod moves;
mod place;
mod purge;
mod stats;
mod verify;
