//! The command: explores the protocol within given bounds, shows what breaks without a rule, and weakens the table arm
//! by arm.

mod options;
mod output;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser as _;
use switchover_model::{cases, check, weaken};

use options::{Command, Explore, Options};

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let is_fine = match &options.command {
        None => explore(&options.explore)?,
        Some(Command::Mutate { filter, generated_max, large, json }) => mutate(filter, *generated_max, *large, *json)?,
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
    output::outcome(&model, options, &outcome)?;
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
    let mut is_any = false;
    for case in cases::all().iter().filter(|case| case.name.contains(name)) {
        is_any = true;
        match check::pinned(case) {
            Ok(text) => output::print(&text)?,
            Err(kept) => bail!("{} no longer breaks: {kept:?}", case.name),
        }
    }
    if !is_any {
        let names: Vec<_> = cases::all().iter().map(|case| case.name).collect();
        bail!("no case has `{name}` in its name; the cases are {}", names.join(", "));
    }
    Ok(true)
}
