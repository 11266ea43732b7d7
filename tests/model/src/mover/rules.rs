//! The pure rules of a move: its stages, the edges between them with their guards, the steps of one copy, and when a put
//! is refused. Nothing here asks a database. The model calls these functions, and the mover is meant to call them too.

use switchover_protocol::Side;

use Guard::{CapturedAtNew, CapturedAtOld, Compared, Drained, Excluded, Fenced, NewEmpty, Scanned, Unseen};
use Stage::{Aborted, Capturing, Copying, Cut, Done, Prepared, Reversible, Verified};

/// How the new table becomes the one that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Both are tables of one database: their names are swapped.
    Rename,
    /// A foreign table of the new one takes the old one's place.
    Bridge,
    /// The old table refuses reads and writes until applications are restarted.
    Seal,
    /// Applications are hosts of Switchover: a migration by phases follows.
    Fleet,
}

impl Form {
    /// All forms.
    pub const ALL: [Self; 4] = [Self::Rename, Self::Bridge, Self::Seal, Self::Fleet];

    /// The operator's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rename => "rename",
            Self::Bridge => "bridge",
            Self::Seal => "seal",
            Self::Fleet => "fleet",
        }
    }

    /// The form with this word; `None` if there is none.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.as_str() == word)
    }
}

/// How far a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Side tables and the new table exist. Nothing is captured.
    Prepared,
    /// The trigger is being installed.
    Capturing,
    /// Each write of an application leaves a change. Rows and changes are carried over.
    Copying,
    /// Every row was carried over, and both tables were compared.
    Verified,
    /// The new table counts. In the form `fleet` the migration has taken over.
    Cut,
    /// The new table counts, and its changes are carried back to the old one.
    Reversible,
    /// The move is over, and the new table counts.
    Done,
    /// The move is over, and the old table counts.
    Aborted,
}

impl Stage {
    /// The table that counts.
    pub const fn home(self) -> Side {
        match self {
            Self::Prepared | Self::Capturing | Self::Copying | Self::Verified | Self::Aborted => Side::Old,
            Self::Cut | Self::Reversible | Self::Done => Side::New,
        }
    }

    /// The table whose changes a copier carries over; `None` if no copier may take the lease.
    pub const fn source(self) -> Option<Side> {
        match self {
            Self::Copying | Self::Verified => Some(Side::Old),
            Self::Reversible => Some(Side::New),
            Self::Prepared | Self::Capturing | Self::Cut | Self::Done | Self::Aborted => None,
        }
    }

    /// The stage's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Capturing => "capturing",
            Self::Copying => "copying",
            Self::Verified => "verified",
            Self::Cut => "cut",
            Self::Reversible => "reversible",
            Self::Done => "done",
            Self::Aborted => "aborted",
        }
    }
}

/// What must hold before an edge is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    /// The new table has no row. It is looked at after `fenced`.
    NewEmpty,
    /// The fence of the table that copies are put into stands at the generation of whoever takes the edge, and nobody
    /// else has taken a generation since.
    Fenced,
    /// The old table's trigger is committed, and every transaction that wrote before it has ended.
    CapturedAtOld,
    /// Every row that was there when the scan began was carried over, or deleted since.
    Scanned,
    /// A comparison found every key equal or with a change.
    Compared,
    /// Nobody can read or write the table that counted, and every transaction that wrote it has ended.
    Excluded,
    /// The table that counted has no change.
    Drained,
    /// No open transaction at the server of the table that will count has a snapshot from before the fence was closed.
    Unseen,
    /// Each write of the new table since the cut has left a change.
    CapturedAtNew,
}

impl Guard {
    /// The guard's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewEmpty => "new-empty",
            Self::Fenced => "fenced",
            Self::CapturedAtOld => "captured-at-old",
            Self::Scanned => "scanned",
            Self::Compared => "compared",
            Self::Excluded => "excluded",
            Self::Drained => "drained",
            Self::Unseen => "unseen",
            Self::CapturedAtNew => "captured-at-new",
        }
    }

    /// Whether the facts show that the guard holds. What is not known does not hold.
    pub const fn holds(self, facts: &Facts) -> bool {
        match self {
            Self::NewEmpty => facts.new_empty,
            Self::Fenced => facts.fenced,
            Self::CapturedAtOld => facts.captured_at_old,
            Self::Scanned => facts.scanned,
            Self::Compared => facts.compared,
            Self::Excluded => facts.excluded,
            Self::Drained => facts.drained,
            Self::Unseen => facts.unseen,
            Self::CapturedAtNew => facts.captured_at_new,
        }
    }
}

/// What was seen, each fact named as its guard. A fact that is not known is `false`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the guard of its name")]
pub struct Facts {
    pub new_empty: bool,
    pub fenced: bool,
    pub captured_at_old: bool,
    pub scanned: bool,
    pub compared: bool,
    pub excluded: bool,
    pub drained: bool,
    pub unseen: bool,
    pub captured_at_new: bool,
}

/// One step of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Edge {
    /// The stage before it.
    pub from: Stage,
    /// The stage after it.
    pub to: Stage,
    /// What must hold, in the order in which it is looked at.
    pub guards: &'static [Guard],
}

/// The edges of a form.
pub const fn edges(form: Form) -> &'static [Edge] {
    match form {
        Form::Rename | Form::Bridge | Form::Seal => TABLES,
        Form::Fleet => FLEET,
    }
}

/// The edge between two stages; `None` if there is no such step.
pub fn edge(form: Form, from: Stage, to: Stage) -> Option<&'static Edge> {
    edges(form).iter().find(|edge| edge.from == from && edge.to == to)
}

const PREPARED: Edge = of(Prepared, Capturing, &[Fenced, NewEmpty]);
const CAPTURED: Edge = of(Capturing, Copying, &[CapturedAtOld]);
const COMPARED: Edge = of(Copying, Verified, &[CapturedAtOld, Scanned, Compared]);
const DRIFTED: Edge = of(Verified, Copying, &[]);
const REVERSIBLE: Edge = of(Cut, Reversible, &[CapturedAtNew]);
const CUTTING: &[Guard] = &[Excluded, Drained, Fenced, Unseen];

const TABLES: &[Edge] = &[
    PREPARED,
    CAPTURED,
    COMPARED,
    DRIFTED,
    of(Verified, Cut, CUTTING),
    REVERSIBLE,
    of(Reversible, Aborted, CUTTING),
    of(Cut, Done, &[]),
    of(Reversible, Done, &[]),
    of(Prepared, Aborted, &[]),
    of(Capturing, Aborted, &[]),
    of(Copying, Aborted, &[]),
    of(Verified, Aborted, &[]),
];

const FLEET: &[Edge] = &[
    PREPARED,
    CAPTURED,
    COMPARED,
    DRIFTED,
    of(Verified, Cut, &[Excluded, Fenced]),
    of(Cut, Done, &[]),
    of(Prepared, Aborted, &[]),
    of(Capturing, Aborted, &[]),
    of(Copying, Aborted, &[]),
    of(Verified, Aborted, &[]),
];

const fn of(from: Stage, to: Stage, guards: &'static [Guard]) -> Edge {
    Edge { from, to, guards }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_forms_are_read_back() {
        for form in Form::ALL {
            assert_eq!(Form::parse(form.as_str()), Some(form));
        }
        assert_eq!(Form::parse("Rename"), None);
    }

    #[test]
    fn nothing_leaves_a_move_that_is_over() {
        for edge in Form::ALL.into_iter().flat_map(edges) {
            assert!(!matches!(edge.from, Done | Aborted), "{edge:?}");
        }
    }

    #[test]
    fn whatever_changes_the_table_that_counts_is_fenced_and_nobody_can_write_meanwhile() {
        let changes = |edge: &&Edge| edge.from.home() != edge.to.home();
        for edge in Form::ALL.into_iter().flat_map(edges).filter(changes) {
            assert!(edge.guards.contains(&Fenced) && edge.guards.contains(&Excluded), "{edge:?}");
        }
    }

    #[test]
    fn guard_of_an_unknown_fact_does_not_hold() {
        for guard in Form::ALL.into_iter().flat_map(edges).flat_map(|edge| edge.guards) {
            assert!(!guard.holds(&Facts::default()), "{guard:?}");
        }
        assert!(Drained.holds(&Facts { drained: true, ..Facts::default() }));
    }
}
