//! Whether a host can serve, for the readiness check of a service.

use switchover_core::capabilities::Epoch;

use super::Switchover;

/// Whether a host can serve. `Display` gives one line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Readiness {
    /// What keeps the host from being ready; empty: it is ready.
    pub problems: Vec<String>,
    /// The epochs of its migration; `None`: it takes part in none.
    pub epochs: Option<EpochsOfHost>,
}

/// The epochs of a host in its migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EpochsOfHost {
    /// The epoch in force, as far as this host has read.
    pub in_force: Epoch,
    /// The epoch that its new calls run under.
    pub loaded: Epoch,
    /// The last one that it acknowledged.
    pub acknowledged: Epoch,
}

impl Readiness {
    /// Whether the host can serve, and has acknowledged the epoch in force.
    pub fn is_ready(&self) -> bool {
        self.problems.is_empty()
    }
}

impl std::fmt::Display for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_ready() { f.write_str("ready") } else { f.write_str(&self.problems.join("; ")) }
    }
}

impl Switchover {
    /// Whether this host is open, and in a migration has acknowledged the epoch in force. It asks nobody: databases are
    /// checked by [`Switchover::check_databases`].
    pub fn readiness(&self) -> Readiness {
        let mut problems = Vec::new();
        if self.host.slot.is_closed() {
            problems.push("the host was closed".to_owned());
        }
        let epochs = self.host.membership.as_ref().map(|membership| {
            let place = membership.place();
            let place = place.borrow();
            let epochs =
                EpochsOfHost { in_force: place.document.epoch, loaded: place.loaded, acknowledged: place.acknowledged };
            problems.extend(place.problem.clone());
            if epochs.acknowledged < epochs.in_force {
                let Epoch(epoch) = epochs.in_force;
                problems.push(format!("epoch {epoch} is in force, and this host has not acknowledged it yet"));
            }
            epochs
        });
        Readiness { problems, epochs }
    }
}
