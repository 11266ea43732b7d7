//! Counts what happened to the sessions that were only in the old database when both databases began to be written.

use switchover_workload::checker::History;
use switchover_workload::history::{Action, Micros, Operation, Outcome, Period};

/// Numbers of sessions, by how they left the old database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Carried over by a save or a touch.
    pub(crate) by_use: u64,
    /// Expired where they were, because nothing wrote them again.
    pub(crate) by_expiry: u64,
    /// Logged out or given a new key before any other write.
    pub(crate) by_logout: u64,
}

impl Moved {
    /// Counts the sessions that lived at `from`, by what happened to them until `to`.
    pub(crate) fn of(history: &History, (from, to): Period) -> Self {
        let mut moved = Self::default();
        for calls in history.by_key() {
            let end = calls.partition_point(|call| call.invoked < from);
            let (before, after) = calls.split_at(end);
            if !lived(before, from) {
                continue;
            }
            let first = after.iter().filter(|call| call.outcome == Outcome::Done && call.invoked <= to);
            let first = first.map(|call| call.action).find(|action| !matches!(action, Action::Load | Action::Exists));
            match first {
                Some(Action::Save(_) | Action::Touch(_)) => moved.by_use += 1,
                Some(Action::Delete | Action::CycleAway) => moved.by_logout += 1,
                Some(Action::Create(_) | Action::CycleFrom(_) | Action::Load | Action::Exists) | None => {
                    moved.by_expiry += 1;
                }
            }
        }
        moved
    }
}

/// Whether a session lived at an instant, from the calls on it that began before.
fn lived(calls: &[Operation], at: Micros) -> bool {
    let mut expires_at = 0;
    for call in calls.iter().filter(|call| call.outcome == Outcome::Done) {
        match call.action {
            Action::Create(row) | Action::Save(row) => expires_at = row.expires_at,
            // The session keeps its end. The traffic gives new keys only to sessions that outlive the run.
            Action::CycleFrom(_) => expires_at = Micros::MAX,
            Action::Touch(later) => expires_at = expires_at.max(later),
            Action::Delete | Action::CycleAway => return false,
            Action::Load | Action::Exists => {}
        }
    }
    expires_at > at
}

#[cfg(test)]
mod tests {
    use switchover_workload::history::{HostId, KeyId, Row};

    use super::*;

    #[test]
    fn each_session_is_counted_by_what_happened_to_it_first() {
        let row = |expires_at| Row { version: 1, digest: 0, expires_at };
        let call = |key, invoked, action| Operation {
            key: KeyId(key),
            host: HostId::default(),
            invoked,
            returned: invoked + 1,
            action,
            outcome: Outcome::Done,
        };
        let create = |key, expires_at| call(key, 10, Action::Create(row(expires_at)));
        let operations = vec![
            create(0, 1_000),
            call(0, 150, Action::Save(row(2_000))),
            create(1, 1_000),
            call(1, 160, Action::Delete),
            create(2, 180),
            call(2, 150, Action::Load),
            create(3, 50),
            create(4, 1_000),
            call(4, 60, Action::Delete),
            call(5, 150, Action::Create(row(1_000))),
        ];
        let moved = Moved::of(&History::new(operations), (100, 200));
        assert_eq!(moved, Moved { by_use: 1, by_expiry: 1, by_logout: 1 });
    }
}
