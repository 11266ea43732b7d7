//! The steps of the control: trigger, edges, the cut in each of its forms, and the way back.

use switchover_protocol::Side;

use crate::mover::action::Action;
use crate::mover::kept::{Move, Sealed, WayBack};
use crate::mover::rules::{self, Facts, Form, Guard, Stage};
use crate::mover::state::{Client, Door, State, Task};

/// What the control may do.
pub(crate) fn actions(model: &Move, state: &State, actions: &mut Vec<Action>) {
    preparing(model, state, actions);
    cutting(model, state, actions);
    let stage = state.control.stage;
    for edge in rules::edges(model.form).iter().filter(|edge| edge.from == stage && wants(model, state, edge)) {
        let facts = facts(model, state);
        if edge.guards.iter().all(|guard| guard.holds(&facts) || !model.kept.keeps(edge, *guard)) {
            actions.push(Action::Enter(edge.to));
        }
    }
}

fn preparing(model: &Move, state: &State, actions: &mut Vec<Action>) {
    let (control, old, new) = (&state.control, state.at(Side::Old), state.at(Side::New));
    let may_install = matches!(control.stage, Stage::Capturing | Stage::Copying);
    if may_install && !old.is_captured && (!state.is_written(Side::Old) || !model.kept.trigger_waits) {
        actions.push(Action::Install);
    }
    match control.stage {
        Stage::Prepared => {
            if !is_fenced(state) {
                actions.push(Action::Close);
            }
            if new.rows.iter().any(|row| *row != 0) {
                actions.push(Action::Empty);
            }
        }
        Stage::Aborted if state.left.again > 0 => actions.push(Action::Again),
        Stage::Cut if model.kept.way_back == WayBack::AfterTheCut && !new.is_captured => {
            actions.push(Action::CaptureNew);
        }
        Stage::Capturing
        | Stage::Copying
        | Stage::Verified
        | Stage::Cut
        | Stage::Reversible
        | Stage::Done
        | Stage::Aborted => {}
    }
}

fn cutting(model: &Move, state: &State, actions: &mut Vec<Action>) {
    let control = &state.control;
    let may_cut = control.stage == Stage::Verified || (control.stage == Stage::Reversible && model.size.reverse);
    let is_waited_for = match model.form {
        Form::Rename | Form::Bridge | Form::Seal => !state.is_written(control.stage.home()),
        Form::Fleet => !is_written_by_others(state),
    };
    if may_cut && !control.is_cutting && (is_waited_for || !model.kept.cut_waits) {
        actions.push(Action::Lock);
    }
    if may_cut && control.is_cutting && state.left.backs > 0 {
        actions.push(Action::StepBack);
    }
    let leaves_out = |guard| model.kept.without.contains(&(control.stage, guard));
    let is_locked = control.is_cutting || leaves_out(Guard::Excluded);
    let is_drained = is_drained(state) || model.form == Form::Fleet || leaves_out(Guard::Drained);
    if may_cut && is_locked && is_drained && !is_fenced(state) && !leaves_out(Guard::Fenced) {
        actions.push(Action::Close);
    }
    let is_open = state.doors[Side::New as usize] != Door::Refuses;
    let has_cut = matches!(control.stage, Stage::Cut | Stage::Reversible) && !control.is_cutting;
    let is_early = control.stage == Stage::Verified && !model.kept.opened_by_cut;
    if matches!(model.form, Form::Bridge | Form::Seal) && !is_open && (has_cut || is_early) {
        actions.push(Action::Open);
    }
    let is_sealed = model.form == Form::Seal && state.doors[Side::Old as usize] != Door::Leads(Side::Old);
    if !model.kept.seal_is_final && is_sealed && control.stage == Stage::Cut {
        actions.push(Action::Unseal);
    }
}

/// Whether a run of this size takes an edge. Edges that end a run, or lead where nothing new happens, are left out.
fn wants(model: &Move, state: &State, edge: &rules::Edge) -> bool {
    match (edge.from, edge.to) {
        (Stage::Capturing | Stage::Copying | Stage::Verified, Stage::Aborted) => {
            state.left.again > 0 && !state.control.is_cutting && !state.is_written(Side::Old)
        }
        (Stage::Prepared, Stage::Aborted) | (Stage::Verified, Stage::Copying) | (_, Stage::Done) => false,
        (_, Stage::Reversible) => model.size.reverse,
        _ => true,
    }
}

/// What is seen in this state. The comparison is green in every state, so that no promise rests on it.
fn facts(model: &Move, state: &State) -> Facts {
    let control = &state.control;
    let everything = (1 << model.size.keys) - 1;
    let trigger = state.at(Side::Old).is_captured;
    Facts {
        new_empty: state.at(Side::New).rows.iter().all(|row| *row == 0),
        fenced: is_fenced(state),
        captured_at_old: trigger || (control.stage == Stage::Capturing && !model.kept.trigger_first),
        scanned: control.scanned == everything,
        compared: true,
        excluded: control.is_cutting,
        drained: is_drained(state),
        unseen: !state.clients.iter().any(|client| sees_before_the_last_put(model, state, client)),
        captured_at_new: match model.kept.way_back {
            WayBack::InTheCut => control.is_captured_since_cut,
            WayBack::AfterTheCut => state.at(Side::New).is_captured,
            WayBack::Never => true,
        },
    }
}

fn is_drained(state: &State) -> bool {
    state.at(state.control.stage.home()).changes.iter().all(|tokens| *tokens == 0)
}

fn is_fenced(state: &State) -> bool {
    let target = state.control.stage.home().other();
    state.control.is_closed && state.at(target).fence == state.control.generation
}

/// Whether an application has a snapshot, at the server of the table that will count, from before the fence was closed.
fn sees_before_the_last_put(model: &Move, state: &State, client: &Client) -> bool {
    let server = if model.form == Form::Rename { Side::Old } else { state.control.stage.home().other() };
    client.at == server && matches!(client.task, Some(Task::Snapshot { is_old: true, .. }))
}

fn is_written_by_others(state: &State) -> bool {
    let is_open = |client: &Client| matches!(client.task, Some(Task::Open { .. }));
    state.clients.iter().any(|client| !client.is_host && is_open(client))
}

/// The control takes a generation, and raises the fence to it. No copier's put is taken any more.
pub(crate) fn close(state: &mut State) {
    let target = state.control.stage.home().other();
    let generation = state.control.generation.next();
    state.control.generation = generation;
    state.control.is_closed = true;
    state.at_mut(target).fence = generation;
    for client in &mut state.clients {
        if let Some(Task::Snapshot { is_old, .. }) = &mut client.task {
            *is_old = true;
        }
    }
}

/// The table that counts is locked, or sealed.
pub(crate) fn lock(model: &Move, state: &mut State) {
    state.control.is_cutting = true;
    let home = state.control.stage.home();
    match (model.form, home) {
        (Form::Rename, _) | (Form::Bridge, Side::Old) => state.doors[0] = Door::Waits,
        (Form::Bridge, Side::New) => state.doors = [Door::Waits, Door::Refuses],
        (Form::Seal, Side::New) => state.doors[1] = Door::Refuses,
        (Form::Seal, Side::Old) => {
            state.doors[0] = match model.kept.sealed {
                Sealed::Refuses => Door::Refuses,
                Sealed::Reads => Door::Reads,
                Sealed::Everything => Door::Leads(Side::Old),
            }
        }
        (Form::Fleet, _) => {}
    }
}

/// The cut is given up, or its connection is lost. Everything is as before, but the fence.
pub(crate) fn step_back(model: &Move, state: &mut State) {
    state.left.backs -= 1;
    state.control.is_cutting = false;
    let home = state.control.stage.home();
    match (model.form, home) {
        (Form::Rename, _) | (Form::Bridge | Form::Seal, Side::Old) => state.doors[0] = Door::Leads(home),
        (Form::Bridge, Side::New) => state.doors = [Door::Leads(home); 2],
        (Form::Seal, Side::New) => state.doors[1] = Door::Leads(home),
        (Form::Fleet, _) => {}
    }
}

/// The move enters a stage.
pub(crate) fn enter(model: &Move, state: &mut State, to: Stage) {
    let from = state.control.stage;
    state.control.stage = to;
    match (from, to) {
        (Stage::Verified, Stage::Cut) => cut(model, state),
        (Stage::Reversible, Stage::Aborted) => cut_back(model, state),
        (_, Stage::Aborted) => {
            // Whoever aborts takes the lease, so that no copier notes any more how far its scan is.
            state.control.generation = state.control.generation.next();
            drop_trigger(state, Side::Old);
        }
        _ => {}
    }
}

/// The new table counts. In the form `fleet` the old one does still, and the seal against others stays.
fn cut(model: &Move, state: &mut State) {
    drop_trigger(state, Side::Old);
    let captures = model.size.reverse && model.kept.way_back == WayBack::InTheCut && model.form != Form::Fleet;
    state.at_mut(Side::New).is_captured = captures;
    state.control.is_captured_since_cut = captures;
    match model.form {
        Form::Rename | Form::Bridge => state.doors[0] = Door::Leads(Side::New),
        Form::Seal => state.doors[1] = Door::Leads(Side::New),
        Form::Fleet => return,
    }
    state.control.is_cutting = false;
}

/// The old table counts again.
fn cut_back(model: &Move, state: &mut State) {
    drop_trigger(state, Side::New);
    state.control.is_captured_since_cut = false;
    state.control.is_cutting = false;
    match model.form {
        Form::Rename | Form::Bridge | Form::Seal => state.doors[0] = Door::Leads(Side::Old),
        Form::Fleet => {}
    }
}

fn drop_trigger(state: &mut State, side: Side) {
    let table = state.at_mut(side);
    table.is_captured = false;
    table.changes.fill(0);
}

/// Another move begins, with the rows and the fence that the last one has left.
pub(crate) fn again(state: &mut State) {
    state.left.again -= 1;
    state.control.stage = Stage::Prepared;
    state.control.scanned = 0;
    state.control.is_closed = false;
}
