//! The steps: each shows its guards, is made if they are green, and waits until every host has acknowledged.

use std::time::Duration;

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use switchover::capabilities::Epoch;
use switchover::migration::{Controller, Finding, Guard, MigrationError, Phase, Verdict as GuardVerdict};
use switchover_server::report;

use super::{Named, Policy, Step, controller, done, is_red, overridden, pairs};
use crate::output::{Colour, Verdict, note, paint_note, print};

/// How often the spinner turns while nothing is heard.
const TICK: Duration = Duration::from_millis(120);

pub(super) async fn advance(options: Step) -> Result<Verdict> {
    let controller = controller(&options.named).await?;
    let to = match &options.to {
        Some(word) => {
            let (to, document) = (report::phase(word).map_err(anyhow::Error::msg)?, controller.document().await?);
            if document.phase == to.as_str() {
                let what = format!("the migration is in {to} already");
                let patience = Duration::from_secs(options.wait);
                return wait(&controller, &options.named, patience, &what, document.epoch, &[]).await;
            }
            to
        }
        None => match controller.next_phase().await? {
            Some(Phase::Complete) => bail!("the next phase is `complete`, and there is no way back: say `complete`"),
            Some(next) => next,
            None => bail!("the migration is in its last phase"),
        },
    };
    step(&controller, to, &options).await
}

pub(super) async fn settle(options: Step) -> Result<Verdict> {
    step(&controller(&options.named).await?, Phase::Mirror, &options).await
}

pub(super) async fn rollback(options: Step) -> Result<Verdict> {
    let controller = controller(&options.named).await?;
    match controller.previous_phase().await? {
        Some(previous) => step(&controller, previous, &options).await,
        None => bail!("no step leads back from here; `switchover migrate status` says why"),
    }
}

pub(super) async fn abort(options: Step) -> Result<Verdict> {
    let controller = controller(&options.named).await?;
    loop {
        let Some(previous) = controller.previous_phase().await? else {
            let phase = controller.document().await?.phase;
            if phase == Phase::Off.as_str() {
                return Ok(Verdict::Fine);
            }
            bail!("no step leads back from `{phase}`");
        };
        let verdict = step(&controller, previous, &options).await?;
        if verdict != Verdict::Fine || options.dry_run {
            return Ok(verdict);
        }
    }
}

pub(super) async fn complete(options: Step) -> Result<Verdict> {
    step(&controller(&options.named).await?, Phase::Complete, &options).await
}

pub(super) async fn policy(options: Policy) -> Result<Verdict> {
    let (controller, named) = (controller(&options.named).await?, &options.named);
    if options.dry_run {
        pairs(&options.flags)?;
        return match controller.look_at_change(&options.policy).await {
            Ok(()) => done(named, "the policy could be changed"),
            Err(error) => refused(named, error),
        };
    }
    let epoch = controller.change_policy(options.policy, pairs(&options.flags)?).await?;
    wait(&controller, named, Duration::from_secs(options.wait), "the policy was changed", epoch, &[]).await
}

async fn step(controller: &Controller, to: Phase, options: &Step) -> Result<Verdict> {
    let (named, overridden) = (&options.named, overridden(&options.overridden)?);
    if options.dry_run {
        let findings = controller.look(to).await?;
        return guards(named, &findings, &overridden, to);
    }
    let made = match controller.step_over(to, &overridden).await {
        Ok(made) => made,
        Err(error) => return refused(named, error),
    };
    let what =
        if made.from == made.to { format!("{} is settled", made.to) } else { format!("{} -> {}", made.from, made.to) };
    wait(controller, named, Duration::from_secs(options.wait), &what, made.epoch, &made.findings).await
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
            print(json!({"ok": true, "epoch": epoch.0, "sealed": true, "guards": report::guards(findings)}))?;
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
                print(json!({"ok": false, "epoch": epoch.0, "sealed": false, "waits_for": waits_for}))?;
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
                MigrationError::Red { findings } => (report::guards(findings), Vec::new()),
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
    let is_open = report::is_open(findings, overridden);
    if named.json {
        print(json!({"ok": is_open, "to": to.as_str(), "guards": report::guards(findings)}))?;
    } else {
        findings.iter().try_for_each(|finding| print(format_args!("  {}: {finding}", finding.guard)))?;
        let verdict = if is_open { "would be made, once the epoch in force is sealed" } else { "would be refused" };
        print(format_args!("the step to {to} {verdict}"))?;
    }
    Ok(if is_open { Verdict::Fine } else { Verdict::Red })
}
