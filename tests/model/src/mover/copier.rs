//! The steps of a copier: it takes the lease, raises the fence, and copies keys that have changes or that the scan has
//! not been to.

use switchover_protocol::Side;

use crate::mover::action::{Action, Lane, Reply};
use crate::mover::copies::{self, Answer, Generation, Next, Step};
use crate::mover::kept::{Capture, Clears, Holds, Looks, Move, Scan};
use crate::mover::state::{Copier, Copying, Put, State, Tokens};

/// What a copier may do.
pub(crate) fn actions(model: &Move, state: &State, index: u8, actions: &mut Vec<Action>) {
    let copier = &state.copiers[index as usize];
    if may_take(state, index) {
        actions.push(Action::Take(index));
    }
    let Some(generation) = copier.generation else { return };
    if state.left.crashes > 0 {
        actions.push(Action::Crash(index));
    }
    if state.at(copier.from.other()).fence < generation {
        actions.push(Action::Raise(index));
    }
    for lane in [Lane::Change, Lane::Scan] {
        match copier.copies[lane as usize] {
            None => begin_actions(model, state, index, lane, generation, actions),
            Some(copy) => proceed_actions(model, state, index, lane, copy, actions),
        }
    }
}

/// Whether a copier may take the lease: it has none, or one for the other direction. The copiers are alike, so the
/// second one takes it only where the first one believes to have it.
fn may_take(state: &State, index: u8) -> bool {
    let copier = &state.copiers[index as usize];
    let is_first = index == 0 || state.copiers[0].generation.is_some();
    let Some(source) = state.control.stage.source() else { return false };
    let is_free = copier.generation.is_none() && is_first;
    state.left.takes > 0 && (is_free || (copier.generation.is_some() && copier.from != source))
}

fn begin_actions(
    model: &Move,
    state: &State,
    index: u8,
    lane: Lane,
    generation: Generation,
    actions: &mut Vec<Action>,
) {
    let copier = &state.copiers[index as usize];
    let fence = state.at(copier.from.other()).fence;
    for key in 0..model.size.keys {
        let has_copy = copier.copies.iter().flatten().any(|copy| copy.key == key);
        let is_under_way = has_copy && model.kept.scan == Scan::OneCopyOfAKey;
        let fence = if model.kept.raises_first { fence } else { generation };
        let may_begin = copies::may_begin(fence, generation, is_under_way);
        let may_lock = model.kept.holds != Holds::Row || !state.is_row_locked(copier.from, key);
        if may_begin && may_lock && has_work(model, state, copier, lane, key) {
            actions.push(Action::Copy(index, lane, key));
        }
    }
}

fn has_work(model: &Move, state: &State, copier: &Copier, lane: Lane, key: u8) -> bool {
    let changes = &state.at(copier.from).changes;
    match lane {
        Lane::Change if model.kept.clears == Clears::UpTo => {
            let lowest = changes.iter().filter(|tokens| **tokens != 0).map(|tokens| tokens.trailing_zeros()).min();
            changes[key as usize] != 0 && lowest == Some(changes[key as usize].trailing_zeros())
        }
        Lane::Change => changes[key as usize] != 0,
        Lane::Scan => copier.from == Side::Old && state.control.scanned & (1 << key) == 0,
    }
}

fn proceed_actions(model: &Move, state: &State, index: u8, lane: Lane, copy: Copying, actions: &mut Vec<Action>) {
    let copier = &state.copiers[index as usize];
    if copy.step == Step::Put
        && model.kept.looks != Looks::Never
        && refusal(state, copier) == Some(copies::Refusal::NotRaised)
    {
        return;
    }
    actions.push(Action::Proceed(index, lane, Reply::Answered));
    let is_refused = model.kept.looks != Looks::Never && refusal(state, copier).is_some();
    if copy.step == Step::Put && state.left.silences > 0 && !is_refused {
        actions.push(Action::Proceed(index, lane, Reply::Unheard));
        if state.late.is_none() {
            actions.push(Action::Proceed(index, lane, Reply::Late));
        }
    }
}

fn refusal(state: &State, copier: &Copier) -> Option<copies::Refusal> {
    copies::refusal(state.at(copier.from.other()).fence, copier.generation?)
}

/// Whether a copier keeps an application from writing a row.
pub(crate) fn blocks(model: &Move, state: &State, side: Side, key: u8) -> bool {
    let holds = |copy: &Copying| match model.kept.holds {
        Holds::Nothing => false,
        Holds::Change => model.kept.capture == Capture::PerKey && copy.seen & state.at(side).changes[key as usize] != 0,
        Holds::Row => true,
    };
    let of_side = state.copiers.iter().filter(|copier| copier.from == side);
    let copies = of_side.flat_map(|copier| copier.copies.iter().flatten());
    copies.filter(|copy| copy.key == key).any(holds)
}

/// A copier takes the lease by compare-and-set.
pub(crate) fn take(model: &Move, state: &mut State, index: u8) {
    let Some(from) = state.control.stage.source() else { return };
    state.left.takes -= 1;
    if model.kept.lease {
        state.control.generation = state.control.generation.next();
    }
    state.control.is_closed = false;
    let generation = Some(state.control.generation);
    state.copiers[index as usize] = Copier { generation, from, copies: [None; 2] };
}

/// A copier raises the fence of the table that it puts into.
pub(crate) fn raise(state: &mut State, index: u8) {
    let copier = state.copiers[index as usize];
    if let Some(generation) = copier.generation {
        state.at_mut(copier.from.other()).fence = generation;
    }
}

/// A copier ends, or gives up its generation.
pub(crate) fn stand_down(state: &mut State, index: u8) {
    let copier = &mut state.copiers[index as usize];
    *copier = Copier { generation: None, from: Side::Old, copies: [None; 2] };
}

/// A copy begins with its first read.
pub(crate) fn begin(model: &Move, state: &mut State, index: u8, lane: Lane, key: u8) {
    let from = state.copiers[index as usize].from;
    let row = state.at(from).rows[key as usize];
    if lane == Lane::Scan && row == 0 {
        // A scan does not see a key that has no row.
        note_position(model, state, index, key);
        return;
    }
    let first = Copying { key, step: Step::Tokens, seen: 0, row: 0 };
    let copy = if model.kept.tokens_first {
        Copying { seen: tokens(model, state, from, lane, key), step: Step::Row, ..first }
    } else {
        Copying { row, ..first }
    };
    state.copiers[index as usize].copies[lane as usize] = Some(copy);
}

fn tokens(model: &Move, state: &State, from: Side, lane: Lane, key: u8) -> Tokens {
    let there = state.at(from).changes[key as usize];
    match (lane, model.kept.scan, model.kept.clears) {
        (Lane::Scan, Scan::InsertsOnly, _) | (Lane::Scan, _, Clears::UpTo) => 0,
        (Lane::Change, _, Clears::UpTo) => there & there.wrapping_neg(),
        (Lane::Change | Lane::Scan, _, _) => there,
    }
}

/// A copy goes a step on.
pub(crate) fn proceed(model: &Move, state: &mut State, index: u8, lane: Lane, reply: Reply) {
    let copier = state.copiers[index as usize];
    let Some(mut copy) = copier.copies[lane as usize] else { return };
    let answer = match copy.step {
        Step::Tokens => {
            copy.seen = tokens(model, state, copier.from, lane, copy.key);
            Answer::Done
        }
        Step::Row => {
            copy.row = state.at(copier.from).rows[copy.key as usize];
            Answer::Done
        }
        Step::Put => put(model, state, &copier, &copy, lane, reply),
        Step::Clear => {
            clear(model, state, copier.from, &copy);
            Answer::Done
        }
    };
    let next = match (copy.step, answer) {
        // The orders of steps that leave a rule out.
        (Step::Tokens, _) => Next::Go(Step::Put),
        (Step::Row, _) if !model.kept.clears_after_put => Next::Go(Step::Clear),
        (Step::Clear, _) if !model.kept.clears_after_put => Next::Go(Step::Put),
        (Step::Put, Answer::Done) if !model.kept.clears_after_put => Next::Copied,
        (Step::Put, Answer::Silent) if !model.kept.stands_down => Next::Again,
        (step, answer) => copies::next(step, answer),
    };
    let copies = &mut state.copiers[index as usize].copies;
    match next {
        Next::Go(step) => copies[lane as usize] = Some(Copying { step, ..copy }),
        Next::Again => copies[lane as usize] = None,
        Next::StandDown => stand_down(state, index),
        Next::Copied => {
            copies[lane as usize] = None;
            if lane == Lane::Scan {
                note_position(model, state, index, copy.key);
            }
        }
    }
}

/// The scan has been to a key. It is noted where the copier has the lease.
fn note_position(model: &Move, state: &mut State, index: u8, key: u8) {
    let has_lease = state.copiers[index as usize].generation == Some(state.control.generation);
    if has_lease || !model.kept.position_by_lease {
        state.control.scanned |= 1 << key;
    }
}

fn put(model: &Move, state: &mut State, copier: &Copier, copy: &Copying, lane: Lane, reply: Reply) -> Answer {
    let Some(generation) = copier.generation else { return Answer::Silent };
    let (to, key, row) = (copier.from.other(), copy.key, copy.row);
    if model.kept.looks != Looks::Never
        && let Some(refusal) = copies::refusal(state.at(to).fence, generation)
    {
        return Answer::Refused(refusal);
    }
    let inserts_only = lane == Lane::Scan && model.kept.scan == Scan::InsertsOnly;
    let put = Put { to, key, row, generation, inserts_only };
    if reply == Reply::Answered {
        land(state, &put);
        return Answer::Done;
    }
    state.left.silences -= 1;
    if reply == Reply::Late {
        state.late = Some(put);
    } else {
        land(state, &put);
    }
    Answer::Silent
}

fn land(state: &mut State, put: &Put) {
    let row = &mut state.at_mut(put.to).rows[put.key as usize];
    if !put.inserts_only || *row == 0 {
        *row = put.row;
    }
}

fn clear(model: &Move, state: &mut State, from: Side, copy: &Copying) {
    let is_put = true;
    let clears = |token: u32| copies::may_clear(copy.seen & (1 << token) != 0, is_put);
    let seen = (0..Tokens::BITS).filter(|token| clears(*token)).fold(0, |all, token| all | 1 << token);
    let changes = &mut state.at_mut(from).changes;
    match model.kept.clears {
        Clears::Seen => changes[copy.key as usize] &= !seen,
        Clears::Key => changes[copy.key as usize] = 0,
        Clears::UpTo if copy.seen == 0 => {}
        // The lowest token, and every one below it.
        Clears::UpTo => {
            for tokens in changes {
                *tokens &= !(copy.seen | copy.seen.wrapping_sub(1));
            }
        }
    }
}

/// A late put reaches the server.
pub(crate) fn arrive(state: &mut State) {
    if let Some(put) = state.late.take() {
        land(state, &put);
    }
}

/// A put that no table would take any more is no part of the state.
pub(crate) fn forget_the_dead(model: &Move, state: &mut State) {
    if let Some(put) = state.late
        && model.kept.looks == Looks::InThePut
        && copies::refusal(state.at(put.to).fence, put.generation).is_some()
    {
        state.late = None;
    }
}
