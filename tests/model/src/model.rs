//! The model itself: which actions a state allows, and how each changes it.

use stateright::{Model, Property};
use switchover_protocol::{Epoch, Number, Operation, Phase, Plan, Seen, Stamp, TooLate};

use crate::rules::{Rules, Size};
use crate::state::{Broken, Cache, Control, Database, HOSTS_MAX, Left, Process, State, Told, WORKER};
use crate::table::Table;
use crate::{control, host, promises, worker, write};

/// The number of the key's row, in every state. Only the order of numbers matters, and a state says for each statement
/// under way whether its number is still the next one.
const COUNTED: Number = Number::ZERO;

/// A migration of one key by a table under rules.
#[derive(Clone, Debug)]
pub struct Migration {
    /// The answers of the policy.
    pub table: Table,
    /// The rules of the mechanism.
    pub rules: Rules,
    /// How much may happen.
    pub size: Size,
}

/// What happens to a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// It is executed, and the sender gets the answer.
    Answered,
    /// It is executed, and the answer is lost.
    Unheard,
    /// It is not executed.
    Failed,
    /// It is not executed yet, and the sender gives up.
    Late,
}

/// One step of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A client calls a host.
    Begin(u8, Operation),
    /// A call makes its next step.
    Proceed(u8, Reply),
    /// The worker locks the key and reads it.
    Copy,
    /// A copy makes its next step.
    ProceedCopy(Reply),
    /// A process crashes and starts again.
    Crash(u8),
    /// The database takes the lock of a paused process away.
    LoseLock(u8),
    /// A process acknowledges the epoch in force.
    Acknowledge(u8),
    /// A host is given up.
    Evict(u8),
    /// Every host has acknowledged: the controller raises the fence to the epoch in force.
    Seal,
    /// The controller has found barrier and guards in order.
    Decide(Phase),
    /// The controller puts the next epoch in force.
    Enter,
    /// The verifier reads the old row.
    VerifyOld,
    /// The verifier reads the new row and compares.
    VerifyNew,
    /// A late statement executes.
    Arrive,
    /// A guard that a host left in the cache ends by itself.
    GuardEnds(u8),
}

impl Migration {
    /// The plan of an operation in a phase.
    pub fn plan(&self, phase: Phase, operation: Operation) -> &Plan {
        self.table.plan(phase, self.rules.profile, operation).expect("a path has only phases of its profile")
    }

    /// Whether a database executes a statement of this epoch that carries no number. A variant without a fence never
    /// raises it.
    pub fn takes(&self, state: &State, epoch: u8) -> bool {
        self.too_late(state, epoch, None).is_none()
    }

    /// Whether a database executes a statement that carries a number. `is_next` says whether that is still the next
    /// one.
    pub(crate) fn takes_numbered(&self, state: &State, epoch: u8, is_next: bool) -> bool {
        let number = if is_next { Number::next(COUNTED, Number::ZERO) } else { COUNTED };
        self.too_late(state, epoch, self.rules.number.then_some(number)).is_none()
    }

    fn too_late(&self, state: &State, epoch: u8, number: Option<Number>) -> Option<TooLate> {
        let fence = Epoch::from(u32::from(state.control.fence));
        let stamp = Stamp { epoch: Epoch::from(u32::from(epoch)), number };
        stamp.too_late(Seen { fence: Some(fence), number: COUNTED })
    }

    fn first(&self, told: Told, row: u8) -> State {
        let size = &self.size;
        let phase = self.rules.path[0];
        State {
            databases: [Database { row, ..Database::default() }, Database::default()],
            cache: Cache::default(),
            control: Control {
                epoch: 1,
                phase,
                next: None,
                fence: 0,
                settled: false,
                verified: false,
                rolled_back: false,
            },
            hosts: [Process { epoch: 1, phase, is_evicted: false, task: None }; HOSTS_MAX],
            worker: Process { epoch: 1, phase, is_evicted: false, task: None },
            verifier: None,
            late: None,
            left: Left {
                operations: size.operations,
                loads: size.loads,
                crashes: size.crashes,
                failures: size.failures,
                lates: size.lates,
                lost_locks: size.lost_locks,
                evictions: size.evictions,
                rollbacks: size.rollbacks,
            },
            told,
            broken: None,
        }
    }

    /// Removes a late statement from the state if no database would execute it any more.
    fn forget_the_dead(&self, state: &mut State) {
        let Some(late) = state.late else { return };
        let is_taken = if late.is_numbered {
            self.takes_numbered(state, late.epoch, late.is_next)
        } else {
            self.takes(state, late.epoch)
        };
        if !is_taken {
            state.late = None;
        }
    }
}

impl Model for Migration {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let there = Told { next: 2, acknowledged: 1 << 1, create_began: true, created: true, ..Told::default() };
        let not_there = Told { next: 2, ..Told::default() };
        vec![self.first(there, 1), self.first(not_there, 0)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        for index in 0..self.size.hosts {
            host::actions(self, state, index, actions);
        }
        worker::actions(self, state, actions);
        control::actions(self, state, actions);
        if state.late.is_some_and(|late| !write::is_late_blocked(state, &late)) {
            actions.push(Action::Arrive);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Begin(index, operation) => host::begin(self, &mut state, index, operation),
            Action::Proceed(index, reply) => host::proceed(self, &mut state, index, reply),
            Action::Copy => worker::begin(self, &mut state),
            Action::ProceedCopy(reply) => worker::proceed(self, &mut state, reply),
            Action::VerifyOld => worker::verify_old(&mut state),
            Action::VerifyNew => worker::verify_new(&mut state),
            Action::Crash(process) => control::crash(&mut state, process),
            Action::LoseLock(process) => control::lose_lock(&mut state, process),
            Action::Acknowledge(process) => control::acknowledge(&mut state, process),
            Action::Evict(process) => control::evict(&mut state, process),
            Action::Seal => state.control.fence = state.control.epoch,
            Action::Decide(next) => control::decide(&mut state, next),
            Action::Enter => control::enter(self, &mut state),
            Action::Arrive => write::arrive(self, &mut state),
            Action::GuardEnds(index) => state.cache.guards &= !(1 << index),
        }
        self.forget_the_dead(&mut state);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::<Self>::always(Broken::Lost.promise(), |model, state| {
                promises::keeps(model, state, Broken::Lost)
            }),
            Property::<Self>::always(Broken::Back.promise(), |model, state| {
                promises::keeps(model, state, Broken::Back)
            }),
            Property::<Self>::always(Broken::Stale.promise(), |model, state| {
                promises::keeps(model, state, Broken::Stale)
            }),
            Property::<Self>::always(Broken::Gone.promise(), |model, state| {
                promises::keeps(model, state, Broken::Gone)
            }),
        ];
        for phase in self.rules.path {
            properties.push(promises::reaches(*phase));
        }
        properties.push(Property::<Self>::sometimes("a straight run is completed", |model, state| {
            promises::is_everywhere(model, state, Phase::Complete) && !state.control.rolled_back
        }));
        if self.size.rollbacks > 0 {
            properties.push(Property::<Self>::sometimes("a run with rollbacks is completed", |model, state| {
                promises::is_everywhere(model, state, Phase::Complete) && state.control.rolled_back
            }));
        }
        properties
    }
}

/// The name of a process, for people.
pub fn process_name(process: u8) -> String {
    if process == WORKER { "worker".to_owned() } else { format!("host {}", (b'A' + process) as char) }
}
