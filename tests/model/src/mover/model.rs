//! The model of a move: which actions a state allows, and how each changes it.

use stateright::{Model, Property};
use switchover_protocol::Side;

use crate::mover::action::Action;
use crate::mover::copies::{Generation, Step};
use crate::mover::kept::{Move, Size};
use crate::mover::rules::{Form, Stage};
use crate::mover::state::{
    Broken, CLIENTS, COPIERS, Client, Control, Copier, Door, Fleet, KEYS_MAX, Left, State, Table, Version,
};
use crate::mover::{client, copier, cut, fleet, promises, symmetry, trace};
use crate::searched::{Promise as _, Searched, Steps};

impl Model for Move {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut states = vec![first(&self.size, 1), first(&self.size, 0)];
        if self.size.snapshots > 0 && matches!(self.form, Form::Bridge | Form::Seal) {
            // An application that was restarted too early.
            let mut early = first(&self.size, 1);
            early.clients[1].at = Side::New;
            states.push(early);
        }
        states
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        for index in 0..CLIENTS as u8 {
            client::actions(self, state, index, actions);
        }
        for index in 0..COPIERS as u8 {
            copier::actions(self, state, index, actions);
        }
        if state.late.is_some() {
            actions.push(Action::Arrive);
        }
        cut::actions(self, state, actions);
        fleet::actions(self, state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Send(index, key, kind) => client::send(&mut state, index, key, kind),
            Action::Execute(index) => client::execute(self, &mut state, index),
            Action::Commit(index) => client::commit(self, &mut state, index),
            Action::RollBack(index) => client::roll_back(&mut state, index),
            Action::Look(index, key) => client::look(&mut state, index, key),
            Action::Find(index) => client::find(self, &mut state, index),
            Action::Restart(index, side) => state.clients[index as usize].at = side,
            Action::Upgrade(index) => state.clients[index as usize].is_host = true,
            Action::Take(index) => copier::take(self, &mut state, index),
            Action::Raise(index) => copier::raise(&mut state, index),
            Action::Copy(index, lane, key) => copier::begin(self, &mut state, index, lane, key),
            Action::Proceed(index, lane, reply) => copier::proceed(self, &mut state, index, lane, reply),
            Action::Crash(index) => {
                state.left.crashes -= 1;
                copier::stand_down(&mut state, index);
            }
            Action::Arrive => copier::arrive(&mut state),
            Action::Install => state.at_mut(Side::Old).is_captured = true,
            Action::Empty => state.at_mut(Side::New).rows.fill(0),
            Action::Close => cut::close(&mut state),
            Action::Lock => cut::lock(self, &mut state),
            Action::StepBack => cut::step_back(self, &mut state),
            Action::Enter(stage) => cut::enter(self, &mut state, stage),
            Action::Open => state.doors[Side::New as usize] = Door::Leads(Side::New),
            Action::Unseal => state.doors[Side::Old as usize] = Door::Leads(Side::Old),
            Action::CaptureNew => state.at_mut(Side::New).is_captured = true,
            Action::Again => cut::again(&mut state),
            Action::Mirror => state.control.fleet = Fleet::Mirror(0),
            Action::Compare(key) => fleet::compare(&mut state, key),
            Action::CutOver => fleet::cut_over(&mut state),
        }
        copier::forget_the_dead(self, &mut state);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::<Self>::always(Broken::Lost.promise(), |model, state| keeps(model, state, Broken::Lost)),
            Property::<Self>::always(Broken::Back.promise(), |model, state| keeps(model, state, Broken::Back)),
            Property::<Self>::always(Broken::Stale.promise(), |model, state| keeps(model, state, Broken::Stale)),
            Property::<Self>::always(Broken::Disturbed.promise(), |model, state| {
                keeps(model, state, Broken::Disturbed)
            }),
        ];
        properties.extend(hopes(self));
        properties
    }
}

/// What must happen in some run: a model in which nothing happens proves nothing.
fn hopes(model: &Move) -> Vec<Property<Move>> {
    let mut hopes = vec![Property::<Move>::sometimes("a row that was written after the cut is read", |_, state| {
        let [old, new] = &state.tables;
        let leads = state.doors.contains(&Door::Leads(Side::New));
        leads && (0..KEYS_MAX).any(|key| new.rows[key] > old.rows[key] && new.rows[key] == state.last[key])
    })];
    if model.size.reverse && model.form != Form::Fleet {
        hopes.push(Property::<Move>::sometimes("the old table counts again", |_, state| is_back(state)));
        hopes.push(Property::<Move>::sometimes("a row that was written after the cut is carried back", |_, state| {
            let copiers = state.copiers.iter().filter(|copier| copier.from == Side::New);
            let mut copies = copiers.flat_map(|copier| copier.copies.iter().flatten());
            copies.any(|copy| copy.step == Step::Clear && copy.row != 0)
        }));
    }
    if model.size.backs > 0 {
        hopes.push(Property::<Move>::sometimes("a cut steps back, and another one does not", |_, state| {
            state.left.backs == 0 && state.control.stage == Stage::Cut
        }));
    }
    if model.size.again > 0 {
        hopes.push(Property::<Move>::sometimes("a second move is cut", |_, state| {
            state.left.again == 0 && state.control.stage == Stage::Cut
        }));
    }
    hopes
}

fn is_back(state: &State) -> bool {
    state.control.stage == Stage::Aborted && state.at(Side::Old).fence > Generation::FIRST
}

/// Whether a promise is kept in a state.
fn keeps(model: &Move, state: &State, promise: Broken) -> bool {
    let is_broken = match promise {
        Broken::Disturbed => {
            let is_before = state.control.stage < Stage::Cut && !state.control.is_cutting;
            is_before && client::waits_for_a_copier(model, state)
        }
        Broken::Lost | Broken::Back | Broken::Stale => {
            promises::reads(model, state).any(|read| promises::breaks(state, read) == Some(promise))
        }
    };
    state.broken != Some(promise) && !is_broken
}

/// The state in which a move begins, with this row of the first key.
fn first(size: &Size, row: Version) -> State {
    let table = Table { rows: [0; KEYS_MAX], changes: [0; KEYS_MAX], is_captured: false, fence: Generation::FIRST };
    let mut old = table;
    old.rows[0] = row;
    State {
        last: old.rows,
        tables: [old, table],
        doors: [Door::Leads(Side::Old), Door::Refuses],
        control: Control {
            stage: Stage::Prepared,
            generation: Generation::FIRST,
            is_closed: true,
            is_cutting: false,
            scanned: 0,
            is_captured_since_cut: false,
            fleet: Fleet::Off,
        },
        clients: [Client { at: Side::Old, is_host: false, task: None }; CLIENTS],
        copiers: [Copier { generation: None, from: Side::Old, copies: [None; 2] }; COPIERS],
        late: None,
        next: 2,
        left: Left {
            writes: size.writes,
            rekeys: size.rekeys,
            takes: size.takes,
            crashes: size.crashes,
            silences: size.silences,
            snapshots: size.snapshots,
            backs: size.backs,
            again: size.again,
        },
        broken: None,
    }
}

impl Searched for Move {
    type Promise = Broken;

    fn representative(state: &State) -> State {
        symmetry::representative(state)
    }

    fn text(&self, steps: &Steps<Self>, promise: Broken) -> String {
        trace::render(self, steps, promise)
    }
}
