//! A host of the demo. It has a runtime and connections of its own, so it can hang and die as a process does.

use std::time::Duration;

use anyhow::{Context, Result};
use switchover::Switchover;
use switchover::migration::Migration;
use switchover_workload::history::HostId;
use switchover_workload::hosts::Hosts;
use tokio::runtime::{Builder, Runtime};

use crate::demo::stage::Stage;
use crate::demo::story::{NEW, OLD};

/// How long the calls of a host need to end once it gets no more of them.
const LAST_CALLS: Duration = Duration::from_millis(300);

pub(super) struct Host {
    pub(super) name: &'static str,
    pub(super) switchover: Switchover,
    id: HostId,
    /// `None`: it is dead.
    runtime: Option<Runtime>,
}

impl Host {
    /// Starts a host, which joins the migration, and gives it calls.
    pub(super) async fn start(name: &'static str, migration: &str, stage: &Stage, hosts: &Hosts) -> Result<Self> {
        let (switchover, runtime) = started(name, migration, stage).await?;
        let id = hosts.add(switchover.sessions());
        Ok(Self { name, switchover, id, runtime: Some(runtime) })
    }

    /// Stands still for so long, as a process that is paused. Like a load balancer, this gives it no calls meanwhile.
    pub(super) async fn hang(&self, hosts: &Hosts, how_long: Duration) {
        self.leave(hosts).await;
        if let Some(runtime) = &self.runtime {
            // It has one thread.
            runtime.spawn(async move { std::thread::sleep(how_long) });
        }
    }

    /// Gives it calls again.
    pub(super) fn serve(&self, hosts: &Hosts) {
        hosts.serve(self.id, true);
    }

    /// Dies without a word to anybody, after its last calls.
    pub(super) async fn die(&mut self, hosts: &Hosts) {
        self.leave(hosts).await;
        self.stop();
    }

    async fn leave(&self, hosts: &Hosts) {
        hosts.serve(self.id, false);
        tokio::time::sleep(LAST_CALLS).await;
    }

    fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn started(name: &'static str, migration: &str, stage: &Stage) -> Result<(Switchover, Runtime)> {
    let runtime = Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build()?;
    let (old, new, control) = (stage.old.table.clone(), stage.new.table.clone(), stage.control()?);
    let builder =
        stage.host(Switchover::builder()).migration(Migration::new(migration, name, control).between(OLD, NEW));
    let building = runtime.spawn(async move {
        let (old, new) = (crate::demo::stage::open(&old).await?, crate::demo::stage::open(&new).await?);
        Ok::<_, anyhow::Error>(builder.database(OLD, old).database(NEW, new).build().await?)
    });
    let built = building.await.context("a host panicked while it was built").and_then(|built| built);
    match built {
        Ok(switchover) => Ok((switchover, runtime)),
        Err(error) => {
            runtime.shutdown_background();
            Err(error.context(format!("the host {name} does not start")))
        }
    }
}
