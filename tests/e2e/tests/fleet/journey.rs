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
const SEALED_EACH: Duration = Duration::from_secs(1);

/// Takes a step as soon as its guards are green, and waits until it is sealed. Gives up these hosts once their leases
/// have run out.
pub(crate) async fn step(controller: &Controller, to: Phase, mortal: &[&str]) -> Result<()> {
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
        give_up_the_dead(controller, mortal).await?;
        tokio::time::sleep(PAUSE).await;
    }
    loop {
        match controller.sealed(SEALED_EACH, &mut |_| {}).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > give_up => return Err(error).context(format!("{to} was not sealed")),
            Err(_) => give_up_the_dead(controller, mortal).await?,
        }
    }
}

async fn give_up_the_dead(controller: &Controller, mortal: &[&str]) -> Result<()> {
    for host in mortal {
        match controller.evict(host).await {
            // Most are alive.
            Ok(()) | Err(MigrationError::Invalid { .. } | MigrationError::Changed | MigrationError::Control { .. }) => {
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
