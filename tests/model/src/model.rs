//! The model itself: which actions a state allows, and how each changes it.

use stateright::{Model, Property};
use switchover_protocol::Phase;

use crate::migration::{Action, Migration};
use crate::searched::{Promise as _, Searched, Steps};
use crate::state::{Broken, Cache, Control, Database, HOSTS_MAX, Left, Process, State, Told, WAITING};
use crate::view::Reach;
use crate::{control, host, late, promises, reach, symmetry, trace, worker};

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
        if state.late.is_some_and(|late| !late::is_blocked(state, &late)) {
            actions.push(Action::Arrive);
        }
        late::end_actions(self, state, actions);
        if self.size.cuts > 0 {
            for index in 0..self.size.hosts {
                reach::actions(self, state, index, actions);
            }
        }
        if state.left.flushes > 0 {
            actions.push(Action::Flush);
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
            Action::Arrive => late::arrive(self, &mut state),
            Action::EndLate => late::end(&mut state),
            Action::LoseLateLock => control::lose_lock(&mut state, WAITING),
            Action::GuardEnds(index) => state.cache.guards &= !(1 << index),
            Action::Cut(index) => reach::cut(self, &mut state, index, true),
            Action::Heal(index) => reach::cut(self, &mut state, index, false),
            Action::Flush => reach::flush(&mut state),
            Action::Pay(index) => reach::pay(&mut state, 1 << index),
            Action::Relay(index) => reach::relay(self, &mut state, index),
            Action::Ask(index) => reach::ask(&mut state, index),
            Action::Confirm(index) => reach::confirm(&mut state, index),
            Action::RunOut(index) => reach::run_out(self, &mut state, index),
            Action::Lapse(index) => reach::lapse(&mut state, index),
            Action::Lift(index) => reach::lift(self, &mut state, index),
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
        if self.size.cuts >= self.size.hosts {
            properties.push(promises::acknowledges_in_the_dark());
        }
        properties
    }
}

impl Searched for Migration {
    type Promise = Broken;

    fn representative(state: &State) -> State {
        symmetry::representative(state)
    }

    fn text(&self, steps: &Steps<Self>, promise: Broken) -> String {
        trace::render(self, steps, promise)
    }
}

impl Migration {
    fn first(&self, told: Told, row: u8) -> State {
        let size = &self.size;
        let phase = self.rules.path[0];
        State {
            databases: [Database { row, ..Database::default() }, Database::default()],
            cache: Cache::default(),
            reach: Reach::first(self),
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
                cuts: size.cuts,
                flushes: size.flushes,
            },
            told,
            broken: None,
        }
    }

    /// A late statement that no database would take any more is no part of the state.
    fn forget_the_dead(&self, state: &mut State) {
        let Some(late) = state.late else { return };
        let is_taken = if late.is_numbered {
            self.takes_numbered(state, late.epoch, late.is_next)
        } else {
            self.takes(state, late.epoch)
        };
        if !is_taken {
            late::end(state);
        }
    }
}
