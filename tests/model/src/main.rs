//! The command: explores the protocol within given bounds, shows what breaks without a rule, and weakens the table arm
//! by arm.

mod move_options;
mod options;
mod output;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser as _;
use switchover_model::searched::Searched;
use switchover_model::{case, cases, check, mover, weaken};

use move_options::Moves;
use options::{Command, Explore, Options};

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let is_fine = match &options.command {
        None => explore(&options.explore)?,
        Some(Command::Mutate { filter, generated_max, large, json }) => mutate(filter, *generated_max, *large, *json)?,
        Some(Command::Move(moves)) => explore_move(moves)?,
        Some(Command::Trace { name }) => trace(name)?,
    };
    Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes one search of the protocol itself.
fn explore(options: &Explore) -> Result<bool> {
    let model = options.model();
    if let Some(problem) = model.size.problem() {
        bail!(problem);
    }
    let progress = output::Progress::new();
    let outcome = check::search(&model, options.search(), |states, generated, depth| {
        progress.show(states, generated, depth);
    });
    progress.finish();
    let size = format!("{:?}", model.size);
    output::outcome(&model, options.json, [("size", &size), ("profile", model.rules.profile.as_str())], &outcome)?;
    Ok(outcome.broken.is_empty())
}

/// Makes one search of a move.
fn explore_move(options: &Moves) -> Result<bool> {
    let model = options.model();
    if let Some(problem) = model.size.problem() {
        bail!(problem);
    }
    let progress = output::Progress::new();
    let outcome = check::search(&model, options.search(), |states, generated, depth| {
        progress.show(states, generated, depth);
    });
    progress.finish();
    let size = format!("{:?}", model.size);
    output::outcome(&model, options.json, [("size", &size), ("form", model.form.as_str())], &outcome)?;
    Ok(outcome.broken.is_empty())
}

/// Tries every weakening whose name contains `filter`.
fn mutate(filter: &str, generated_max: Option<usize>, large: bool, json: bool) -> Result<bool> {
    let chosen: Vec<_> = weaken::all().into_iter().filter(|weakening| weakening.name().contains(filter)).collect();
    if chosen.is_empty() {
        bail!("no weakening has `{filter}` in its name: use a phase, an operation, or a change such as `another lock`");
    }
    let progress = output::Progress::of(chosen.len());
    let mut results = Vec::new();
    for weakening in chosen {
        let how = check::Search { generated_max, ..check::Search::WHOLE };
        let model = if large { weakening.large() } else { weakening.model() };
        let outcome = check::search(&model, how, |_, _, _| {});
        progress.next(&weakening.name());
        results.push((weakening, outcome));
    }
    progress.finish();
    output::weakenings(&results, json)
}

/// Prints the shortest traces of the cases whose names contain `name`.
fn trace(name: &str) -> Result<bool> {
    let (migrations, moves) = (cases::all(), mover::cases::all());
    let is_any = show(&migrations, name)? | show(&moves, name)?;
    if !is_any {
        let names = migrations.iter().map(|case| case.name).chain(moves.iter().map(|case| case.name));
        bail!("no case has `{name}` in its name; the cases are {}", names.collect::<Vec<_>>().join(", "));
    }
    Ok(true)
}

/// Prints the traces of these cases. Returns whether there is one.
fn show<M: Searched>(cases: &[case::Case<M>], name: &str) -> Result<bool> {
    let mut is_any = false;
    for case in cases.iter().filter(|case| case.name.contains(name)) {
        is_any = true;
        match check::pinned(case) {
            Ok(text) => output::print(&text)?,
            Err(kept) => bail!("{} no longer breaks: {kept:?}", case.name),
        }
    }
    Ok(is_any)
}
