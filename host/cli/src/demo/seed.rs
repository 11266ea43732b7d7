//! The sessions before the demo begins, in Django's form.

use anyhow::Result;
use switchover::{SessionKey, Timestamp};
use switchover_workload::history::{Action, HostId, Operation, Outcome};
use switchover_workload::population::Habit;
use switchover_workload::table::{RawRow, Table};
use switchover_workload::traffic::Site;

use crate::demo::Options;

/// One session in this many has already ended when the demo begins.
const EXPIRED_ONE_IN: usize = 20;

/// Inserts the first sessions: most are used, some are only read, some are never used, a few have ended.
pub(crate) async fn sessions(site: &Site, options: &Options, table: &Table) -> Result<Vec<Operation>> {
    let mut rng = fastrand::Rng::with_seed(options.seed);
    let now = site.clock.now();
    let mut rows = Vec::with_capacity(options.sessions);
    let mut operations = Vec::with_capacity(options.sessions);
    for number in 0..options.sessions {
        let habit = match rng.u8(..10) {
            0..6 => Habit::Uses,
            6..8 => Habit::Looks,
            _ => Habit::Away,
        };
        let expired = number % EXPIRED_ONE_IN == 0;
        let habit = if expired { Habit::Away } else { habit };
        let expires_at =
            if expired { now - rng.u64(5_000_000..3_600_000_000) } else { site.lifetimes.expiry(habit, now, &mut rng) };
        let user = rng.u32(..);
        let (payload, row) = site.scribe.write(user, expires_at, now, &mut rng)?;
        let member = site.population.join(SessionKey::random(), user, habit);
        rows.push(RawRow {
            key: member.key.expose().to_owned(),
            data: payload.as_text().unwrap_or_default().to_owned(),
            expires_at: Timestamp::from_micros(expires_at),
        });
        operations.push(Operation {
            key: member.id,
            host: HostId::default(),
            invoked: now,
            returned: now,
            action: Action::Create(row),
            outcome: Outcome::Done,
        });
    }
    table.insert(rows).await?;
    Ok(operations)
}
