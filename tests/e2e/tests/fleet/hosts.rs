//! The hosts of a story: in this process, or each in one of its own.

use anyhow::Result;
use switchover::Switchover;
use switchover_workload::host::Host as Way;
use switchover_workload::remote::Report;

use crate::process::Process;

/// A host.
pub(crate) enum Host {
    Here(Switchover),
    There(Process),
}

impl Host {
    /// For traffic.
    pub(crate) fn way(&self) -> Way {
        match self {
            Self::Here(host) => Way::Here(host.sessions()),
            Self::There(process) => Way::There(process.remote()),
        }
    }

    /// What may be killed.
    pub(crate) fn process(&self) -> Option<&Process> {
        match self {
            Self::Here(_) => None,
            Self::There(process) => Some(process),
        }
    }

    pub(crate) async fn report(&self) -> Result<Report> {
        match self {
            Self::Here(host) => Ok(Report::of(host)),
            Self::There(process) => process.report().await,
        }
    }

    pub(crate) async fn close(&self) -> Result<()> {
        match self {
            Self::Here(host) => {
                host.close().await;
                Ok(())
            }
            Self::There(process) => process.stop().await,
        }
    }
}
