//! A write in an epoch of a migration: at home alone, marked, or in both databases.

use std::sync::Arc;
use std::time::{Duration, Instant};

use switchover_contract::{Error, ErrorCode, Guarantee, Result, Target};
use switchover_core::capabilities::{DatabaseError, Fence, Side, Write, WriteOutcome};
use switchover_protocol::{Operation, Phase, Plan, Profile, plan};
use switchover_runtime::call::{Admission, Serves, check_target};
use switchover_runtime::counters::Asked;

use super::batch::{Answer, Change};
use super::lanes::Lane;
use super::together::Together;
use super::{Store, database_error, internal};
use crate::migration::{PHASE_FLAG, PROFILE_FLAG};

/// How a write reaches its databases.
enum Way {
    /// Another database than the two of the migration, or home alone.
    Alone,
    Marked(Side),
    Together(Together),
}

impl Store {
    /// Makes a write under the epoch of its call.
    pub(super) async fn write_in_epoch(
        self: &Arc<Self>,
        admission: &Admission,
        fence: &Fence,
        to: &Target,
        write: Write,
        write_deadline: Duration,
    ) -> Answer {
        let way = self.way(admission, fence, to, &write)?;
        self.counters.asked(Asked::DatabaseWrite);
        let deadline = Instant::now() + write_deadline;
        let (home, database) = self.database(&to.home)?;
        let written = match way {
            Way::Alone => database.write(vec![write], self.terms(home, deadline, Some(fence))).await,
            Way::Marked(side) => self.side_tables(side)?.write_marked(vec![write], side, fence.clone(), deadline).await,
            Way::Together(way) => {
                if let Some(outcome) = self.outcome_of_foreign_key(&write)? {
                    return Ok((outcome, false));
                }
                let change = Change { write, deadline };
                let answer = self.lanes.write(self, Lane::Together(way), change, &admission.ticket).await;
                return answer.map_err(|error| self.fenced_or(error));
            }
        };
        let mut outcomes = written.map_err(|error| {
            if matches!(error, DatabaseError::UnknownOutcome { .. }) {
                self.counters.outcome_unknown();
            }
            self.fenced_or(database_error(home, &error))
        })?;
        Ok((outcomes.pop().ok_or_else(|| internal(home, "a write without an answer"))?, false))
    }

    /// Checks a target. In a migration it must be the one that the phase plans: a policy that writes elsewhere could
    /// lose sessions of the whole fleet.
    fn way(&self, admission: &Admission, fence: &Fence, to: &Target, write: &Write) -> Result<Way> {
        check_target(to, Serves::Fleet)?;
        let pair = self.pair();
        let Some(home) = pair.side(&to.home) else {
            self.database(&to.home)?;
            return if to.mirrors.is_empty() {
                Ok(Way::Alone)
            } else {
                Err(denied(format!("database {} is not of the migration, so it has no mirror", to.home)))
            };
        };
        let (phase, plan) = planned(admission, write)?;
        let is_planned = home == side_of(plan.home)
            && pair.side(to.lock.as_deref().unwrap_or(&to.home)) == Some(side_of(plan.lock))
            && to.mirrors.len() == plan.mirrors.len()
            && to.mirrors.iter().zip(plan.mirrors).all(|(mirror, planned)| {
                pair.side(&mirror.database) == Some(side_of(planned.side))
                    && mirror.guarantee == planned.guarantee
                    && mirror.action == planned.action
            });
        if !is_planned {
            return Err(denied(format!(
                "in the phase {phase} this write does not go where the policy sends it; swap in a policy that carries \
                 out the phases, `phased` for example"
            )));
        }
        Ok(match plan.mirrors.first() {
            None => Way::Alone,
            Some(mirror) if mirror.guarantee == Guarantee::Marked => Way::Marked(home),
            Some(mirror) => Way::Together(Together { home, action: mirror.action, fence: fence.clone() }),
        })
    }

    /// The outcome for a key that one of the two tables cannot hold: neither has a row of it.
    fn outcome_of_foreign_key(&self, write: &Write) -> Result<Option<WriteOutcome>> {
        for side in [Side::Old, Side::New] {
            let name = self.pair().name(side);
            let layout = self.databases[name].layout();
            if let Write::Insert(session) | Write::Update(session) = write
                && (matches!(write, Write::Insert(_)) || layout.takes_key(&session.key))
            {
                layout.check(session).map_err(|unfit| database_error(name, &unfit.into()))?;
            }
            if !layout.takes_key(write.key()) {
                return Ok(Some(WriteOutcome::Missing));
            }
        }
        Ok(None)
    }
}

/// The phase of the call's epoch, and what it plans for this write.
fn planned(admission: &Admission, write: &Write) -> Result<(Phase, Plan)> {
    let operation = match write {
        Write::Insert(_) => Operation::Create,
        Write::Update(_) => Operation::Update,
        Write::Touch(..) => Operation::Touch,
        Write::Delete(_) => Operation::Delete,
        Write::Upsert(_) => return Err(denied("a call does not put rows".to_owned())),
    };
    let phase = admission.flags.value(PHASE_FLAG).and_then(Phase::parse);
    let profile = admission.flags.value(PROFILE_FLAG).and_then(Profile::parse);
    let planned = phase.zip(profile).and_then(|(phase, profile)| Some((phase, plan(phase, profile, operation)?)));
    planned.ok_or_else(|| Error::new(ErrorCode::Internal, "an epoch without a phase of its profile"))
}

/// The side in the words of the databases.
fn side_of(side: switchover_protocol::Side) -> Side {
    match side {
        switchover_protocol::Side::Old => Side::Old,
        switchover_protocol::Side::New => Side::New,
    }
}

fn denied(message: String) -> Error {
    Error::new(ErrorCode::Denied, message)
}
