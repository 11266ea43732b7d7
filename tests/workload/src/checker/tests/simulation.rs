//! A simulated store of a few keys, with seeded bugs.

use std::collections::BTreeMap;

use super::*;
use crate::checker::key::EXPIRY_MARGIN_US;

/// A bug of the simulated store. It strikes each time with the probability of its simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// Acknowledges a save without doing it.
    LosesSaves,
    /// Acknowledges a touch without doing it.
    LosesTouches,
    /// Acknowledges a delete without doing it.
    LosesDeletes,
    /// Inserts where it should update, so that a save brings a deleted session back.
    Upserts,
    /// Answers a load with the row before.
    ReadsTheRowBefore,
    /// Answers a load with another session's row.
    ReadsAnotherKey,
    /// Answers a load, a save or a touch with "no such session".
    SaysGone,
    /// Serves sessions that have ended.
    ServesExpired,
    /// Does a late write of unknown outcome twice.
    WritesTwice,
    /// Answers a load with the row before while a save that took effect has not been acknowledged.
    GoesBackBeforeTheAnswer,
    /// Finds a session again whose delete took effect and has not been acknowledged.
    ComesBackBeforeTheAnswer,
    /// Takes back a late write of unknown outcome.
    UndoesWhatWasUnknown,
    /// Does a save and reports that it did not.
    FailsAndWrites,
    /// Gives a row a different end from the one that the save asked for.
    InventsEnds,
    /// Gives a new key what the old one held before.
    CyclesTheRowBefore,
    /// Keeps the session under its old key as well.
    KeepsTheOldKey,
    /// At the end, a row is as it was before.
    EndsWithTheRowBefore,
    /// At the end, a row is missing.
    EndsWithoutARow,
    /// At the end, the row of a deleted session is present.
    EndsWithADeletedRow,
}

impl Bug {
    /// Whether the bug shows only while another client waits. Then the simulation makes one wait.
    fn needs_slow_answers(self) -> bool {
        matches!(self, Self::GoesBackBeforeTheAnswer | Self::ComesBackBeforeTheAnswer)
    }
}

/// A store of a few keys with a few clients, one event after another. Each call takes effect at an instant between its
/// invocation and its return.
struct Simulation {
    rng: fastrand::Rng,
    bug: Bug,
    bug_rate: f64,
    now: Micros,
    rows: BTreeMap<KeyId, Row>,
    rows_before: BTreeMap<KeyId, Row>,
    /// Every row that a key ever had, for bugs that bring one back.
    graveyard: BTreeMap<KeyId, Row>,
    keys: Vec<KeyId>,
    version: u32,
    key_count: u32,
    late: Vec<(Micros, KeyId, Action)>,
    /// Late saves that will be undone: when, and which row then comes back.
    undo: Vec<(Micros, KeyId, u32, Row)>,
    /// By key: until when the last save or delete that took effect stays unacknowledged.
    unanswered: BTreeMap<KeyId, Micros>,
    history: Vec<Operation>,
    seeded: u32,
}

#[derive(Clone, Copy)]
enum Client {
    Idle { until: Micros },
    Calling { key: KeyId, action: Action, invoked: Micros, effect_at: Micros },
    Cycling { key: KeyId, invoked: Micros, copied: Row, effect_at: Micros },
}

impl Simulation {
    const END: Micros = 20 * SECOND;
    const CLIENTS: usize = 6;

    fn run(seed: u64, bug: Bug, bug_rate: f64) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        let mut simulation = Self {
            rng,
            bug,
            bug_rate,
            now: SECOND,
            rows: BTreeMap::new(),
            rows_before: BTreeMap::new(),
            graveyard: BTreeMap::new(),
            keys: Vec::new(),
            version: 0,
            key_count: 0,
            late: Vec::new(),
            undo: Vec::new(),
            unanswered: BTreeMap::new(),
            history: Vec::new(),
            seeded: 0,
        };
        let mut clients = vec![Client::Idle { until: SECOND }; Self::CLIENTS];
        while simulation.now < Self::END {
            simulation.step(&mut clients);
        }
        simulation
    }

    fn step(&mut self, clients: &mut [Client]) {
        let due = |client: &Client| match client {
            Client::Idle { until } => *until,
            Client::Calling { effect_at, .. } | Client::Cycling { effect_at, .. } => *effect_at,
        };
        let next = (0..clients.len()).min_by_key(|at| due(&clients[*at])).unwrap();
        self.now = due(&clients[next]).max(self.now + 1);
        self.apply_late();
        if self.rng.f64() < 0.002 {
            let now = self.now;
            self.rows.retain(|_, row| row.expires_at > now);
        }
        clients[next] = match clients[next] {
            Client::Idle { .. } => self.invoke(),
            Client::Calling { key, action: Action::CycleAway, invoked, .. } => match self.read(key) {
                Some(copied) => {
                    let before = self.rows_before.get(&key).copied().unwrap_or(copied);
                    let copied = if self.buggy(Bug::CyclesTheRowBefore) { before } else { copied };
                    Client::Cycling { key, invoked, copied, effect_at: self.soon() }
                }
                None => self.answer(key, Action::CycleAway, invoked, Outcome::Absent),
            },
            Client::Calling { key, action, invoked, .. } => {
                let outcome = self.take_effect(key, action);
                let written = matches!((action, outcome), (Action::Save(_), Outcome::Done));
                if written && self.buggy(Bug::FailsAndWrites) {
                    return clients[next] = self.answer(key, action, invoked, Outcome::Failed);
                }
                let client = self.answer(key, action, invoked, outcome);
                if written || action == Action::Delete {
                    self.unanswered.insert(key, self.history.last().unwrap().returned);
                }
                client
            }
            Client::Cycling { key, invoked, copied, .. } => self.finish_cycle(key, invoked, copied),
        };
    }

    fn soon(&mut self) -> Micros {
        self.now + self.rng.u64(1..60_000)
    }

    fn invoke(&mut self) -> Client {
        let invoked = self.now;
        let effect_at = self.soon();
        if self.keys.len() < 4 || self.rng.u8(..) < 8 {
            let key = KeyId(self.key_count);
            self.key_count += 1;
            let row = self.new_row();
            self.rows.insert(key, row);
            self.keys.push(key);
            return self.answer(key, Action::Create(row), invoked, Outcome::Done);
        }
        let key = self.keys[self.rng.usize(..self.keys.len())];
        let action = match self.rng.u8(..100) {
            0..50 => Action::Load,
            50..75 => Action::Save(self.new_row()),
            75..90 => Action::Touch(self.now + self.rng.u64(SECOND..8 * SECOND)),
            90..93 => Action::Delete,
            93..96 => Action::CycleAway,
            _ => Action::Exists,
        };
        let is_write = matches!(action, Action::Save(_) | Action::Touch(_) | Action::Delete);
        if is_write && self.rng.u8(..100) < 4 {
            // The call gets no answer. It takes effect at some later time, or never.
            let times = if self.buggy(Bug::WritesTwice) { 2 } else { self.rng.usize(..2) };
            for _ in 0..times {
                let at = self.now + self.rng.u64(1..SECOND);
                self.late.push((at, key, action));
            }
            return self.answer(key, action, invoked, Outcome::Unknown);
        }
        Client::Calling { key, action, invoked, effect_at }
    }

    fn answer(&mut self, key: KeyId, action: Action, invoked: Micros, outcome: Outcome) -> Client {
        let waits = matches!(action, Action::Save(_) | Action::Delete) && self.bug.needs_slow_answers();
        let returned = self.soon() + if waits { SECOND } else { 0 };
        self.history.push(Operation { key, host: HostId(0), invoked, returned, action, outcome });
        Client::Idle { until: returned + self.rng.u64(1..40_000) }
    }

    fn finish_cycle(&mut self, key: KeyId, invoked: Micros, copied: Row) -> Client {
        let removed = self.rows.remove(&key);
        if removed.is_none() {
            return self.answer(key, Action::CycleAway, invoked, Outcome::Absent);
        }
        let new = KeyId(self.key_count);
        self.key_count += 1;
        self.rows.insert(new, copied);
        if self.buggy(Bug::KeepsTheOldKey) {
            self.rows.insert(key, copied);
        }
        self.keys.push(new);
        let idle = self.answer(key, Action::CycleAway, invoked, Outcome::Done);
        let Client::Idle { until } = idle else { return idle };
        let action = Action::CycleFrom(key);
        self.history.push(Operation {
            key: new,
            host: HostId(0),
            invoked,
            returned: until,
            action,
            outcome: Outcome::Done,
        });
        idle
    }

    fn new_row(&mut self) -> Row {
        self.version += 1;
        let lifetime = self.rng.u64(2 * SECOND..12 * SECOND);
        Row { version: self.version, digest: self.version ^ 0xABCD, expires_at: self.now + lifetime }
    }

    fn read(&self, key: KeyId) -> Option<Row> {
        self.rows.get(&key).copied().filter(|row| row.expires_at > self.now)
    }

    fn is_long_over(&self, key: KeyId) -> bool {
        self.rows.get(&key).is_some_and(|row| row.expires_at + EXPIRY_MARGIN_US < self.now - SECOND / 10)
    }

    fn is_unanswered(&self, key: KeyId) -> bool {
        self.unanswered.get(&key).is_some_and(|until| self.now < *until)
    }

    fn buggy(&mut self, bug: Bug) -> bool {
        let now = self.bug == bug && self.rng.f64() < self.bug_rate;
        self.seeded += u32::from(now);
        now
    }

    fn apply_late(&mut self) {
        let now = self.now;
        for (_, key, action) in self.late.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>() {
            let before = self.rows.get(&key).copied();
            self.take_effect(key, action);
            if let (Action::Save(row), Some(before)) = (action, before)
                && self.buggy(Bug::UndoesWhatWasUnknown)
            {
                self.undo.push((now + SECOND, key, row.version, before));
            }
        }
        for (_, key, version, before) in self.undo.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>() {
            if let Some(row) = self.rows.get_mut(&key)
                && row.version == version
            {
                *row = before;
            }
        }
    }

    fn take_effect(&mut self, key: KeyId, action: Action) -> Outcome {
        let there = self.rows.contains_key(&key);
        let living = self.read(key).is_some();
        match action {
            Action::Load if self.is_unanswered(key) && there && self.buggy(Bug::GoesBackBeforeTheAnswer) => {
                self.rows_before.get(&key).map_or(Outcome::Absent, |row| Outcome::Found(*row))
            }
            Action::Load if self.is_unanswered(key) && !there && self.buggy(Bug::ComesBackBeforeTheAnswer) => {
                self.graveyard.get(&key).map_or(Outcome::Absent, |row| Outcome::Found(*row))
            }
            Action::Load if living && self.buggy(Bug::ReadsTheRowBefore) => {
                self.rows_before.get(&key).map_or(Outcome::Absent, |row| Outcome::Found(*row))
            }
            Action::Load if living && self.buggy(Bug::ReadsAnotherKey) => {
                let other = self.rows.iter().find(|(other, _)| **other != key);
                other.map_or(Outcome::Absent, |(_, row)| Outcome::Found(*row))
            }
            Action::Load if self.is_long_over(key) && self.buggy(Bug::ServesExpired) => Outcome::Found(self.rows[&key]),
            Action::Load | Action::Save(_) | Action::Touch(_) if living && self.buggy(Bug::SaysGone) => Outcome::Absent,
            Action::Load => self.read(key).map_or(Outcome::Absent, Outcome::Found),
            Action::Save(row) if !there && self.buggy(Bug::Upserts) => {
                self.rows.insert(key, row);
                Outcome::Done
            }
            Action::Save(_) | Action::Touch(_) | Action::Exists if !there => Outcome::Absent,
            Action::Save(_) if self.buggy(Bug::LosesSaves) => Outcome::Done,
            Action::Touch(_) if self.buggy(Bug::LosesTouches) => Outcome::Done,
            Action::Save(mut row) => {
                row.expires_at += Micros::from(self.buggy(Bug::InventsEnds));
                let before = self.rows.insert(key, row).unwrap();
                self.rows_before.insert(key, before);
                Outcome::Done
            }
            Action::Touch(expires_at) => {
                let row = self.rows.get_mut(&key).unwrap();
                row.expires_at = row.expires_at.max(expires_at);
                Outcome::Done
            }
            Action::Exists => Outcome::Done,
            Action::Delete if there && self.buggy(Bug::LosesDeletes) => Outcome::Done,
            Action::Delete => match self.rows.remove(&key) {
                Some(row) => {
                    self.graveyard.insert(key, row);
                    Outcome::Done
                }
                None => Outcome::Absent,
            },
            Action::Create(_) | Action::CycleFrom(_) | Action::CycleAway => unreachable!("not a single effect"),
        }
    }

    /// What the checker finds in the answers, and then in the final rows.
    fn faults(mut self) -> (u32, Vec<Kind>) {
        // A write may still be under way although its return is already in the history. So read the rows after all
        // returns.
        let at = self.now + 3 * SECOND;
        self.now = at;
        self.apply_late();
        let keys: Vec<_> = self.rows.keys().copied().collect();
        for key in keys {
            if self.buggy(Bug::EndsWithTheRowBefore)
                && let Some(row) = self.rows_before.get(&key)
            {
                self.rows.insert(key, *row);
            }
            if self.buggy(Bug::EndsWithoutARow) {
                self.rows.remove(&key);
            }
        }
        for (key, row) in self.graveyard.clone() {
            if self.buggy(Bug::EndsWithADeletedRow) {
                self.rows.insert(key, row);
            }
        }
        let rows = self.rows.into_iter().collect();
        let left = Left { rows: &rows, window: Window { from: at, to: at, expired_by: at } };
        let findings = History::new(self.history).check(&Promises::default(), &[left]);
        (self.seeded, findings.faults.iter().map(|fault| fault.kind).collect())
    }
}

#[test]
fn correct_store_is_never_accused() {
    for seed in 0..600 {
        let (_, faults) = Simulation::run(seed, Bug::None, 0.0).faults();
        assert_eq!(faults, [], "seed {seed}");
    }
}

#[test]
fn every_seeded_bug_is_found_and_called_by_its_name() {
    let bugs: [(Bug, &[Kind], u32); 19] = [
        (Bug::LosesSaves, &[Kind::StaleRead, Kind::LostWrite], 95),
        (Bug::LosesTouches, &[Kind::StaleRead, Kind::LostWrite, Kind::ToldGone], 90),
        (Bug::LosesDeletes, &[Kind::BackAfterLogout], 95),
        (Bug::Upserts, &[Kind::BackAfterLogout], 95),
        (Bug::ReadsTheRowBefore, &[Kind::StaleRead], 95),
        (Bug::ReadsAnotherKey, &[Kind::ForeignPayload], 95),
        (Bug::SaysGone, &[Kind::ToldGone], 95),
        (Bug::ServesExpired, &[Kind::ServedExpired], 95),
        // Visible only if a read falls between the two effects, an acknowledged save follows it, and a read follows the
        // second effect.
        (Bug::WritesTwice, &[Kind::StaleRead, Kind::WentBack], 10),
        // Visible only if a read that saw the later row has returned before, and the save has not.
        (Bug::GoesBackBeforeTheAnswer, &[Kind::WentBack], 50),
        (Bug::ComesBackBeforeTheAnswer, &[Kind::CameBack], 15),
        // Visible only if one read falls between the effect and its end, and another read follows.
        (Bug::UndoesWhatWasUnknown, &[Kind::Undone], 25),
        (Bug::FailsAndWrites, &[Kind::FailedWrite], 95),
        (Bug::InventsEnds, &[Kind::UnaskedEnd], 95),
        (Bug::CyclesTheRowBefore, &[Kind::StaleCycle], 65),
        (Bug::KeepsTheOldKey, &[Kind::OldKeyFound], 95),
        (Bug::EndsWithTheRowBefore, &[Kind::LostWrite], 90),
        (Bug::EndsWithoutARow, &[Kind::LostWrite], 90),
        (Bug::EndsWithADeletedRow, &[Kind::BackAfterLogout], 95),
    ];
    for (bug, names, found_percent_min) in bugs {
        let (mut seeded_runs, mut found_runs) = (0, 0);
        for seed in 0..200 {
            let rate = if matches!(bug, Bug::WritesTwice | Bug::UndoesWhatWasUnknown) { 1.0 } else { 0.2 };
            let (seeded, faults) = Simulation::run(seed, bug, rate).faults();
            seeded_runs += u32::from(seeded > 0);
            found_runs += u32::from(faults.iter().any(|kind| names.contains(kind)));
            assert!(seeded > 0 || faults.is_empty(), "{bug:?}: a run without the bug was accused");
        }
        let report = format!("{bug:?}: found in {found_runs} of {seeded_runs} runs");
        assert!(seeded_runs >= 40 && found_runs * 100 >= seeded_runs * found_percent_min, "{report}");
    }
}
