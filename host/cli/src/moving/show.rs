//! Where a move stands, for people and for programs.

use anyhow::Result;
use serde_json::{Value, json};
use switchover::backends::moves::{Form, Logged, Side, State};
use switchover_server::report::utc;

use crate::output::{Colour, paint, print};

pub(super) fn as_json(state: &State) -> Value {
    json!({
        "ok": state.last_different.unwrap_or(0) == 0 && state.different == 0,
        "form": state.form.name(),
        "counts": word(state.side),
        "may_exchange": state.refusal(state.side).is_none(),
        "why_not": state.refusal(state.side),
        "living": state.living,
        "began": utc(state.began),
        "scan_ended": state.scan_ended,
        "scanned": state.scanned,
        "about": state.about,
        "copied": state.copied,
        "carried": state.carried,
        "waiting": state.waiting,
        "compared": state.compared,
        "different": state.different,
        "rounds": state.rounds,
        "last_different": state.last_different,
        "cut": state.cut.map(utc),
        "cut_waited_ms": state.cut_waited_ms,
    })
}

pub(super) fn log(lines: &[Logged]) -> Value {
    lines.iter().map(|line| json!({"at": utc(line.at), "what": line.what})).collect()
}

/// One block, the reason first.
pub(super) fn block(place: &str, state: &State) -> Result<()> {
    let counts = match state.side {
        Side::Neither => {
            paint(Colour::Red, "the old table is sealed, and the new one is not open: `cut` again opens it")
        }
        side => format!("the {} table counts", word(side)),
    };
    print(format_args!("{place}: {counts}"))?;
    match state.refusal(state.side) {
        None => print(format_args!("  exchange   {}", paint(Colour::Green, "may be made")))?,
        Some(why) => print(format_args!("  exchange   {}", paint(Colour::Red, why)))?,
    }
    if let Some(cut) = state.cut {
        let waited = state.cut_waited_ms.map(|ms| format!(", applications waited {ms} ms at most")).unwrap_or_default();
        let back = match (state.form, state.side) {
            (Form::Rename, _) => "`back` goes back until `finish`",
            (_, Side::New) => "there is no way back",
            (..) => "`back` breaks the seal, if nothing was opened",
        };
        print(format_args!("  cut        {}{waited}; {back}", utc(cut)))?;
    }
    let scan = if state.scan_ended { "the last key is reached" } else { "under way" };
    print(format_args!(
        "  scan       {scan}: {} of about {} rows, {} copied",
        state.scanned, state.about, state.copied
    ))?;
    print(format_args!("  changes    {} carried, {} wait", state.carried, state.waiting))?;
    let last = match state.last_different {
        None => "none was whole yet".to_owned(),
        Some(0) => format!("{} whole, no difference in the last one", state.rounds),
        Some(different) => paint(Colour::Red, format_args!("{different} rows differed in the last whole one")),
    };
    print(format_args!("  compare    {last}; now {} keys, {} different", state.compared, state.different))?;
    print(format_args!("  rows       where {}", state.living))?;
    Ok(())
}

/// The table that applications use.
pub(super) fn word(side: Side) -> &'static str {
    match side {
        Side::Old => "old",
        Side::Neither => "neither",
        Side::New => "new",
    }
}
