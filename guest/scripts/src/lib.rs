//! Recording fakes and golden scripts: a policy's behaviour as text, checked in milliseconds on the author's own
//! machine.
//!
//! ```text
//! Script ──Call──> Subject (the policy: native, or through wasm) ──asks──> Fakes ──> output,
//!                                                                                    compared with the script's
//! ```
//!
//! A test of a policy is one line:
//!
//! ```no_run
//! # use switchover_guest::*; struct MyPolicy;
//! # impl Policy for MyPolicy {
//! #     fn describe<H: Host>(_: &H) -> Description { Description::default() }
//! #     async fn load<H: Host>(_: &H, _: &str) -> Result<Option<H::Session>> { Ok(None) }
//! #     async fn save<H: Host>(_: &H, _: &str, _: H::Session, _: SaveMode) -> Result<SaveOutcome> {
//! #         Ok(SaveOutcome::Missing)
//! #     }
//! #     async fn touch<H: Host>(_: &H, _: &str, _: Instant) -> Result<SaveOutcome> { Ok(SaveOutcome::Missing) }
//! #     async fn delete<H: Host>(_: &H, _: &str) -> Result<bool> { Ok(false) }
//! #     async fn exists<H: Host>(_: &H, _: &str) -> Result<bool> { Ok(false) }
//! #     async fn clear_expired<H: Host>(_: &H, _: u32) -> Result<u32> { Ok(0) }
//! # }
//! switchover_scripts::check_dir::<MyPolicy>("scripts").unwrap();
//! ```
//!
//! `UPDATE_GOLDENFILES=1` writes the output into the scripts; read the difference before you commit it.
//!
//! # Scripts
//!
//! A script is a list of blocks. A block is commands, the line `---`, the output that is expected of the commands, and
//! a blank line. The first line of a script is its claim. Comments and blank lines may stand above every command.
//!
//! ```text
//! # A session that only the old database has is found, and put into the cache.
//! flags migration_flag=on
//! row default k1 expires=+60s payload=v1
//! load k1
//! ---
//! cache.get k1 -> miss
//! databases.load new_session_store k1 -> none
//! databases.load default k1 -> v1
//! cache.fill k1 -> ok
//! -> v1
//!
//! # The next load needs no database.
//! load k1
//! ---
//! cache.get k1 -> hit v1
//! -> v1
//! ```
//!
//! The output has a line for each question that the policy asks of a database or the cache, a line for each line that
//! it logs, and after these `-> RESULT` for the call. A block may make several calls; it ends in a call or in `rows`,
//! so that whatever a call needs stands above it. To write a new script, leave the output out and let
//! `UPDATE_GOLDENFILES=1` add it.
//!
//! A write names its home, then `lock=DATABASE` and its mirrors by their guarantees: `strict=DATABASE`,
//! `marked=DATABASE`, `best-effort=DATABASE`. A mirror that the row is removed from ends in `:remove`.
//!
//! | command | does |
//! | --- | --- |
//! | `databases NAME…` | names the databases, `default new_session_store` without it; before any row or call |
//! | `settings NAME=VALUE…` | what the operator configured; before any call |
//! | `grant payload` | lets the policy read payloads |
//! | `flags NAME=on\|off\|TEXT…` | sets flags from here on; in quotes, `"off"` is the text and no switch |
//! | `row DATABASE KEY expires=+60s payload=v1` | puts a row; `expires=-5s` is one that has ended |
//! | `cache KEY expires=+60s payload=v1` | puts an entry into the cache |
//! | `clock +5s` | moves the clock on |
//! | `fail FUNCTION [DATABASE] CODE [times=N]` | makes the next calls of a function fail, all of them without `times` |
//! | `latency FUNCTION [DATABASE] 20ms` | moves the clock by this much at each call of a function |
//! | `load KEY`, `delete KEY`, `exists KEY` | calls the policy |
//! | `create KEY expires=… payload=…`, `update …`, `touch KEY expires=…` | |
//! | `clear-expired LIMIT`, `describe` | |
//! | `db-for-read APP.MODEL [instance=DATABASE] [key=KEY]`, `db-for-write …` | |
//! | `allow-relation APP.MODEL[@DATABASE] APP.MODEL[@DATABASE]` | |
//! | `allow-migrate DATABASE APP [MODEL]` | |
//! | `rows` | prints every row, mark and entry of the cache |
//!
//! A function is `databases.load` and so on, or `cache.get`, `cache.fill`, `cache.invalidate`. Instants count from the
//! script's start, wherever the clock stands. A key is a short name (`k1`) that stands for a valid key of 32
//! characters.

mod answer;
mod call;
mod databases;
mod diff;
mod fakes;
mod function;
mod golden;
mod host;
mod parse;
mod script;
mod session;
mod state;
mod subject;
#[cfg(test)]
mod tests;
mod text;

pub use answer::Answer;
pub use call::Call;
pub use diff::diff;
pub use fakes::Fakes;
pub use function::{Function, Scope};
pub use golden::{CheckError, Golden, check_dir, check_scripts};
pub use script::{Script, ScriptError};
pub use session::{FakeLease, FakeSession};
pub use subject::{NativeSubject, Subject, block_on};
pub use text::{START, full_key, short_key};
