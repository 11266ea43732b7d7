//! The lane of tools: scans, deletions of expired rows, statistics and the schema, away from the sessions' own lanes.

use std::sync::Arc;

use super::inbox::Inbox;
use super::lane::Lane;
use super::link::{Driver, Link};
use crate::backends::request::Request;
use crate::capabilities::{Scan, Statistics};
use crate::session::{SessionKey, Timestamp};

pub(super) enum ToolJob {
    DeleteExpired { before: Option<Timestamp>, limit: u32, request: Request<u32> },
    Scan { after: Option<SessionKey>, limit: u32, request: Request<Scan> },
    Statistics { request: Request<Statistics> },
    MissingSchema { request: Request<Vec<String>> },
    CreateSchema { request: Request<Vec<String>> },
}

/// Ends when the queue is closed and empty.
pub(super) async fn run<D: Driver>(mut lane: Lane<D>, inbox: Arc<Inbox<ToolJob>>) {
    while let Some(job) = lane.next(&*inbox).await {
        work(&mut lane, job).await;
    }
    lane.close().await;
}

async fn work<D: Driver>(lane: &mut Lane<D>, job: ToolJob) {
    match job {
        ToolJob::DeleteExpired { before, limit, request } => {
            let Some(request) = request.begin() else { return };
            let deleted = lane.run_patiently(request.deadline(), |link| {
                Box::pin(async move { link.delete_expired(before, limit).await })
            });
            request.answer(deleted.await);
        }
        ToolJob::Scan { after, limit, request } => {
            let Some(request) = request.begin() else { return };
            let page = lane.run_patiently(request.deadline(), |link| {
                let after = after.clone();
                Box::pin(async move { link.scan(after.as_ref(), limit).await })
            });
            request.answer(page.await);
        }
        ToolJob::Statistics { request } => {
            let Some(request) = request.begin() else { return };
            let deadline = request.deadline();
            let told = lane.run_patiently(deadline, |link| Box::pin(async move { link.statistics(deadline).await }));
            request.answer(told.await);
        }
        ToolJob::MissingSchema { request } => {
            let Some(request) = request.begin() else { return };
            let missing =
                lane.run_patiently(request.deadline(), |link| Box::pin(async move { link.missing_schema().await }));
            request.answer(missing.await);
        }
        ToolJob::CreateSchema { request } => {
            let Some(request) = request.begin() else { return };
            let made = lane.run_patiently(request.deadline(), |link| {
                Box::pin(async move {
                    let missing = link.missing_schema().await?;
                    link.execute_schema(&missing).await?;
                    Ok(missing)
                })
            });
            request.answer(made.await);
        }
    }
}
