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
/// A step without a long wait takes about so long.
const KILLED_MS_MAX: u64 = 150;

/// An operator, who may be killed in the middle of a step and begin it again.
pub(crate) struct Operator {
    pub(crate) controller: Controller,
    /// Hosts that are given up once their leases have run out.
    pub(crate) mortal: &'static [&'static str],
    /// Says when the operator is killed; `None`: never.
    pub(crate) dice: Option<fastrand::Rng>,
}

impl Operator {
    /// Takes a step as soon as its guards are green, and waits until it is sealed.
    pub(crate) async fn step(&mut self, to: Phase) -> Result<()> {
        let give_up = Instant::now() + PATIENCE;
        let before = loop {
            match self.controller.document().await {
                Ok(document) => break document.epoch,
                Err(error) if Instant::now() > give_up => return Err(error.into()),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        };
        loop {
            let controller = self.controller.clone();
            let error = match self.until_killed(async move { controller.step(to).await }).await {
                Some(Ok(_)) => break,
                Some(Err(error)) => Some(error),
                None => None,
            };
            // A step whose answer was lost was made, perhaps.
            if let Ok(document) = self.controller.document().await
                && document.epoch > before
            {
                break;
            }
            match &error {
                None
                | Some(
                    MigrationError::Red { .. }
                    | MigrationError::NotSealed { .. }
                    | MigrationError::Changed
                    | MigrationError::Database { .. }
                    | MigrationError::Control { .. },
                ) => {}
                Some(error) => bail!("the step to {to}: {error}"),
            }
            if Instant::now() > give_up {
                let status = self.controller.status().await;
                bail!("the step to {to} was not made: {error:?}; {status:#?}");
            }
            self.give_up_the_dead().await?;
            tokio::time::sleep(PAUSE).await;
        }
        loop {
            match self.controller.sealed(SEALED_EACH, &mut |_| {}).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > give_up => return Err(error).context(format!("{to} was not sealed")),
                Err(_) => self.give_up_the_dead().await?,
            }
        }
    }

    /// `None`: the operator was killed first.
    async fn until_killed<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        if let Some(dice) = &mut self.dice
            && dice.bool()
        {
            return tokio::time::timeout(Duration::from_millis(dice.u64(..KILLED_MS_MAX)), work).await.ok();
        }
        Some(work.await)
    }

    async fn give_up_the_dead(&self) -> Result<()> {
        for host in self.mortal {
            match self.controller.evict(host).await {
                // Most are alive.
                Ok(())
                | Err(MigrationError::Invalid { .. } | MigrationError::Changed | MigrationError::Control { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
