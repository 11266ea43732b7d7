//! Renders a run of a move as a small sequence diagram in Mermaid's notation. It leaves out the steps that only concern
//! the stage.

use std::fmt::Write as _;

use switchover_protocol::Side;

use crate::mover::action::Action;
use crate::mover::copies::Step;
use crate::mover::kept::Move;
use crate::mover::rules::Stage;
use crate::mover::state::{Broken, CLIENTS, COPIERS, Door, State, Task};
use crate::mover::trace;
use crate::searched::Steps;

/// The diagram of a run that breaks a promise.
pub fn render(model: &Move, steps: &Steps<Move>, promise: Broken) -> String {
    let mut text = "sequenceDiagram\n".to_owned();
    let actions: Vec<_> = steps.iter().filter_map(|(_, action)| *action).collect();
    let takes_part =
        |id: &str| actions.iter().any(|action| is_shown(*action) && process(*action).as_deref() == Some(id));
    for index in (0..CLIENTS as u8).filter(|index| takes_part(&client(*index))) {
        let _ = writeln!(text, "    participant {} as {}", client(index), trace::client(index));
    }
    for index in (0..COPIERS as u8).filter(|index| takes_part(&copier(*index))) {
        let _ = writeln!(text, "    participant {} as {}", copier(index), trace::copier(index));
    }
    let _ = writeln!(text, "    participant O as old\n    participant N as new");
    let (first, _) = &steps[0];
    let [old, new] = [Side::Old, Side::New].map(|side| trace::table(model, first.at(side)));
    let _ = writeln!(text, "    Note over O,N: old has {old}, new has {new}");
    for pair in steps.windows(2) {
        let [(before, Some(action)), (after, _)] = pair else { continue };
        if is_shown(*action) {
            let what = trace::what(model, before, *action, after).replace(';', ",");
            let _ = writeln!(text, "    {}", line(before, *action, after, &what));
        }
    }
    if let Some((last, _)) = steps.last() {
        let verdict = trace::verdict(model, last, promise).replace("read: ", "");
        let _ = writeln!(text, "    Note over O,N: {verdict}");
    }
    text
}

fn client(index: u8) -> String {
    ((b'A' + index) as char).to_string()
}

fn copier(index: u8) -> String {
    format!("C{}", index + 1)
}

fn process(action: Action) -> Option<String> {
    match action {
        Action::Send(index, ..)
        | Action::Execute(index)
        | Action::Commit(index)
        | Action::RollBack(index)
        | Action::Look(index, _)
        | Action::Find(index)
        | Action::Restart(index, _)
        | Action::Upgrade(index) => Some(client(index)),
        Action::Take(index)
        | Action::Raise(index)
        | Action::Copy(index, ..)
        | Action::Proceed(index, ..)
        | Action::Crash(index) => Some(copier(index)),
        _ => None,
    }
}

fn is_shown(action: Action) -> bool {
    !matches!(
        action,
        Action::Send(..)
            | Action::Enter(Stage::Capturing | Stage::Copying | Stage::Verified | Stage::Reversible | Stage::Prepared)
    )
}

fn line(before: &State, action: Action, after: &State, what: &str) -> String {
    let arrow = |from: String, to: Side| format!("{from}->>{}: {what}", table(to));
    match action {
        Action::Execute(index) => match after.clients[index as usize].task {
            Some(Task::Open { side, .. }) => arrow(client(index), side),
            _ => format!("Note over {}: {what}", client(index)),
        },
        Action::Commit(index) | Action::RollBack(index) => match before.clients[index as usize].task {
            Some(Task::Open { side, .. }) => arrow(client(index), side),
            _ => format!("Note over {}: {what}", client(index)),
        },
        Action::Find(index) => match before.doors[before.clients[index as usize].at as usize] {
            Door::Leads(side) => arrow(client(index), side),
            _ => format!("Note over {}: {what}", client(index)),
        },
        Action::Raise(index) => arrow(copier(index), before.copiers[index as usize].from.other()),
        Action::Copy(index, ..) => arrow(copier(index), before.copiers[index as usize].from),
        Action::Proceed(index, lane, _) => {
            let of = &before.copiers[index as usize];
            let is_put = of.copies[lane as usize].is_some_and(|copy| copy.step == Step::Put);
            arrow(copier(index), if is_put { of.from.other() } else { of.from })
        }
        Action::Arrive => format!("Note over {}: {what}", before.late.map_or('N', |put| table(put.to))),
        Action::Look(index, _) | Action::Restart(index, _) | Action::Upgrade(index) => {
            format!("Note over {}: {what}", client(index))
        }
        Action::Take(index) | Action::Crash(index) => format!("Note over {}: {what}", copier(index)),
        Action::Mirror | Action::Compare(_) | Action::CutOver => format!("Note over O,N: the migration {what}"),
        Action::Install => "Note over O: the trigger is in force".to_owned(),
        Action::CaptureNew => "Note over N: the trigger is in force".to_owned(),
        Action::Send(..)
        | Action::Empty
        | Action::Close
        | Action::Lock
        | Action::StepBack
        | Action::Enter(_)
        | Action::Open
        | Action::Unseal
        | Action::Again => format!("Note over O,N: the move {what}"),
    }
}

fn table(side: Side) -> char {
    match side {
        Side::Old => 'O',
        Side::New => 'N',
    }
}
