//! Which step an operator's command means, from the phase in force.

use switchover_protocol::{Direction, Phase, Profile, edges_from};

use super::controller::Controller;
use super::document::{phase, profile};
use super::error::MigrationError;

/// A command that makes steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepCommand {
    /// To the next phase; to `complete` only [`StepCommand::Complete`] leads.
    Advance,
    /// To this phase, a neighbour of the one in force.
    To(Phase),
    /// Settles `mirror`.
    Settle,
    /// To the previous phase.
    Rollback,
    /// Back to `off`, a step at a time.
    Abort,
    /// From `reverse` to `complete`.
    Complete,
}

impl StepCommand {
    /// Whether another step of the command follows the one to this phase.
    pub fn goes_on_from(self, phase: Phase) -> bool {
        self == Self::Abort && phase != Phase::Off
    }

    /// The step from this phase; `None`: the command has nothing to do.
    fn step(self, profile: Profile, from: Phase) -> Result<Option<Phase>, MigrationError> {
        let leads =
            |direction| edges_from(profile, from).find(|edge| edge.direction() == direction).map(|edge| edge.to);
        let (to, why) = match self {
            Self::To(to) => return Ok((to != from).then_some(to)),
            Self::Complete => return Ok((from != Phase::Complete).then_some(Phase::Complete)),
            Self::Abort if from == Phase::Off => return Ok(None),
            Self::Abort | Self::Rollback => (leads(Direction::Back), "no step leads back from it"),
            Self::Settle => (leads(Direction::Settling), "only `mirror` is settled"),
            Self::Advance => match leads(Direction::Forwards) {
                Some(Phase::Complete) => (None, "only `complete` leads on, and there is no way back from there"),
                next => (next, "it is the last one"),
            },
        };
        to.map(Some).ok_or(MigrationError::NoStep { from, why })
    }
}

impl Controller {
    /// The step that the command means in the phase in force, for [`Controller::look`] and [`Controller::step`]. `None`:
    /// it has nothing to do, since the migration is where it leads.
    ///
    /// # Errors
    ///
    /// [`MigrationError::NoStep`]; otherwise as for [`Controller::document`].
    pub async fn next_step(&self, command: StepCommand) -> Result<Option<Phase>, MigrationError> {
        let document = self.document().await?;
        command.step(profile(&document)?, phase(&document)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(command: StepCommand, from: Phase) -> Result<Option<Phase>, String> {
        command.step(Profile::Backfill, from).map_err(|error| error.to_string())
    }

    #[test]
    fn advance_goes_through_every_phase_and_leaves_the_last_step_to_complete() {
        for profile in Profile::ALL {
            let (mut at, mut seen) = (Phase::Off, vec![Phase::Off]);
            while let Ok(Some(next)) = StepCommand::Advance.step(profile, at) {
                seen.push(next);
                at = next;
            }
            assert_eq!([&seen[..], &[Phase::Complete]].concat(), profile.path());
        }
        assert!(step(StepCommand::Advance, Phase::Reverse).unwrap_err().contains("no way back"));
        assert!(step(StepCommand::Advance, Phase::Complete).unwrap_err().contains("last one"));
    }

    #[test]
    fn abort_goes_on_until_off_and_rollback_goes_back_once() {
        let mut at = Phase::Reverse;
        while let Some(previous) = step(StepCommand::Abort, at).unwrap() {
            assert_eq!(step(StepCommand::Rollback, at), Ok(Some(previous)));
            assert_eq!(StepCommand::Abort.goes_on_from(previous), previous != Phase::Off);
            assert!(!StepCommand::Rollback.goes_on_from(previous));
            at = previous;
        }
        assert_eq!(at, Phase::Off);
        for command in [StepCommand::Abort, StepCommand::Rollback] {
            assert!(step(command, Phase::Complete).unwrap_err().contains("no step leads back"));
        }
        assert!(step(StepCommand::Rollback, Phase::Off).is_err());
    }

    #[test]
    fn command_that_has_led_there_has_nothing_to_do() {
        assert_eq!(step(StepCommand::To(Phase::Mirror), Phase::Mirror), Ok(None));
        assert_eq!(step(StepCommand::To(Phase::Mirror), Phase::Off), Ok(Some(Phase::Mirror)));
        assert_eq!(step(StepCommand::Complete, Phase::Complete), Ok(None));
        assert_eq!(step(StepCommand::Complete, Phase::Reverse), Ok(Some(Phase::Complete)));
    }

    #[test]
    fn settle_is_for_mirror_alone() {
        for phase in Profile::Backfill.path() {
            let settled = step(StepCommand::Settle, *phase);
            assert_eq!(settled.ok(), (*phase == Phase::Mirror).then_some(Some(Phase::Mirror)), "{phase}");
        }
        assert!(StepCommand::Settle.step(Profile::Lazy, Phase::Invalidate).is_err());
    }
}
