//! The history of one key, and the questions that the audit asks of it.

use crate::checker::{Kind, Window};
use crate::history::{Action, Micros, Operation, Outcome, Row};

/// How far the clocks that decide an expiry may be apart, and how late a timer may fire.
pub(super) const EXPIRY_MARGIN_US: Micros = 1_000_000;
/// An operation of unknown outcome has no end.
const NEVER: Micros = Micros::MAX;

/// A write of payload and expiry that may have taken effect.
#[derive(Clone, Debug)]
struct Write {
    version: u32,
    digest: u32,
    /// More than one only when the row was taken over from a key whose expiry was being moved.
    expiries: Vec<Micros>,
    invoked: Micros,
    /// When it was acknowledged, or first seen; [`NEVER`] if neither.
    settled: Micros,
    acknowledged: bool,
    /// Of a create by takeover: one of these was written, and which one only the reads tell.
    inherited: bool,
}

#[derive(Clone, Copy, Debug)]
struct Touch {
    expires_at: Micros,
    invoked: Micros,
    settled: Micros,
    acknowledged: bool,
}

/// The history of one key.
#[derive(Default)]
pub(super) struct KeyHistory {
    /// By version.
    writes: Vec<Write>,
    /// By the instant they settled.
    touches: Vec<Touch>,
    /// The touches by the expiry that they asked for, to look up who may have set one.
    touches_by_expiry: Vec<Touch>,
    /// Acknowledged writes by the instant they were acknowledged, each with the latest invocation up to it.
    acknowledged: Vec<(Micros, Micros)>,
    created: Option<Micros>,
    /// When each delete began that may have taken effect, in order.
    deletes_began: Vec<Micros>,
    /// When the first delete was acknowledged.
    deleted: Option<Micros>,
}

impl KeyHistory {
    pub(super) fn new(operations: &[Operation], earlier: &[KeyHistory]) -> Self {
        let mut history = Self::default();
        for operation in operations {
            history.add(operation, earlier);
        }
        history.deletes_began.sort_unstable();
        history.writes.sort_unstable_by_key(|write| write.version);
        history.settle_what_was_seen(operations);
        history.touches.sort_unstable_by_key(|touch| touch.settled);
        history.touches_by_expiry = history.touches.clone();
        history.touches_by_expiry.sort_unstable_by_key(|touch| touch.expires_at);
        let acknowledged = history.writes.iter().filter(|write| write.acknowledged);
        history.acknowledged = acknowledged.map(|write| (write.settled, write.invoked)).collect();
        history.acknowledged.sort_unstable();
        let mut latest = 0;
        for (_, invoked) in &mut history.acknowledged {
            latest = latest.max(*invoked);
            *invoked = latest;
        }
        history
    }

    fn add(&mut self, operation: &Operation, earlier: &[KeyHistory]) {
        let (settled, acknowledged) = match operation.outcome {
            Outcome::Done => (operation.returned, true),
            Outcome::Unknown => (NEVER, false),
            // Deleting what is gone already is acknowledged all the same: no later call may find the session.
            Outcome::Absent if operation.action == Action::Delete => (operation.returned, true),
            Outcome::Absent | Outcome::Failed | Outcome::Found(_) => return,
        };
        let write = |row: Row, expiries: Vec<Micros>, inherited| Write {
            version: row.version,
            digest: row.digest,
            expiries,
            invoked: operation.invoked,
            settled,
            acknowledged,
            inherited,
        };
        match operation.action {
            Action::Create(row) => {
                self.writes.push(write(row, vec![row.expires_at], false));
                self.created = Some(settled);
            }
            Action::CycleFrom(key) => {
                let old = earlier.get(key.0 as usize);
                let rows = old.map(|old| old.readable(operation.invoked, operation.returned)).unwrap_or_default();
                self.writes.extend(rows.into_iter().map(|(row, expiries)| write(row, expiries, true)));
                self.created = Some(settled);
            }
            Action::Save(row) => self.writes.push(write(row, vec![row.expires_at], false)),
            Action::Touch(expires_at) => {
                self.touches.push(Touch { expires_at, invoked: operation.invoked, settled, acknowledged });
            }
            Action::Delete | Action::CycleAway => {
                self.deletes_began.push(operation.invoked);
                if acknowledged {
                    self.deleted = Some(self.deleted.unwrap_or(NEVER).min(settled));
                }
            }
            Action::Load | Action::Exists => {}
        }
    }

    /// A write of unknown outcome has taken effect when a read has seen it, and does not do so a second time.
    fn settle_what_was_seen(&mut self, operations: &[Operation]) {
        if self.writes.iter().all(|write| write.settled != NEVER) {
            return;
        }
        for operation in operations {
            if let Outcome::Found(row) = operation.outcome
                && let Ok(at) = self.writes.binary_search_by_key(&row.version, |write| write.version)
                && !self.writes[at].acknowledged
            {
                self.writes[at].settled = self.writes[at].settled.min(operation.returned);
            }
        }
    }

    /// Checks one answer.
    pub(super) fn judge(&self, operation: &Operation) -> Result<(), Kind> {
        let window = Window { from: operation.invoked, to: operation.returned, expired_by: operation.returned };
        match (operation.action, operation.outcome) {
            (Action::Load, Outcome::Found(row)) => {
                self.judge_row(row, window)?;
                let expired = row.expires_at.saturating_add(EXPIRY_MARGIN_US) < window.from;
                if expired { Err(Kind::ServedExpired) } else { Ok(()) }
            }
            // A delete that finds nothing needs another one to explain it.
            (Action::Delete, Outcome::Absent) => self.judge_absence(window, 1),
            (_, Outcome::Absent) => self.judge_absence(window, 0),
            (
                Action::Save(_) | Action::Touch(_) | Action::Exists | Action::Delete | Action::CycleAway,
                Outcome::Done,
            ) => self.judge_presence(window),
            (Action::Create(_) | Action::CycleFrom(_) | Action::Load, Outcome::Done) => Ok(()),
            (_, Outcome::Failed | Outcome::Unknown | Outcome::Found(_)) => Ok(()),
        }
    }

    /// A takeover wrote one row, so that reads may not see now one and now another of those it could have been.
    pub(super) fn judge_inherited(&self, operation: &Operation, seen: &mut Option<u32>) -> Result<(), Kind> {
        let Outcome::Found(row) = operation.outcome else { return Ok(()) };
        if !self.write(row.version).is_some_and(|write| write.inherited) {
            return Ok(());
        }
        if *seen.get_or_insert(row.version) == row.version { Ok(()) } else { Err(Kind::StaleRead) }
    }

    /// A row was seen: it must be one that was written, and not replaced before the window.
    pub(super) fn judge_row(&self, row: Row, window: Window) -> Result<(), Kind> {
        self.judge_presence(window)?;
        let write = self.write(row.version).filter(|write| write.digest == row.digest && write.invoked <= window.to);
        let write = write.ok_or(Kind::Phantom)?;
        if write.settled < self.replaced_before(window.from) {
            return Err(Kind::StaleRead);
        }
        if !self.may_expire_at(write, row.expires_at, window.to) {
            return Err(Kind::Phantom);
        }
        if row.expires_at < self.earliest_expiry(write, window.from) { Err(Kind::StaleRead) } else { Ok(()) }
    }

    /// The session was found, whatever it held: no delete may have been acknowledged before.
    fn judge_presence(&self, window: Window) -> Result<(), Kind> {
        match self.deleted {
            Some(deleted) if deleted < window.from => Err(Kind::BackAfterLogout),
            _ => Ok(()),
        }
    }

    /// The session was not found: it must have been deleted, expired, or not yet created. `own_deletes` explain nothing.
    pub(super) fn judge_absence(&self, window: Window, own_deletes: usize) -> Result<(), Kind> {
        let deleted = self.deletes_began.partition_point(|began| *began <= window.to) > own_deletes;
        let created = self.created.is_some_and(|created| created < window.from);
        if deleted || !created {
            return Ok(());
        }
        let replaced_before = self.replaced_before(window.from);
        let current = self.writes.iter().filter(|write| write.invoked <= window.to && write.settled >= replaced_before);
        let earliest = current.map(|write| self.earliest_expiry(write, window.from)).min();
        let expired =
            earliest.is_some_and(|expires_at| expires_at <= window.expired_by.saturating_add(EXPIRY_MARGIN_US));
        if expired { Ok(()) } else { Err(Kind::ToldGone) }
    }

    fn write(&self, version: u32) -> Option<&Write> {
        self.writes.binary_search_by_key(&version, |write| write.version).ok().map(|at| &self.writes[at])
    }

    /// The latest invocation among the writes acknowledged before `at`: what had settled before that was replaced.
    fn replaced_before(&self, at: Micros) -> Micros {
        match self.acknowledged.partition_point(|(settled, _)| *settled < at) {
            0 => 0,
            count => self.acknowledged[count - 1].1,
        }
    }

    /// The expiry that a row of `write` has at least at `at`: touches that surely followed the write and came before `at` count.
    fn earliest_expiry(&self, write: &Write, at: Micros) -> Micros {
        let own = write.expiries.iter().copied().min().unwrap_or(0);
        let first = self.touches.partition_point(|touch| touch.settled <= write.settled);
        let followed = self.touches[first..].iter().take_while(|touch| touch.settled < at);
        let surely = followed.filter(|touch| touch.acknowledged && touch.invoked > write.settled);
        surely.map(|touch| touch.expires_at).fold(own, Micros::max)
    }

    /// Whether a row of `write` may have this expiry before `to`: its own, or that of a touch that did not surely come before it.
    fn may_expire_at(&self, write: &Write, expires_at: Micros, to: Micros) -> bool {
        let first = self.touches_by_expiry.partition_point(|touch| touch.expires_at < expires_at);
        let mut touches = self.touches_by_expiry[first..].iter().take_while(|touch| touch.expires_at == expires_at);
        write.expiries.contains(&expires_at)
            || touches.any(|touch| touch.invoked <= to && touch.settled >= write.invoked)
    }

    /// Every row that a read between two instants may return, with the expiries that it may have.
    fn readable(&self, from: Micros, to: Micros) -> Vec<(Row, Vec<Micros>)> {
        let replaced_before = self.replaced_before(from);
        let current = self.writes.iter().filter(|write| write.invoked <= to && write.settled >= replaced_before);
        let rows = current.map(|write| {
            let earliest = self.earliest_expiry(write, from);
            let touches = self.touches.iter().map(|touch| touch.expires_at);
            let expiries = write.expiries.iter().copied().chain(touches);
            let expiries = expiries.filter(|expiry| *expiry >= earliest && self.may_expire_at(write, *expiry, to));
            let expiries: Vec<_> = expiries.collect();
            (Row { version: write.version, digest: write.digest, expires_at: earliest }, expiries)
        });
        rows.collect()
    }
}
