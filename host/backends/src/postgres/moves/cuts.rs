//! What the cuts of all forms share.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use switchover_core::capabilities::DatabaseError;
use switchover_core::moves::{Cut, CutBound, Mover, Side};

use super::link::{Bind, Link, PAUSE, column, invalid};

/// With more changes than this waiting, the lock is not asked for yet.
const WAITING_MAX: u64 = 200;
/// How often it is tried to get below that.
const CATCH_UP_MAX: u32 = 100;
/// Between two looks at the transactions of others, under the lock.
const LOOK: Duration = Duration::from_millis(5);
/// What one statement of the last carrying takes.
pub(super) const CARRY: u32 = 10_000;
const TAKEN_BACK: &str = "the tables are as they were. Try again, with a longer bound if applications can wait";

/// A mover that can try to cut.
#[async_trait]
pub(super) trait Cutting: Mover {
    /// Tries once, and takes it back if it would take longer.
    async fn try_to_cut(&mut self, from: Side, wait: Duration) -> Result<Cut, DatabaseError>;
}

/// Tries to cut until a try meets the bound.
pub(super) async fn cut(mover: &mut impl Cutting, from: Side, bound: CutBound) -> Result<Cut, DatabaseError> {
    let mut taken_back = 0;
    loop {
        let tried = match carry_most(mover).await {
            Ok(()) => mover.try_to_cut(from, bound.wait).await,
            Err(error) => Err(error),
        };
        match tried {
            Ok(cut) => return Ok(Cut { taken_back, ..cut }),
            Err(DatabaseError::Conflict { message }) => {
                taken_back += 1;
                if taken_back >= bound.tries {
                    return Err(DatabaseError::Conflict { message: format!("{message}; {TAKEN_BACK}") });
                }
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Carries until few changes wait, so that the lock is short.
async fn carry_most(mover: &mut impl Mover) -> Result<(), DatabaseError> {
    for _ in 0..CATCH_UP_MAX {
        if mover.carry(CARRY).await?.changes < WAITING_MAX {
            return Ok(());
        }
    }
    let message = "writes come faster than they are carried: cut when less is written";
    Err(DatabaseError::Conflict { message: message.to_owned() })
}

impl Link {
    /// Sets what is left of the bound for the next statement, and for its locks.
    pub(super) async fn bounded(&mut self, begun: Instant, wait: Duration) -> Result<(), DatabaseError> {
        let left = wait.saturating_sub(begun.elapsed()).as_millis();
        if left == 0 {
            let message = format!("the cut took longer than {} ms", wait.as_millis());
            return Err(DatabaseError::Conflict { message });
        }
        // The lock's comes first, since its error says more.
        self.simple(&format!("SET LOCAL lock_timeout = {left}; SET LOCAL statement_timeout = {}", left + 1)).await
    }

    /// Waits for transactions that began before the lock was there. One that reads under one snapshot would not see in
    /// the other table what was copied since it began, and tell its user that there is no session. PostgreSQL does not
    /// show the isolation of another session, so every snapshot counts; but not that of a statement that waits for this
    /// lock, nor that of another copier: it waits for the state, maybe behind a third one, and reads again after that.
    pub(super) async fn no_old_snapshot(
        &mut self,
        state: Option<&str>,
        begun: Instant,
        wait: Duration,
    ) -> Result<(), DatabaseError> {
        let rows = self.rows("SELECT clock_timestamp()::text", &[]).await?;
        let locked: String = rows.first().map_or_else(|| Err(invalid("no answer")), |row| column(row, 0))?;
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
                   AND backend_type = 'client backend' \
                   AND (wait_event_type = 'Lock' AND pg_backend_pid() = ANY(pg_blocking_pids(pid))) IS NOT TRUE \
                   AND NOT EXISTS (SELECT FROM pg_locks AS l WHERE l.pid = pg_stat_activity.pid \
                                   AND l.locktype = 'tuple' AND l.relation = to_regclass($2)) \
                   AND (backend_xmin IS NOT NULL AND xact_start < $1::timestamptz \
                        OR state IS NULL AND usename <> current_user)";
        loop {
            let rows = self.rows(sql, &[Bind::Text(Some(&locked)), Bind::Text(state)]).await?;
            let open = rows.first().map_or(Ok(0), |row| column::<i64>(row, 0))?;
            if open == 0 {
                return Ok(());
            }
            if begun.elapsed() + LOOK >= wait {
                let message = format!("{open} transactions with an older snapshot are open, or cannot be seen");
                return Err(DatabaseError::Conflict { message });
            }
            tokio::time::sleep(LOOK).await;
            self.simple("SELECT pg_stat_clear_snapshot()").await?;
        }
    }
}
