//! Which step may follow which: the edges between the phases, each with its guards and its effect.

use core::cmp::Ordering;

use crate::Effect::{EmptiesNew, Forgets, Nothing, Settles};
use crate::Guard::{
    Backfilled, LivingAtNew, LosslessSchema, NoMarks, PredecessorClosed, Settled, SideTables, Verified,
};
use crate::Phase::{Complete, Cutover, Invalidate, Mirror, Off, Reverse, Strict};
use crate::Side::{New, Old};
use crate::{Facts, Finding, Guard, Phase, Profile, Standing};

/// One step of a migration: from a phase to a neighbour, or from `mirror` to itself, which settles it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Edge {
    /// The phase in force.
    pub from: Phase,
    /// The phase after the step.
    pub to: Phase,
    /// What must hold before the step, in the order in which the guards are checked.
    pub guards: &'static [Guard],
    /// What the step changes besides the phase.
    pub effect: Effect,
}

/// What a step changes besides the phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// `settled` and `verified` stay.
    Nothing,
    /// `settled` becomes the epoch that is entered.
    Settles,
    /// `settled` and `verified` become `NULL`.
    Forgets,
    /// The new session table is emptied under the epoch that is left. A count shows that it is empty before the next
    /// epoch is in force.
    EmptiesNew,
}

/// Where an edge leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the next phase.
    Forwards,
    /// To the same phase.
    Settling,
    /// To the previous phase.
    Back,
}

impl Edge {
    /// Where this edge leads.
    pub fn direction(&self) -> Direction {
        match self.to.cmp(&self.from) {
            Ordering::Greater => Direction::Forwards,
            Ordering::Equal => Direction::Settling,
            Ordering::Less => Direction::Back,
        }
    }

    /// Every guard with its verdict.
    pub fn findings(&self, standing: &Standing, facts: &Facts) -> impl Iterator<Item = Finding> {
        self.guards.iter().map(|guard| Finding { guard: *guard, verdict: guard.look(standing, facts) })
    }

    /// Whether this edge may be taken: the phase in force is `from`, its epoch is sealed, and every hard guard is
    /// green.
    pub fn is_open(&self, standing: &Standing, facts: &Facts) -> bool {
        let may_look = standing.phase == self.from && standing.is_sealed();
        may_look && !self.findings(standing, facts).any(|finding| finding.blocks())
    }
}

/// The edges of a profile, ordered by the phase that they leave. For each phase: settling first, then forwards, then
/// back.
pub const fn edges(profile: Profile) -> &'static [Edge] {
    match profile {
        Profile::Backfill => BACKFILL,
        Profile::Lazy => LAZY,
    }
}

/// The edges that leave a phase.
pub fn edges_from(profile: Profile, phase: Phase) -> impl Iterator<Item = &'static Edge> {
    edges(profile).iter().filter(move |edge| edge.from == phase)
}

/// The edge between two phases; `None` if there is no such step.
pub fn edge(profile: Profile, from: Phase, to: Phase) -> Option<&'static Edge> {
    edges_from(profile, from).find(|edge| edge.to == to)
}

const BEGINNING: &[Guard] = &[SideTables, LosslessSchema, PredecessorClosed];

const BACKFILL: &[Edge] = &[
    of(Off, Mirror, BEGINNING, Nothing),
    of(Mirror, Mirror, &[Backfilled], Settles),
    of(Mirror, Strict, &[Settled, Verified], Nothing),
    of(Mirror, Off, &[], Forgets),
    of(Strict, Cutover, &[NoMarks(Old)], Nothing),
    of(Strict, Mirror, &[], Nothing),
    of(Cutover, Reverse, &[], Nothing),
    of(Cutover, Strict, &[NoMarks(New)], Nothing),
    of(Reverse, Complete, &[], Nothing),
    of(Reverse, Cutover, &[], Nothing),
];

const LAZY: &[Edge] = &[
    of(Off, Invalidate, BEGINNING, EmptiesNew),
    of(Invalidate, Strict, &[], Nothing),
    of(Invalidate, Off, &[], Forgets),
    of(Strict, Cutover, &[NoMarks(Old), LivingAtNew], Nothing),
    of(Strict, Invalidate, &[], Nothing),
    of(Cutover, Reverse, &[], Nothing),
    of(Cutover, Strict, &[NoMarks(New)], Nothing),
    of(Reverse, Complete, &[], Nothing),
    of(Reverse, Cutover, &[], Nothing),
];

const fn of(from: Phase, to: Phase, guards: &'static [Guard], effect: Effect) -> Edge {
    Edge { from, to, guards, effect }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Epoch;

    #[test]
    fn neighbours_of_the_path_follow_each_other_but_nothing_leaves_complete() {
        for profile in Profile::ALL {
            for pair in profile.path().windows(2) {
                assert!(edge(profile, pair[0], pair[1]).is_some_and(|edge| edge.direction() == Direction::Forwards));
                let back = edge(profile, pair[1], pair[0]);
                assert_eq!(back.is_some(), pair[1] != Complete);
                assert!(back.is_none_or(|edge| edge.direction() == Direction::Back));
            }
            let settling = edges(profile).iter().filter(|edge| edge.direction() == Direction::Settling);
            assert!(settling.into_iter().all(|edge| edge.from == Mirror));
            let neighbours = 2 * (profile.path().len() - 1) - 1;
            assert_eq!(edges(profile).len(), neighbours + usize::from(profile == Profile::Backfill));
        }
    }

    #[test]
    fn every_guard_stands_at_some_edge_and_new_is_emptied_only_for_invalidate() {
        let all = || Profile::ALL.into_iter().flat_map(edges);
        for guard in Guard::ALL {
            assert!(all().any(|edge| edge.guards.contains(&guard)), "{guard}");
        }
        assert!(all().all(|edge| (edge.effect == EmptiesNew) == (edge.from == Off && edge.to == Invalidate)));
    }

    #[test]
    fn edge_is_open_in_its_own_sealed_phase_once_its_guards_are_green() {
        let edge = edge(Profile::Lazy, Strict, Cutover).unwrap();
        let epoch = Epoch::from(3);
        let strict = Standing { epoch, phase: Strict, sealed: epoch, ..Standing::FIRST };
        let facts = Facts { marks_at_old: Some(0), living_not_at_new: Some(0), ..Facts::default() };
        assert!(edge.is_open(&strict, &facts));
        assert!(!edge.is_open(&Standing { sealed: Epoch::from(2), ..strict }, &facts));
        assert!(!edge.is_open(&Standing { phase: Invalidate, ..strict }, &facts));
        assert!(!edge.is_open(&strict, &Facts { living_not_at_new: Some(1), ..facts }));
        assert!(!edge.is_open(&strict, &Facts { living_not_at_new: None, ..facts }));
    }
}
