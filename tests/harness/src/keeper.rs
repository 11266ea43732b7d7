//! The keeper: a small shell process beside each server. It signals the server's processes, and ends them when the test
//! is gone.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};

use crate::site::Site;

const SCRIPT: &str = include_str!("keeper.sh");

/// An order to the keeper about the server's processes.
#[derive(Clone, Copy)]
pub(crate) enum Order {
    /// SIGSTOP to all. The keeper answers when all have stopped.
    Pause,
    /// SIGCONT to all.
    Resume,
    /// SIGKILL to all. The keeper answers when none is left.
    Kill,
    /// A signal to one process, by its name without `SIG`.
    Signal(&'static str, u32),
}

/// A handle on the keeper. Dropping the last one kills the server, removes its folder, and waits for both.
#[derive(Clone)]
pub(crate) struct Keeper(Arc<Mutex<Pipes>>);

struct Pipes {
    shell: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Keeper {
    /// Starts a keeper, before there is any server. It runs as the server's user. Only that user may look at the
    /// server's processes everywhere; in a container root may not.
    pub(crate) fn start(site: &Site) -> anyhow::Result<Keeper> {
        let mut command = site.command("sh");
        command.args(["-c", SCRIPT, "switchover-keeper"]).arg(&site.folder).arg(&site.data);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = command.spawn().context("cannot start `sh`, which keeps the server's processes")?;
        let orders = shell.stdin.take();
        let answers = BufReader::new(shell.stdout.take().context("the keeper has no output")?);
        Ok(Keeper(Arc::new(Mutex::new(Pipes { shell, orders, answers }))))
    }

    /// Gives an order and waits until the keeper has carried it out, which takes some milliseconds.
    pub(crate) async fn order(&self, order: Order) -> anyhow::Result<()> {
        let keeper = self.clone();
        tokio::task::spawn_blocking(move || keeper.0.lock().unwrap_or_else(PoisonError::into_inner).order(order))
            .await?
    }
}

impl Pipes {
    fn order(&mut self, order: Order) -> anyhow::Result<()> {
        let line = match order {
            Order::Pause => "pause\n".to_owned(),
            Order::Resume => "resume\n".to_owned(),
            Order::Kill => "kill\n".to_owned(),
            Order::Signal(signal, process) => format!("signal {signal} {process}\n"),
        };
        let orders = self.orders.as_mut().context("the keeper of this server has ended")?;
        orders.write_all(line.as_bytes()).context("the keeper of this server is gone")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        ensure!(answer.trim() == "done", "the server's keeper could not do `{}`", line.trim());
        Ok(())
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        drop(self.orders.take());
        // The keeper's own loops are bounded, so this ends.
        let _ = self.shell.wait();
    }
}
