//! A host of a fleet as a process: `fleet_host CONFIGURATION SOCKET`. It ends in an orderly way on SIGTERM.

use std::path::PathBuf;

use anyhow::{Context, Result};
use switchover::Config;
use switchover_workload::remote;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let configuration = arguments.next().context("the configuration")?;
    let socket = arguments.next().context("the socket")?;
    let mut terminated = signal(SignalKind::terminate())?;
    let host = Config::read(configuration)?.builder().await?.build().await?;
    tokio::select! {
        served = remote::serve(&host, &socket) => served,
        _ = terminated.recv() => {
            host.close().await;
            Ok(())
        }
    }
}
