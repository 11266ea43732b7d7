//! A host of a fleet as a process: `fleet_host CONFIGURATION SOCKET`. It ends in an orderly way at the end of its input.

use std::path::PathBuf;

use anyhow::{Context, Result};
use switchover::Config;
use switchover_workload::remote;
use tokio::io::AsyncReadExt;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let configuration = arguments.next().context("the configuration")?;
    let socket = arguments.next().context("the socket")?;
    let host = Config::read(configuration)?.builder().await?.build().await?;
    let (mut input, mut ignored) = (tokio::io::stdin(), Vec::new());
    tokio::select! {
        served = remote::serve(&host, &socket) => served,
        ended = input.read_to_end(&mut ignored) => {
            host.close().await;
            ended.map(drop).context("the input")
        }
    }
}
