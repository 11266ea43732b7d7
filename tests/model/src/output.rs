//! The output of the command: progress, results for people, or one JSON object.

use std::io::{self, Write as _};
use std::time::Instant;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use switchover_model::check::Outcome;
use switchover_model::migration::Migration;
use switchover_model::searched::{Promise as _, Searched};
use switchover_model::weaken::Weakening;

/// The progress of a search, on the terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
    begun: Instant,
}

impl Progress {
    /// For one search, whose length is not known.
    pub(crate) fn new() -> Self {
        Self { bar: ProgressBar::new_spinner(), begun: Instant::now() }
    }

    /// For this many searches.
    pub(crate) fn of(count: usize) -> Self {
        let bar = ProgressBar::new(u64::try_from(count).unwrap_or(u64::MAX));
        if let Ok(style) = ProgressStyle::with_template("{pos}/{len} {msg}") {
            bar.set_style(style);
        }
        Self { bar, begun: Instant::now() }
    }

    pub(crate) fn show(&self, states: usize, generated: usize, depth: usize) {
        let rate = per_second(generated, self.begun.elapsed().as_secs_f64());
        self.bar.set_message(format!("{states} states, {generated} generated, {rate}/s, depth {depth}"));
        self.bar.tick();
    }

    pub(crate) fn next(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        self.bar.inc(1);
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Prints a line.
pub(crate) fn print(text: &str) -> Result<()> {
    writeln!(io::stdout(), "{text}")?;
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a rate for people"
)]
fn per_second(count: usize, seconds: f64) -> u64 {
    (count as f64 / seconds.max(0.001)) as u64
}

/// Prints the result of one search of a model, and for JSON what is modelled and how much may happen.
pub(crate) fn outcome<M: Searched>(
    model: &M,
    json: bool,
    about: [(&str, &str); 2],
    outcome: &Outcome<M>,
) -> Result<()> {
    let seconds = outcome.elapsed.as_secs_f64();
    let rate = per_second(outcome.generated, seconds);
    if json {
        let broken: Vec<_> = outcome
            .broken
            .iter()
            .map(|(promise, steps)| json!({"promise": promise.promise(), "steps": steps.len()}))
            .collect();
        let mut result = json!({
            "states": outcome.states,
            "generated": outcome.generated,
            "depth": outcome.depth,
            "seconds": (seconds * 10.0).round() / 10.0,
            "generated_per_second": rate,
            "whole": outcome.is_whole,
            "broken": broken,
            "reached": outcome.reached,
            "missed": outcome.missed,
        });
        for (name, value) in about {
            result[name] = value.into();
        }
        return print(&result.to_string());
    }
    for (promise, steps) in &outcome.broken {
        print(&model.text(steps, *promise))?;
    }
    let how_far = if outcome.is_whole { "every state" } else { "stopped before the end" };
    print(&format!(
        "{} states, {} generated, {rate}/s, depth {}, {seconds:.1} s, {how_far}",
        outcome.states, outcome.generated, outcome.depth
    ))?;
    print(&format!("{} promises broken", outcome.broken.len()))?;
    print(&format!("reached: {}", outcome.reached.join("; ")))?;
    if !outcome.missed.is_empty() {
        print(&format!("not reached: {}", outcome.missed.join("; ")))?;
    }
    Ok(())
}

/// Prints the results of all weakenings. Returns whether each is as expected.
pub(crate) fn weakenings(results: &[(Weakening, Outcome<Migration>)], json: bool) -> Result<bool> {
    let mut wrong = 0;
    let mut listed = Vec::new();
    for (weakening, outcome) in results {
        let broken: Vec<_> = outcome.broken.iter().map(|(promise, _)| promise.word()).collect();
        let is_right = broken.is_empty() == weakening.harmless().is_some();
        wrong += usize::from(!is_right);
        if json {
            listed.push(json!({
                "name": weakening.name(),
                "breaks": broken,
                "harmless": weakening.harmless(),
                "as_expected": is_right,
                "states": outcome.states,
            }));
            continue;
        }
        let result = match (broken.is_empty(), weakening.harmless()) {
            (false, None) => format!("breaks {}", broken.join(", ")),
            (true, Some(reason)) => format!("harmless: {reason}"),
            (true, None) => {
                "NOT FOUND: it breaks nothing in this size, and is not in the list of harmless ones".to_owned()
            }
            (false, Some(_)) => format!("NOT HARMLESS: breaks {}", broken.join(", ")),
        };
        print(&format!("{}: {result}", weakening.name()))?;
    }
    let harmless = results.iter().filter(|(weakening, _)| weakening.harmless().is_some()).count();
    if json {
        print(&json!({"weakenings": listed, "harmless": harmless, "wrong": wrong}).to_string())?;
    } else {
        print(&format!("{} weakenings, {harmless} harmless with a reason, {wrong} wrong", results.len()))?;
    }
    Ok(wrong == 0)
}
