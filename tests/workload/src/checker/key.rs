//! The history of one key, and the questions that the audit asks of it.

use std::collections::BTreeMap;

use crate::checker::seen::{Sight, Weight};
use crate::checker::{Allowance, Kind, StaleBound, Window};
use crate::history::{Action, HostId, KeyId, Micros, Operation, Outcome, Row};

/// How far the clocks that decide an expiry may be apart, and how late a timer may fire.
pub(super) const EXPIRY_MARGIN_US: Micros = 1_000_000;
/// The end of an operation of unknown outcome.
const NEVER: Micros = Micros::MAX;

/// A write of payload and expiry that may have taken effect.
#[derive(Clone, Debug)]
struct Write {
    host: HostId,
    version: u32,
    digest: u32,
    /// The possible expiries. There are several only if the row was taken over from a key whose expiry was being moved.
    expiries: Vec<Micros>,
    invoked: Micros,
    /// When it was acknowledged or first seen; [`NEVER`] if neither.
    settled: Micros,
    /// When it had certainly taken effect, because it was acknowledged or seen; [`NEVER`] if neither.
    effect_by: Micros,
    acknowledged: bool,
    /// True for a create by takeover: one of these was written, and only the reads show which.
    inherited: bool,
    /// True for a create by takeover if a read showed that another one was written.
    refuted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Touch {
    host: HostId,
    expires_at: Micros,
    invoked: Micros,
    settled: Micros,
    acknowledged: bool,
}

#[derive(Clone, Copy, Debug)]
struct Delete {
    host: HostId,
    /// Whether this delete is a part of giving the session a new key.
    cycled: bool,
    invoked: Micros,
    settled: Micros,
    acknowledged: bool,
}

/// What is wrong with an answer or a row, as far as the history of one key shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// A broken promise.
    Kind(Kind),
    /// No write under this key explains the payload of the row.
    Payload(Row),
    /// No call under this key asked for this end together with this payload.
    End(Row),
}

/// The history of one key.
#[derive(Default)]
pub(super) struct KeyHistory {
    /// Sorted by version.
    writes: Vec<Write>,
    /// Sorted by the instant when they settled.
    touches: Vec<Touch>,
    /// The touches sorted by the expiry that they asked for, to find the touches that may have set an expiry.
    touches_by_expiry: Vec<Touch>,
    /// For each host, its acknowledged writes sorted by the instant of the acknowledgement, each with the latest
    /// invocation up to it.
    acknowledged: BTreeMap<HostId, Vec<(Micros, Micros)>>,
    created: Option<Micros>,
    /// The key that it took over from.
    origin: Option<KeyId>,
    /// The deletes that may have taken effect, in the order in which they began.
    deletes: Vec<Delete>,
}

/// Since when a call must see what was acknowledged before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since<'p> {
    /// When the call began.
    strictly: Micros,
    /// An earlier instant, for what other hosts acknowledged that could not reach the cache.
    leniently: Micros,
    cut_off: &'p [HostId],
    host: HostId,
}

impl<'p> Since<'p> {
    /// The same instant for every host that acknowledged something.
    pub(super) fn strictly(from: Micros) -> Self {
        Self { strictly: from, leniently: from, cut_off: &[], host: HostId::default() }
    }

    /// The instants for a call that began at `from` on `host`.
    pub(super) fn leniently(from: Micros, host: HostId, bound: &'p StaleBound) -> Self {
        Self { strictly: from, leniently: from.saturating_sub(bound.age), cut_off: &bound.cut_off, host }
    }

    /// The instant for what a host acknowledged.
    fn of(&self, acknowledged_by: HostId) -> Micros {
        let may_be_missed = acknowledged_by != self.host && self.cut_off.contains(&acknowledged_by);
        if may_be_missed { self.leniently } else { self.strictly }
    }

    /// The instant for what any call has seen.
    pub(super) fn seen(&self) -> Micros {
        self.leniently
    }
}

impl KeyHistory {
    pub(super) fn new(operations: &[Operation], earlier: &[KeyHistory]) -> Self {
        let mut history = Self::default();
        for operation in operations {
            history.add(operation, earlier);
        }
        history.deletes.sort_unstable_by_key(|delete| delete.invoked);
        history.writes.sort_unstable_by_key(|write| write.version);
        history.settle_what_was_seen(operations);
        history.touches.sort_unstable_by_key(|touch| touch.settled);
        history.touches_by_expiry = history.touches.clone();
        history.touches_by_expiry.sort_unstable_by_key(|touch| touch.expires_at);
        for write in history.writes.iter().filter(|write| write.acknowledged) {
            history.acknowledged.entry(write.host).or_default().push((write.settled, write.invoked));
        }
        for acknowledged in history.acknowledged.values_mut() {
            acknowledged.sort_unstable();
            let mut latest = 0;
            for (_, invoked) in acknowledged {
                latest = latest.max(*invoked);
                *invoked = latest;
            }
        }
        history
    }

    fn add(&mut self, operation: &Operation, earlier: &[KeyHistory]) {
        let (settled, acknowledged) = match operation.outcome {
            Outcome::Done => (operation.returned, true),
            Outcome::Unknown => (NEVER, false),
            // A delete of a session that is already gone is acknowledged too: no later call may find the session.
            Outcome::Absent if operation.action == Action::Delete => (operation.returned, true),
            Outcome::Absent | Outcome::Failed | Outcome::Found(_) => return,
        };
        let write = |row: Row, expiries: Vec<Micros>, inherited| Write {
            host: operation.host,
            version: row.version,
            digest: row.digest,
            expiries,
            invoked: operation.invoked,
            settled,
            effect_by: settled,
            acknowledged,
            inherited,
            refuted: false,
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
                self.origin = Some(key);
            }
            Action::Save(row) => self.writes.push(write(row, vec![row.expires_at], false)),
            Action::Touch(expires_at) => {
                let Operation { host, invoked, .. } = *operation;
                self.touches.push(Touch { host, expires_at, invoked, settled, acknowledged });
            }
            Action::Delete | Action::CycleAway => {
                let Operation { host, invoked, .. } = *operation;
                let cycled = operation.action == Action::CycleAway;
                self.deletes.push(Delete { host, cycled, invoked, settled, acknowledged });
            }
            Action::Load | Action::Exists => {}
        }
    }

    /// A write of unknown outcome has taken effect once a read has seen it, and does not take effect a second time. A
    /// takeover wrote the row that was seen first.
    fn settle_what_was_seen(&mut self, operations: &[Operation]) {
        let mut inherited = None;
        for operation in operations {
            if let Outcome::Found(row) = operation.outcome
                && let Ok(at) = self.writes.binary_search_by_key(&row.version, |write| write.version)
                && self.writes[at].invoked <= operation.returned
            {
                let write = &mut self.writes[at];
                write.effect_by = write.effect_by.min(operation.returned);
                if !write.acknowledged {
                    write.settled = write.effect_by;
                }
                if write.inherited {
                    inherited.get_or_insert(row.version);
                }
            }
        }
        for write in self.writes.iter_mut().filter(|write| write.inherited) {
            write.refuted = inherited.is_some_and(|version| version != write.version);
        }
    }

    /// The key that it took over from.
    pub(super) fn origin(&self) -> Option<KeyId> {
        self.origin
    }

    /// Checks one answer.
    pub(super) fn judge(&self, operation: &Operation, since: Since<'_>) -> Result<(), Wrong> {
        let window = Window { from: operation.invoked, to: operation.returned, expired_by: operation.returned };
        match (operation.action, operation.outcome) {
            (Action::Load, Outcome::Found(row)) => {
                self.judge_row(row, since, window.to)?;
                let expired = row.expires_at.saturating_add(EXPIRY_MARGIN_US) < operation.invoked;
                if expired { Err(Wrong::Kind(Kind::ServedExpired)) } else { Ok(()) }
            }
            // A delete that finds nothing needs another delete to explain it.
            (Action::Delete, Outcome::Absent) => self.judge_absence(window, 1),
            (_, Outcome::Absent) => self.judge_absence(window, 0),
            (
                Action::Save(_) | Action::Touch(_) | Action::Exists | Action::Delete | Action::CycleAway,
                Outcome::Done,
            ) => self.judge_presence(since),
            (Action::Create(_) | Action::CycleFrom(_) | Action::Load, Outcome::Done) => Ok(()),
            (_, Outcome::Failed | Outcome::Unknown | Outcome::Found(_)) => Ok(()),
        }
    }

    /// Checks a row that was seen before `to`: it must have been written, and must not have been replaced too long ago.
    pub(super) fn judge_row(&self, row: Row, since: Since<'_>, to: Micros) -> Result<(), Wrong> {
        self.judge_presence(since)?;
        let write = self.write(row.version).filter(|write| write.digest == row.digest && write.invoked <= to);
        let write = write.ok_or(Wrong::Payload(row))?;
        // Another read saw that the takeover wrote another row.
        if write.refuted {
            return Err(Wrong::Kind(Kind::WentBack));
        }
        if write.settled < self.replaced_before(since) {
            return Err(Wrong::Kind(Kind::StaleRead));
        }
        if !self.may_expire_at(write, row.expires_at, to) {
            return Err(Wrong::End(row));
        }
        let stale = row.expires_at < self.earliest_expiry(write, since);
        if stale { Err(Wrong::Kind(Kind::StaleRead)) } else { Ok(()) }
    }

    /// Checks that the session may be found, whatever it held: no delete may have been acknowledged too long ago.
    fn judge_presence(&self, since: Since<'_>) -> Result<(), Wrong> {
        let over = |delete: &&Delete| delete.acknowledged && delete.settled < since.of(delete.host);
        let over = self.deletes.iter().filter(over).min_by_key(|delete| delete.cycled);
        over.map_or(Ok(()), |delete| {
            Err(Wrong::Kind(if delete.cycled { Kind::OldKeyFound } else { Kind::BackAfterLogout }))
        })
    }

    /// Checks that the session may be absent: it must have been deleted, expired, or not yet created. `own_deletes` of
    /// the deletes do not explain it.
    pub(super) fn judge_absence(&self, window: Window, own_deletes: usize) -> Result<(), Wrong> {
        let deleted = self.deletes.partition_point(|delete| delete.invoked <= window.to) > own_deletes;
        if deleted || !self.lived_unless_deleted(window) { Ok(()) } else { Err(Wrong::Kind(Kind::ToldGone)) }
    }

    /// Whether the session certainly existed within the window, if nobody deleted it.
    fn lived_unless_deleted(&self, window: Window) -> bool {
        let since = Since::strictly(window.from);
        let replaced_before = self.replaced_before(since);
        let current = self.writes.iter().filter(|write| !write.refuted);
        let current = current.filter(|write| write.invoked <= window.to && write.settled >= replaced_before);
        let earliest = current.map(|write| self.earliest_expiry(write, since)).min();
        let ended = window.expired_by.saturating_add(EXPIRY_MARGIN_US);
        self.created.is_some_and(|created| created < window.from) && earliest.is_some_and(|earliest| earliest > ended)
    }

    /// The weight of a call that rightly reported within `window` that the session is gone. `None`: it may have ended
    /// by itself.
    pub(super) fn weigh_absence(&self, window: Window, undone: Option<Allowance>) -> Option<Weight> {
        let count = self.deletes.partition_point(|delete| delete.invoked <= window.to);
        let weights = self.deletes[..count].iter().map(|delete| weight(delete.acknowledged, delete.invoked, undone));
        // A write that may be undone explains the most.
        weights.max_by_key(|weight| *weight as u8).filter(|_| self.lived_unless_deleted(window))
    }

    /// The sight of a row that was rightly seen. It limits what may be seen after it.
    pub(super) fn sight(&self, row: Row) -> Option<Sight> {
        self.write(row.version).map(|write| Sight { row, effect_by: write.effect_by })
    }

    /// How certain it is that a rightly seen row stays: the weight of its payload and of its end.
    pub(super) fn weigh_row(&self, row: Row, undone: Option<Allowance>) -> Option<(Weight, Weight)> {
        let write = self.write(row.version)?;
        let of_write = weight(write.acknowledged, write.invoked, undone);
        let touches = self.touches_to(row.expires_at).map(|touch| weight(touch.acknowledged, touch.invoked, undone));
        let own = write.expiries.contains(&row.expires_at).then_some(of_write);
        Some((of_write, own.into_iter().chain(touches).min_by_key(|weight| *weight as u8)?))
    }

    /// Whether every call that may have changed something was acknowledged before `at`.
    pub(super) fn is_quiet_since(&self, at: Micros) -> bool {
        let quiet = |acknowledged: bool, settled: Micros| acknowledged && settled < at;
        self.writes.iter().all(|write| quiet(write.acknowledged, write.settled))
            && self.touches.iter().all(|touch| quiet(touch.acknowledged, touch.settled))
            && self.deletes.iter().all(|delete| quiet(delete.acknowledged, delete.settled))
    }

    /// Whether a write that an allowance covers was in progress at this instant, other than that of `seen`.
    pub(super) fn is_written_at(&self, at: Micros, allowed: Allowance, seen: Option<Row>) -> bool {
        let is_covered = |invoked: Micros| (allowed.from..=allowed.to).contains(&invoked);
        let spans = |invoked: Micros, settled: Micros| is_covered(invoked) && invoked <= at && settled > at;
        let is_other = |write: &&Write| seen.is_none_or(|row| row.version != write.version);
        self.writes.iter().filter(is_other).any(|write| spans(write.invoked, write.settled))
            || self.touches.iter().any(|touch| spans(touch.invoked, touch.settled))
            || self.deletes.iter().any(|delete| spans(delete.invoked, delete.settled))
    }

    /// Whether a row of this payload with this end may ever have existed.
    pub(super) fn ever_had(&self, row: Row) -> bool {
        self.write(row.version).is_some_and(|write| {
            write.expiries.contains(&row.expires_at) || self.touches_to(row.expires_at).next().is_some()
        })
    }

    fn write(&self, version: u32) -> Option<&Write> {
        self.writes.binary_search_by_key(&version, |write| write.version).ok().map(|at| &self.writes[at])
    }

    /// The latest invocation among the writes that must be seen. What had settled before it was replaced.
    fn replaced_before(&self, since: Since<'_>) -> Micros {
        let latest = self.acknowledged.iter().filter_map(|(host, acknowledged)| {
            let count = acknowledged.partition_point(|(settled, _)| *settled < since.of(*host));
            acknowledged[..count].last().map(|(_, invoked)| *invoked)
        });
        latest.max().unwrap_or(0)
    }

    /// The earliest expiry that a row of `write` may have. Touches count if they certainly followed the write and must
    /// be seen.
    fn earliest_expiry(&self, write: &Write, since: Since<'_>) -> Micros {
        let own = write.expiries.iter().copied().min().unwrap_or(0);
        let first = self.touches.partition_point(|touch| touch.settled <= write.settled);
        let followed = self.touches[first..].iter().take_while(|touch| touch.settled < since.strictly);
        let surely = followed.filter(|touch| touch.acknowledged && touch.invoked > write.settled);
        let surely = surely.filter(|touch| touch.settled < since.of(touch.host));
        surely.map(|touch| touch.expires_at).fold(own, Micros::max)
    }

    /// Whether a row of `write` may have this expiry before `to`: its own expiry, or that of a touch that may have
    /// followed the write.
    fn may_expire_at(&self, write: &Write, expires_at: Micros, to: Micros) -> bool {
        let mut touches = self.touches_to(expires_at);
        write.expiries.contains(&expires_at)
            || touches.any(|touch| touch.invoked <= to && touch.settled >= write.invoked)
    }

    /// The touches that asked for this end.
    fn touches_to(&self, expires_at: Micros) -> impl Iterator<Item = &Touch> {
        let first = self.touches_by_expiry.partition_point(|touch| touch.expires_at < expires_at);
        self.touches_by_expiry[first..].iter().take_while(move |touch| touch.expires_at == expires_at)
    }

    /// Every row that a read between two instants may return, with the expiries that it may have.
    fn readable(&self, from: Micros, to: Micros) -> Vec<(Row, Vec<Micros>)> {
        let since = Since::strictly(from);
        let replaced_before = self.replaced_before(since);
        let current = self.writes.iter().filter(|write| !write.refuted);
        let current = current.filter(|write| write.invoked <= to && write.settled >= replaced_before);
        let rows = current.map(|write| {
            let earliest = self.earliest_expiry(write, since);
            let touches = self.touches.iter().map(|touch| touch.expires_at);
            let expiries = write.expiries.iter().copied().chain(touches);
            let expiries = expiries.filter(|expiry| *expiry >= earliest && self.may_expire_at(write, *expiry, to));
            let expiries: Vec<_> = expiries.collect();
            (Row { version: write.version, digest: write.digest, expires_at: earliest }, expiries)
        });
        rows.collect()
    }
}

fn weight(acknowledged: bool, invoked: Micros, undone: Option<Allowance>) -> Weight {
    match undone {
        _ if acknowledged => Weight::Sure,
        Some(Allowance { from, to, .. }) if (from..=to).contains(&invoked) => Weight::MayBeUndone,
        _ => Weight::Unknown,
    }
}
