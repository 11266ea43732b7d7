//! The words of a trace for a cache that not every host reaches.

use crate::migration::{Action, Migration, Reply};
use crate::state::{Call, State, Step};

/// What a host has done too early.
pub(crate) fn begun(before: &State, after: &State) -> String {
    let generation = after.reach.generation;
    if generation == before.reach.generation {
        return String::new();
    }
    format!(", and raises the generation of the cache to {generation}")
}

/// The generation of the entry.
pub(crate) fn generation(state: &State) -> String {
    let generation = state.reach.entry_generation;
    if generation == 0 { String::new() } else { format!(" (generation {generation})") }
}

/// What the control document says about the cache.
pub(crate) fn document(state: &State) -> String {
    let is_suspended = if state.reach.suspended == 0 { "" } else { ", suspended" };
    format!("generation {}{is_suspended}", state.reach.generation)
}

fn said(generation: u8, is_open: bool) -> String {
    let is_suspended = if is_open { "" } else { ", suspended" };
    format!("generation {generation} of the cache{is_suspended}")
}

/// What one of these actions does.
pub(crate) fn what(before: &State, action: Action) -> String {
    match action {
        Action::Cut(_) => "does not reach the cache any more".to_owned(),
        Action::Heal(_) => "reaches the cache again".to_owned(),
        Action::Flush => "forgets everything".to_owned(),
        Action::Pay(_) => "removes from the cache what it owed".to_owned(),
        Action::Relay(_) => "removes from the cache what it was asked for".to_owned(),
        Action::Ask(_) => "asks the control document".to_owned(),
        Action::Confirm(index) => match before.reach.views[index as usize].asked {
            Some((generation, is_open)) => format!("gets its answer, and confirms {}", said(generation, is_open)),
            None => String::new(),
        },
        Action::RunOut(index) => {
            let view = before.reach.views[index as usize];
            format!("its confirmation of {} has run out", said(view.generation, view.is_open))
        }
        Action::Lapse(_) => "the lease of its suspension has run out".to_owned(),
        Action::Lift(_) => "its suspension of the cache ends".to_owned(),
        _ => String::new(),
    }
}

/// A load at the cache.
pub(crate) fn load(call: &Call, next: Option<Call>) -> String {
    match (call.step, next) {
        (Step::Asking, Some(next)) if next.step == Step::Hit => {
            format!("asks the cache: a hit, v{}", next.version)
        }
        (Step::Asking, _) => "asks the cache: a miss".to_owned(),
        (_, Some(_)) => "may not serve the hit, and asks the database".to_owned(),
        (_, None) => format!("answers with v{}", call.version),
    }
}

/// A write at the cache.
pub(crate) fn end(
    model: &Migration,
    before: &State,
    call: &Call,
    reply: Reply,
    next: Option<Call>,
    index: u8,
) -> String {
    let rules = &model.rules.outage;
    if reply != Reply::Answered {
        return "waits no longer, and returns an error".to_owned();
    }
    if before.reach.cut & (1 << index) == 0 {
        return "updates the cache, and acknowledges".to_owned();
    }
    match (call.step, next) {
        (Step::Written, None) => "cannot update the cache, and acknowledges".to_owned(),
        (Step::Written, Some(_)) if rules.suspends() => {
            format!("cannot update the cache, and suspends it: generation {}", before.reach.generation + 1)
        }
        (Step::Written, Some(_)) if rules.confirms() && (rules.after_write || call.generation == 0) => {
            format!("cannot update the cache, and raises its generation to {}", before.reach.generation + 1)
        }
        (Step::Written, Some(_)) => "cannot update the cache, and waits".to_owned(),
        _ => "acknowledges".to_owned(),
    }
}
