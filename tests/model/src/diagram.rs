//! Renders a run of the model as a small sequence diagram in Mermaid's notation. It leaves out the steps that only
//! concern the epoch.

use std::fmt::Write as _;

use switchover_protocol::Side;

use crate::migration::{Action, Migration, process_name};
use crate::searched::Steps;
use crate::state::{Broken, CopyStep, State, Step, WORKER};
use crate::trace;

/// The diagram of a run that breaks a promise.
pub fn render(model: &Migration, steps: &Steps<Migration>, promise: Broken) -> String {
    let mut text = "sequenceDiagram\n".to_owned();
    for process in participants(model) {
        let _ = writeln!(text, "    participant {} as {}", id(process), process_name(process));
    }
    let _ = writeln!(text, "    participant O as old");
    let _ = writeln!(text, "    participant N as new");
    let shown: Vec<_> = steps.windows(2).enumerate().filter(|(at, _)| is_shown(steps, *at)).collect();
    let (first, _) = &steps[0];
    let _ = writeln!(text, "    Note over O,N: old has {}, new has {}", row(first, Side::Old), row(first, Side::New));
    for (_, pair) in shown {
        let [(before, Some(action)), (after, _)] = pair else { continue };
        let what = trace::what(model, before, *action, after).replace(';', ",");
        let _ = writeln!(text, "    {}", line(model, before, *action, &what));
    }
    if let Some((last, _)) = steps.last() {
        let verdict = trace::verdict(model, last, promise).replace("read: ", "");
        let _ = writeln!(text, "    Note over {},N: {verdict}", id(0));
    }
    text
}

fn participants(model: &Migration) -> impl Iterator<Item = u8> {
    (0..model.size.hosts).chain(model.rules.worker.then_some(WORKER))
}

fn id(process: u8) -> char {
    if process == WORKER { 'W' } else { (b'A' + process) as char }
}

fn row(state: &State, side: Side) -> String {
    match state.at(side).row {
        0 => "no row".to_owned(),
        version => format!("v{version}"),
    }
}

/// Whether a step is shown. Acknowledging and raising the fence are not. A decision is not if the next shown step
/// enters the phase. The beginning of a call is not if the next shown step is the call's first one.
fn is_shown(steps: &Steps<Migration>, at: usize) -> bool {
    let action = |at: usize| steps.get(at).and_then(|(_, action)| *action);
    let next = (at + 1..steps.len()).filter_map(action).find(|action| !is_quiet(*action));
    match action(at) {
        Some(Action::Begin(index, _)) => !matches!(next, Some(Action::Proceed(other, _)) if other == index),
        Some(Action::Decide(_)) => !matches!(next, Some(Action::Enter)),
        Some(action) => !is_quiet(action),
        None => false,
    }
}

fn is_quiet(action: Action) -> bool {
    matches!(action, Action::Acknowledge(_) | Action::Seal)
}

fn line(model: &Migration, before: &State, action: Action, what: &str) -> String {
    let host = |index: u8| before.hosts[index as usize].task.map(|call| (call, model.plan(call.phase, call.operation)));
    let sent = match action {
        Action::Proceed(index, _) => host(index).and_then(|(call, plan)| {
            let side = match call.step {
                Step::Begun if call.version != 0 || !plan.mirrors.is_empty() || plan.reads.is_empty() => plan.lock,
                Step::Begun => plan.reads[0],
                Step::ReadFirst => plan.reads[1],
                Step::Locked => call.other,
                Step::Carried => plan.lock,
                Step::Homed => plan.home.other(),
                Step::Found | Step::Written | Step::Asking | Step::Hit | Step::Waiting => return None,
            };
            Some((index, side))
        }),
        Action::Copy => Some((WORKER, Side::Old)),
        Action::ProceedCopy(_) => before.worker.task.map(|copying| {
            let is_at_new =
                (copying.from == Side::Old && copying.step == CopyStep::Read) || copying.step == CopyStep::Committed;
            (WORKER, if is_at_new { Side::New } else { Side::Old })
        }),
        _ => None,
    };
    match (sent, action) {
        (Some((process, side)), _) => format!("{}->>{}: {what}", id(process), to(side)),
        (None, Action::Arrive) => format!("Note over {}: {what}", before.late.map_or('N', |late| to(late.side))),
        (None, Action::Seal | Action::Decide(_) | Action::Enter) => format!("Note over {},N: control {what}", id(0)),
        (None, Action::Flush) => format!("Note over {},N: the cache {what}", id(0)),
        (None, Action::EndLate | Action::LoseLateLock) => format!("Note over {},N: {what}", id(0)),
        (None, Action::VerifyOld) => "Note over O: the verifier reads the key here".to_owned(),
        (None, Action::VerifyNew) => format!("Note over N: the verifier {what}"),
        (
            None,
            Action::Begin(index, _)
            | Action::Proceed(index, _)
            | Action::Crash(index)
            | Action::LoseLock(index)
            | Action::Acknowledge(index)
            | Action::Evict(index)
            | Action::GuardEnds(index)
            | Action::Cut(index)
            | Action::Heal(index)
            | Action::Pay(index)
            | Action::Relay(index)
            | Action::Ask(index)
            | Action::Confirm(index)
            | Action::RunOut(index)
            | Action::Lapse(index)
            | Action::Lift(index),
        ) => format!("Note over {}: {what}", id(index)),
        (None, Action::Copy | Action::ProceedCopy(_)) => format!("Note over W: {what}"),
    }
}

fn to(side: Side) -> char {
    match side {
        Side::Old => 'O',
        Side::New => 'N',
    }
}
