//! The phases that a story goes through, and the steps between them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use switchover::migration::{Controller, MigrationError, Phase};

use Phase::{Complete, Cutover, Mirror, Off, Reverse, Strict};

/// From the first phase to the last.
pub(crate) const FORWARDS: &[Phase] = &[Mirror, Mirror, Strict, Cutover, Reverse, Complete];
/// Every edge of the profile, in both directions.
pub(crate) const THERE_AND_BACK: &[Phase] = &[
    Mirror, Off, Mirror, Mirror, Strict, Mirror, Strict, Cutover, Strict, Cutover, Reverse, Cutover, Reverse, Complete,
];

/// How long one step may take, with servers that come and go.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(200);

/// Takes a step as soon as its guards are green, and waits until it is sealed.
pub(crate) async fn step(controller: &Controller, to: Phase) -> Result<()> {
    let give_up = Instant::now() + PATIENCE;
    let before = controller.document().await.ok().map(|document| document.epoch);
    loop {
        let error = match controller.step(to).await {
            Ok(_) => break,
            Err(error) => error,
        };
        // A step whose answer was lost was made, perhaps.
        if let Ok(document) = controller.document().await
            && before.is_some_and(|before| document.epoch > before)
        {
            break;
        }
        match error {
            MigrationError::Red { .. }
            | MigrationError::NotSealed { .. }
            | MigrationError::Changed
            | MigrationError::Database { .. }
            | MigrationError::Control { .. } => {}
            error => return Err(error.into()),
        }
        if Instant::now() > give_up {
            let status = controller.status().await;
            bail!("the step to {to} was not made: {error}; {status:#?}");
        }
        tokio::time::sleep(PAUSE).await;
    }
    let left = give_up.saturating_duration_since(Instant::now()).max(PAUSE);
    let sealed = controller.sealed(left, &mut |_| {}).await;
    sealed.map(drop).with_context(|| format!("{to} was not sealed"))
}
