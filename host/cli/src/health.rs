//! `switchover health`: asks a server at a unix socket whether it is ready.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use crate::output::{Verdict, print};

/// The answer is a few lines. What listens there may be something else.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
const REQUEST: &[u8] = b"GET /readyz?verbose HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// The options of `health`.
#[derive(Args)]
#[command(after_help = "\
Example:
  switchover health --unix /run/switchover/sock

Exit status: 0 it is ready; 1 it is not, or there is none. It prints what `/readyz?verbose` says.")]
pub(crate) struct Options {
    /// The socket of the server
    #[arg(long, value_name = "PATH", default_value = "switchover.sock")]
    unix: PathBuf,
    /// How long the server may take
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
}

/// Asks once.
pub(crate) fn run(options: Options) -> Result<Verdict> {
    let socket = options.unix.display();
    let timeout = Some(Duration::from_secs(options.timeout));
    let mut server = UnixStream::connect(&options.unix).with_context(|| format!("no server listens at {socket}"))?;
    server.set_read_timeout(timeout)?;
    server.set_write_timeout(timeout)?;
    let mut answer = Vec::new();
    let asked = server.write_all(REQUEST).and_then(|()| server.take(ANSWER_BYTES_MAX).read_to_end(&mut answer));
    asked.with_context(|| format!("the server at {socket} does not answer"))?;

    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("{socket} is no server of Switchover"))?;
    print(body.trim_end())?;
    Ok(Verdict::of(head.split(' ').nth(1) == Some("200")))
}
