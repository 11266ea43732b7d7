//! The steps: each shows its guards, is made if they are green, and waits until every host has acknowledged.

use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use switchover::capabilities::Epoch;
use switchover::migration::{
    Controller, Finding, Guard, MigrationError, Phase, StepCommand, Verdict as GuardVerdict, phase,
};
use switchover_server::report;

use super::{Advance, Named, Policy, Step, controller, done, is_red, pairs};
use crate::output::{Colour, Verdict, note, paint_note, print};

/// How often the spinner turns while nothing is heard.
const TICK: Duration = Duration::from_millis(120);

/// Makes the step of a command, or all of them.
pub(super) async fn made(command: StepCommand, options: &Step) -> Result<Verdict> {
    let overridden = report::guards(&options.overridden).map_err(anyhow::Error::msg)?;
    let controller = controller(&options.named).await?;
    loop {
        let Some(to) = controller.next_step(command).await? else { return nothing_to_do(&controller, options).await };
        let verdict = step(&controller, to, options, &overridden).await?;
        if verdict != Verdict::Fine || options.dry_run || !command.goes_on_from(to) {
            return Ok(verdict);
        }
    }
}

/// Goes to the next phase, or to one that is named.
pub(super) async fn advance(options: &Advance) -> Result<Verdict> {
    let to = options.to.as_deref().map(report::phase).transpose().map_err(anyhow::Error::msg)?;
    made(to.map_or(StepCommand::Advance, StepCommand::To), &options.step).await
}

pub(super) async fn policy(options: Policy) -> Result<Verdict> {
    let (controller, named) = (controller(&options.named).await?, &options.named);
    let flags = pairs(&options.flags)?;
    if options.dry_run {
        return match controller.look_at_change(&options.policy, &flags).await {
            Ok(()) => done(named, "the policy could be changed"),
            Err(error) => refused(named, error),
        };
    }
    let epoch = controller.change_policy(options.policy, flags).await?;
    wait(&controller, named, Duration::from_secs(options.wait), "the policy was changed", epoch, &[]).await
}

async fn step(controller: &Controller, to: Phase, options: &Step, overridden: &[Guard]) -> Result<Verdict> {
    let named = &options.named;
    if options.dry_run {
        return guards(named, &controller.look(to).await?, overridden, to);
    }
    let made = match controller.step_over(to, overridden).await {
        Ok(made) => made,
        Err(error) => return refused(named, error),
    };
    let what =
        if made.from == made.to { format!("{} is settled", made.to) } else { format!("{} -> {}", made.from, made.to) };
    wait(controller, named, Duration::from_secs(options.wait), &what, made.epoch, &made.findings).await
}

/// The migration is where the command leads: what is left is to wait for its epoch.
async fn nothing_to_do(controller: &Controller, options: &Step) -> Result<Verdict> {
    let (named, document) = (&options.named, controller.document().await?);
    let what = format!("the migration is in {} already", document.phase);
    if !options.dry_run {
        let patience = Duration::from_secs(options.wait);
        return wait(controller, named, patience, &what, document.epoch, &[]).await;
    }
    if named.json {
        print(json!(report::looked(phase(&document)?, &[], &[])))?;
    } else {
        print(what)?;
    }
    Ok(Verdict::Fine)
}

/// Waits until the epoch is sealed, and shows what it waits for.
async fn wait(
    controller: &Controller,
    named: &Named,
    patience: Duration,
    what: &str,
    epoch: Epoch,
    findings: &[Finding],
) -> Result<Verdict> {
    let style = ProgressStyle::with_template("{spinner} {wide_msg}")?;
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.enable_steady_tick(TICK);
    let mut waiting = |waits_for: &[String]| {
        bar.set_message(format!("epoch {} waits for {}", epoch.0, waits_for.join("; ")));
    };
    let sealed = controller.sealed(patience, &mut waiting).await;
    bar.finish_and_clear();
    match sealed {
        Ok(_) if named.json => {
            print(json!(report::made(epoch, findings, Vec::new())))?;
            Ok(Verdict::Fine)
        }
        Ok(_) => {
            for finding in findings {
                print(format_args!("  {}: {finding}", finding.guard))?;
            }
            print(format_args!("{what}; epoch {} is sealed: every host has acknowledged", epoch.0))?;
            Ok(Verdict::Fine)
        }
        Err(MigrationError::NotSealed { waits_for }) => {
            if named.json {
                print(json!(report::made(epoch, findings, waits_for)))?;
            } else {
                print(format_args!("{what}; epoch {} is in force, and not sealed yet. It waits for", epoch.0))?;
                waits_for.iter().try_for_each(|waits| print(format_args!("  {waits}")))?;
                print("the hosts seal it by themselves; `switchover migrate status` shows when")?;
            }
            Ok(Verdict::Red)
        }
        Err(error) => Err(error.into()),
    }
}

/// Shows why a step was not made.
fn refused(named: &Named, error: MigrationError) -> Result<Verdict> {
    if !is_red(&error) {
        return Err(error.into());
    }
    match &error {
        _ if named.json => {
            let (findings, waits_for) = match &error {
                MigrationError::Red { findings } => (json!(report::findings(findings)), Vec::new()),
                MigrationError::NotSealed { waits_for } => (json!([]), waits_for.clone()),
                _ => (json!([]), Vec::new()),
            };
            print(json!({"ok": false, "error": error.to_string(), "guards": findings, "waits_for": waits_for}))?;
        }
        MigrationError::Red { findings } => {
            findings.iter().try_for_each(|finding| print(format_args!("  {}: {finding}", finding.guard)))?;
            note(format_args!("{} nothing was changed: a guard is not green", paint_note(Colour::Red, "red:")));
            if let Some(advice) = advice_alone(findings) {
                note(format_args!("it is advice: `--override {advice}` goes on without it"));
            }
        }
        error => note(format_args!("{} nothing was changed: {error}", paint_note(Colour::Red, "red:"))),
    }
    Ok(Verdict::Red)
}

/// The guard that is not green, if none of those is hard.
fn advice_alone(findings: &[Finding]) -> Option<Guard> {
    let mut red = findings.iter().filter(|finding| finding.verdict != GuardVerdict::Green);
    let first = red.next()?;
    let all_advice = !findings.iter().any(Finding::blocks);
    all_advice.then_some(first.guard)
}

/// Shows the guards of a step that is not made.
fn guards(named: &Named, findings: &[Finding], overridden: &[Guard], to: Phase) -> Result<Verdict> {
    let looked = report::looked(to, findings, overridden);
    let is_open = looked.ok;
    if named.json {
        print(json!(looked))?;
    } else {
        findings.iter().try_for_each(|finding| print(format_args!("  {}: {finding}", finding.guard)))?;
        let verdict = if is_open { "would be made, once the epoch in force is sealed" } else { "would be refused" };
        print(format_args!("the step to {to} {verdict}"))?;
    }
    Ok(if is_open { Verdict::Fine } else { Verdict::Red })
}
