//! The program `switchover`: the demo, and commands for operators and authors of policies.

mod batches;
mod clear_expired;
mod demo;
mod health;
mod init;
mod migrate;
mod moving;
mod output;
mod place;
mod policy;
mod purge;
mod serve;
mod stats;
mod usage;
mod verify;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::output::{Colour, Verdict, is_reader_gone, note, paint_note};

/// The exit status that a shell reports if the reader of a program went away: 128 plus the number of SIGPIPE.
const READER_GONE: u8 = 141;
/// The exit status of a migration in which a guard is red, or rows differ.
const RED: u8 = 2;
/// The exit status that a shell reports if a program was interrupted: 128 plus the number of SIGINT.
const STOPPED: u8 = 130;

/// Moves a live session table to another database: no session lost, no user logged out, no restart.
#[derive(Parser)]
#[command(
    name = "switchover",
    version,
    after_help = "\
Examples:
  switchover demo
  switchover init new_session_store
  switchover verify default new_session_store
  switchover stats default
  switchover clear-expired default
  switchover purge default --against new_session_store --dry-run
  switchover migrate status --watch
  switchover policy check my-policy.wasm
  switchover serve

Exit status: 0 all is well; 1 something is wrong, or the command failed; 2 usage, and in `migrate`
a red guard; 130 stopped by Ctrl-C."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Move live sessions from one database to another under traffic, and audit that nothing was lost
    Demo(Box<demo::Options>),
    /// Create the session table in a database, changing nothing that exists
    Init(init::Options),
    /// Compare the unexpired sessions of two databases, both ways
    Verify(verify::Options),
    /// Count the rows of a session table, the space it takes, and how much of that is in use
    Stats(stats::Options),
    /// Delete the sessions that have ended, in batches
    ClearExpired(clear_expired::Options),
    /// Empty the old table after a migration, unless a living session is only there
    Purge(purge::Options),
    /// Move the sessions of a fleet to another database, phase by phase, with a way back
    #[command(subcommand)]
    Migrate(migrate::Command),
    /// Move a table whose programs know nothing of Switchover
    #[command(subcommand)]
    Move(moving::Command),
    /// Serve the session store over HTTP, for Django and for programs in any language
    Serve(Box<serve::Options>),
    /// Ask a server whether it is ready
    Health(health::Options),
    /// Make a token for callers of `serve`: the token on standard error, its hash on standard output
    Token,
    /// Check, describe or test a policy without any database
    #[command(subcommand)]
    Policy(policy::Command),
    /// Print a completion script
    #[command(after_help = "Example:\n  switchover completions bash > /etc/bash_completion.d/switchover")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the pages of the manual, one for each command
    #[command(hide = true, after_help = "Example:\n  switchover man target/man && man -l target/man/switchover.1")]
    Man {
        /// The folder; it is made if it is missing
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => usage::exit(error),
    };
    match run(command) {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::Found) => ExitCode::FAILURE,
        Ok(Verdict::Red) => ExitCode::from(RED),
        Ok(Verdict::Stopped) => ExitCode::from(STOPPED),
        Err(error) if is_reader_gone(&error) => ExitCode::from(READER_GONE),
        Err(error) => {
            note(format_args!("{} {error:#}", paint_note(Colour::Red, "error:")));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<Verdict> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Demo(options) => demo::run(*options).await,
            Command::Init(options) => init::run(options).await,
            Command::Verify(options) => verify::run(options).await,
            Command::Stats(options) => stats::run(options).await,
            Command::ClearExpired(options) => clear_expired::run(options).await,
            Command::Purge(options) => purge::run(options).await,
            Command::Migrate(command) => migrate::run(command).await,
            Command::Move(command) => moving::run(command).await,
            Command::Policy(command) => policy::run(command).await,
            Command::Serve(options) => serve::run(*options).await,
            Command::Health(options) => health::run(options),
            Command::Token => serve::token(),
            Command::Completions { shell } => completions(shell),
            Command::Man { folder } => man(&folder),
        }
    })
}

fn completions(shell: Shell) -> Result<Verdict> {
    // The script goes into memory first, because the generator panics when it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "switchover", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(Verdict::Fine)
}

fn man(folder: &Path) -> Result<Verdict> {
    let written = fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
    written.with_context(|| format!("the manual cannot be written to {}", folder.display()))?;
    Ok(Verdict::Fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
