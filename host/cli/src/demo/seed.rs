//! What is there before the story begins: an empty table, and sessions as Django wrote them.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use switchover::backends::Sqlite;
use switchover::capabilities::Database;
use switchover::{Limits, SessionKey, Timestamp};

use crate::demo::Options;
use crate::demo::history::{Action, Operation, Outcome};
use crate::demo::population::Habit;
use crate::demo::table::{self, RawRow};
use crate::demo::traffic::Site;

/// One session in so many is there when the story begins, and has ended already.
const EXPIRED_ONE_IN: usize = 20;

/// A new file with Django's table in it.
pub(crate) async fn table(path: &Path) -> Result<Sqlite> {
    let database = Sqlite::builder(path).create_if_missing(true).open().await?;
    let deadline = Instant::now() + Limits::default().write_deadline;
    database.create_schema(deadline).await.with_context(|| format!("cannot create the table in {}", path.display()))?;
    Ok(database)
}

/// Sessions that were there before: most are used, some are looked at, some are left alone, a few have ended.
pub(crate) fn sessions(site: &Site, options: &Options, path: &Path) -> Result<Vec<Operation>> {
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
            data: payload.expose().to_owned(),
            expires_at: Timestamp::from_micros(expires_at),
        });
        operations.push(Operation {
            key: member.id,
            invoked: now,
            returned: now,
            action: Action::Create(row),
            outcome: Outcome::Done,
        });
    }
    table::insert(path, &rows)?;
    Ok(operations)
}
