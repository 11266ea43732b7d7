//! The lane of tools: scans, deletions of expired rows, statistics and the schema, away from the sessions' own lanes.

use std::sync::Arc;
use std::time::Instant;

use switchover_core::capabilities::{
    Cursor, DatabaseError, Epoch, ExpiredLeft, Feeds, Fence, Identity, Mark, MarkedRow, Scan, Side, Statistics, Strain,
    Swept,
};
use switchover_core::{Column, SessionKey, Timestamp};

use super::inbox::Inbox;
use super::lane::{Lane, Operation, Trouble};
use super::link::{Driver, Failure, Link, SideLink as _};
use crate::request::Request;
use crate::sweep::{Sweep, Tried};

pub(super) enum ToolJob {
    Sweep { before: Option<Timestamp>, passed: u64, limit: u32, request: Request<Swept> },
    ExpiredLeft { before: Option<Timestamp>, request: Request<ExpiredLeft> },
    Scan { after: Option<Cursor>, limit: u32, request: Request<Scan> },
    Statistics { request: Request<Statistics> },
    Strain { request: Request<Strain> },
    Identity { request: Request<Option<Identity>> },
    Feeds { request: Request<Feeds> },
    CheckColumns { request: Request<()> },
    OtherColumns { request: Request<Vec<Column>> },
    MissingSchema { request: Request<Vec<String>> },
    CreateSchema { request: Request<Vec<String>> },
    Side(SideJob),
}

/// What tools and tasks do with side tables.
pub(super) enum SideJob {
    Missing { request: Request<Vec<String>> },
    Prepare { request: Request<Vec<String>> },
    MakeFence { migration: Arc<str>, request: Request<()> },
    Seal { words: Arc<str>, request: Request<()> },
    Fence { migration: Arc<str>, request: Request<Option<Epoch>> },
    Raise { fence: Fence, request: Request<Epoch> },
    Mark { keys: Arc<[SessionKey]>, home: Side, fence: Fence, request: Request<()> },
    Rows { keys: Arc<[SessionKey]>, fence: Fence, request: Request<Vec<MarkedRow>> },
    Marks { fence: Fence, limit: u32, request: Request<Vec<Mark>> },
    ClearMarks { marks: Arc<[Mark]>, fence: Fence, request: Request<u64> },
    CountMarks { fence: Fence, request: Request<u64> },
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
        ToolJob::Sweep { before, passed, limit, request } => {
            sweep(lane, before, Sweep::new(passed, limit), request).await;
        }
        ToolJob::ExpiredLeft { before, request } => {
            serve(lane, request, |link, deadline| Box::pin(link.expired_left(before, deadline))).await;
        }
        ToolJob::Scan { after, limit, request } => scan(lane, after, limit, request).await,
        ToolJob::Statistics { request } => {
            serve(lane, request, |link, deadline| Box::pin(link.statistics(deadline))).await;
        }
        ToolJob::Strain { request } => serve(lane, request, |link, _| Box::pin(link.strain())).await,
        ToolJob::Identity { request } => serve(lane, request, |link, _| Box::pin(link.identity())).await,
        ToolJob::Feeds { request } => serve(lane, request, |link, _| Box::pin(link.feeds())).await,
        ToolJob::CheckColumns { request } => serve(lane, request, |link, _| Box::pin(link.check_columns())).await,
        ToolJob::OtherColumns { request } => serve(lane, request, |link, _| Box::pin(link.other_columns())).await,
        ToolJob::MissingSchema { request } => serve(lane, request, |link, _| Box::pin(link.missing_schema())).await,
        ToolJob::CreateSchema { request } => {
            serve(lane, request, |link, _| Box::pin(create_schema(link))).await;
        }
        ToolJob::Side(job) => work_aside(lane, job).await,
    }
}

async fn work_aside<D: Driver>(lane: &mut Lane<D>, job: SideJob) {
    match job {
        SideJob::Missing { request } => serve(lane, request, |link, _| Box::pin(link.missing_side_tables())).await,
        SideJob::Prepare { request } => serve(lane, request, |link, _| Box::pin(make_side_tables(link))).await,
        SideJob::MakeFence { migration, request } => {
            serve(lane, request, |link, _| {
                let migration = Arc::clone(&migration);
                Box::pin(async move { link.make_fence(&migration).await })
            })
            .await;
        }
        SideJob::Seal { words, request } => {
            serve(lane, request, |link, deadline| {
                let words = Arc::clone(&words);
                Box::pin(async move { link.seal(&words, deadline).await })
            })
            .await;
        }
        SideJob::Fence { migration, request } => {
            serve(lane, request, |link, _| {
                let migration = Arc::clone(&migration);
                Box::pin(async move { link.fence(&migration).await })
            })
            .await;
        }
        SideJob::Raise { fence, request } => raise(lane, &fence, request).await,
        SideJob::Mark { keys, home, fence, request } => {
            serve(lane, request, |link, _| {
                let (keys, fence) = (Arc::clone(&keys), fence.clone());
                Box::pin(async move { link.mark(&keys, home, &fence).await })
            })
            .await;
        }
        SideJob::Rows { keys, fence, request } => {
            serve(lane, request, |link, _| {
                let (keys, fence) = (Arc::clone(&keys), fence.clone());
                Box::pin(async move { link.marked_rows(&keys, &fence).await })
            })
            .await;
        }
        SideJob::Marks { fence, limit, request } => {
            serve(lane, request, |link, _| {
                let fence = fence.clone();
                Box::pin(async move { link.marks(&fence, limit).await })
            })
            .await;
        }
        SideJob::ClearMarks { marks, fence, request } => {
            serve(lane, request, |link, deadline| {
                let (marks, fence) = (Arc::clone(&marks), fence.clone());
                Box::pin(async move { link.clear_marks(&marks, &fence, deadline).await })
            })
            .await;
        }
        SideJob::CountMarks { fence, request } => {
            serve(lane, request, |link, _| {
                let fence = fence.clone();
                Box::pin(async move { link.count_marks(&fence).await })
            })
            .await;
        }
    }
}

/// Tries once: while a raise waits, writers queue behind it.
async fn raise<D: Driver>(lane: &mut Lane<D>, fence: &Fence, request: Request<Epoch>) {
    let Some(request) = request.begin() else { return };
    let deadline = request.deadline();
    let raised = lane.run(deadline, |link| {
        let fence = fence.clone();
        Box::pin(async move { link.raise(&fence, deadline).await })
    });
    let raised = raised.await.map_err(DatabaseError::from);
    request.answer(raised);
}

async fn make_side_tables<L: Link>(link: &mut L) -> Result<Vec<String>, Failure> {
    let missing = link.missing_side_tables().await?;
    link.execute_schema(&missing).await?;
    Ok(missing)
}

async fn serve<D: Driver, T>(
    lane: &mut Lane<D>,
    request: Request<T>,
    mut operation: impl for<'a> FnMut(&'a mut D::Link, Instant) -> Operation<'a, T>,
) {
    let Some(request) = request.begin() else { return };
    let deadline = request.deadline();
    let done = lane.run_patiently(deadline, |link| operation(link, deadline)).await;
    request.answer(done.map_err(DatabaseError::from));
}

async fn create_schema<L: Link>(link: &mut L) -> Result<Vec<String>, Failure> {
    let missing = link.missing_schema().await?;
    link.execute_schema(&missing).await?;
    Ok(missing)
}

async fn sweep<D: Driver>(lane: &mut Lane<D>, before: Option<Timestamp>, mut sweep: Sweep, request: Request<Swept>) {
    let Some(request) = request.begin() else { return };
    let deadline = request.deadline();
    while let Some((rows, passed)) = sweep.next() {
        match lane.run(deadline, |link| Box::pin(link.delete_expired(before, rows, passed))).await {
            Ok((found, deleted)) => sweep.tried(Tried::Done { found, deleted }),
            // A trigger that does not suit the table says so in the same way as the table itself.
            Err(Trouble::Row(message) | Trouble::Refused(DatabaseError::Corrupt { message })) => {
                sweep.tried(Tried::Refused(message));
            }
            Err(Trouble::Busy(message)) => sweep.tried(Tried::Held(message)),
            Err(Trouble::Refused(error) | Trouble::Failed(error)) => sweep.failed(error),
        }
    }
    request.answer(sweep.end());
}

/// A row that the server cannot give out makes it refuse the whole page: then ever smaller ones are asked for, and the
/// row is passed by itself.
async fn scan<D: Driver>(lane: &mut Lane<D>, after: Option<Cursor>, limit: u32, request: Request<Scan>) {
    let Some(request) = request.begin() else { return };
    let deadline = request.deadline();
    let (mut limit, mut ahead) = (limit.max(1), true);
    let page = loop {
        let page = lane.run(deadline, |link| {
            let after = after.clone();
            Box::pin(async move { link.scan(after.as_ref(), limit, ahead).await })
        });
        match page.await {
            Err(Trouble::Row(_)) if limit > 1 => limit /= 2,
            Err(Trouble::Row(_)) if ahead => ahead = false,
            Err(Trouble::Row(message)) => {
                let past = lane.run(deadline, |link| {
                    let (after, message) = (after.clone(), message.clone());
                    Box::pin(async move { link.scan_past(after.as_ref(), &message).await })
                });
                break past.await;
            }
            page => break page,
        }
    };
    request.answer(page.map_err(DatabaseError::from));
}
