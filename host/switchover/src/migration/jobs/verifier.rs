//! The verifier compares both databases key by key, and copies what differs.
//!
//! It begins where `mirror` is settled and the epoch is sealed. One process walks over all of old's keys and then over
//! all of new's. What has a mark is in order: the worker copies it.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;

use switchover_core::capabilities::{Cursor, Fence, MarkedRow, Progress, Scan, Side};
use switchover_core::{Session, SessionKey};
use switchover_protocol::{Phase, Verification};

use super::lease::Lease;
use super::pages::{AT_ONCE, pages};
use super::throttle::{Stride, Throttle};
use super::{Jobs, LOOK_EACH, Turn};
use crate::migration::copy::{NoAnswer, copy};
use crate::migration::document::{standing, with_standing};
use crate::migration::member::deadline;
use crate::migration::tool_deadline;

const JOB: &str = "verifier";
/// How often a key that differs is copied and read again.
const COPIES_MAX: u32 = 3;
/// How many red keys of a kind are named, by a short hash.
const NAMED_MAX: usize = 20;
/// After it was whole once, the verification goes on with this part of the time and of the rate.
const SLOW_SHARE: u32 = 10;
/// The pause between two verifications.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Expired rows of new that are deleted in one step.
const SWEPT: u32 = 1_000;

/// How a row differs after all copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Difference {
    Missing,
    Extra,
    Data,
    Expiry,
    Unreadable,
}

impl Difference {
    const ALL: [Self; 5] = [Self::Missing, Self::Extra, Self::Data, Self::Expiry, Self::Unreadable];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Data => "data",
            Self::Expiry => "expiry",
            Self::Unreadable => "unreadable",
        }
    }
}

/// What a verification has found.
#[derive(Default)]
struct Findings {
    counts: [u64; Difference::ALL.len()],
    named: Vec<(Difference, String)>,
    /// Keys that differed and were copied.
    copied: u64,
}

impl Findings {
    fn add(&mut self, difference: Difference, hash: String) {
        self.counts[difference as usize] += 1;
        if self.named.iter().filter(|(other, _)| *other == difference).count() < NAMED_MAX {
            self.named.push((difference, hash));
        }
    }

    fn is_red(&self) -> bool {
        self.counts.iter().any(|count| *count > 0)
    }

    /// The counts, and the short hashes of red keys, for people.
    fn note(&self, doing: &str) -> String {
        let mut note = doing.to_owned();
        for difference in Difference::ALL {
            note += &format!(", {} {}", difference.as_str(), self.counts[difference as usize]);
            let named = self.named.iter().filter(|(other, _)| *other == difference);
            let named = named.map(|(_, hash)| hash.as_str()).collect::<Vec<_>>();
            if !named.is_empty() {
                note += &format!(" ({})", named.join(" "));
            }
        }
        format!("{note}; copied {}", self.copied)
    }
}

/// Runs until the host closes.
pub(super) async fn run(jobs: Jobs) {
    let wanted = |turn: &Turn| {
        let standing = standing(&turn.document).ok()?;
        let verification = standing.verification()?;
        let is_of_the_epoch = turn.phase == Phase::Mirror && turn.document.epoch == turn.fence.epoch;
        is_of_the_epoch.then_some((verification, standing.is_verified(), turn.document.version))
    };
    while let Some((lease, _, (verification, is_verified, version))) = Lease::next(&jobs, JOB, wanted).await {
        verify(&jobs, lease, verification, if is_verified { SLOW_SHARE } else { 1 }).await;
        // After a red one, the operator has something to correct first.
        jobs.turns.changed(version, AGAIN_AFTER).await;
    }
}

/// One whole verification, from the first key to the last.
async fn verify(jobs: &Jobs, mut lease: Lease<'_>, verification: Verification, share: u32) {
    let (mut findings, mut progress) = (Findings::default(), Progress::default());
    let mut throttle = Throttle::slowed(share);
    for from in [Side::Old, Side::New] {
        let doing = if from == Side::Old { "compares old with new" } else { "compares new with old" };
        let mut after = None;
        loop {
            throttle.look(jobs).await;
            let began = Instant::now();
            let Some(turn) = jobs.turns.turn().filter(|turn| turn.fence.epoch == lease.epoch) else {
                return lease.leave(progress).await;
            };
            let document = turn.document.clone();
            if let Some(why) = throttle.held(&document) {
                drop(turn);
                progress.note = why;
                throttle.rest().await;
            } else {
                let stride = throttle.stride(&document);
                let looked = look(jobs, &turn.fence, from, stride, &mut after, &mut findings).await;
                drop(turn);
                match looked {
                    Ok((rows, there_are_more)) => {
                        progress.done += rows;
                        progress.note = findings.note(doing);
                        throttle.after(rows, began.elapsed(), &document).await;
                        if !there_are_more {
                            break;
                        }
                    }
                    Err(NoAnswer { side, error }) => {
                        throttle.failed(&error);
                        progress.note = format!("waits: {}: {error}", jobs.pair.database(side).summary());
                        tokio::time::sleep(LOOK_EACH).await;
                    }
                }
            }
            if !lease.keep(&progress).await {
                return;
            }
        }
    }
    match sweep_new(jobs, &mut lease, &mut findings, &progress).await {
        Swept::All => {}
        Swept::Lost => return,
        Swept::Ended => return lease.leave(progress).await,
    }
    progress.note = findings.note(if findings.is_red() { "red" } else { "whole" });
    if !findings.is_red() {
        is_whole(jobs, verification).await;
        tracing::info!(rows = progress.done, "a verification is whole");
    }
    lease.leave(progress).await;
}

impl Findings {
    fn merge(&mut self, page: Self) {
        for (count, more) in self.counts.iter_mut().zip(page.counts) {
            *count += more;
        }
        for (difference, hash) in page.named {
            if self.named.iter().filter(|(other, _)| *other == difference).count() < NAMED_MAX {
                self.named.push((difference, hash));
            }
        }
        self.copied += page.copied;
    }
}

/// Compares the next pages of a database with the other one. Returns their rows, and whether there are more.
async fn look(
    jobs: &Jobs,
    fence: &Fence,
    from: Side,
    stride: Stride,
    after: &mut Option<Cursor>,
    findings: &mut Findings,
) -> Result<(u64, bool), NoAnswer> {
    let scans = pages(jobs, from, after.clone(), stride.rows).take(stride.pages);
    let compared = scans.map(|scanned| async move {
        let scanned = scanned?;
        let next = scanned.next.clone();
        let (rows, found) = compare(jobs, fence, from, scanned).await?;
        Ok((rows, found, next))
    });
    let (mut compared, mut done, mut there_are_more) = (pin!(compared.buffered(AT_ONCE)), 0, true);
    while let Some(page) = compared.next().await {
        let (rows, found, next) = page?;
        findings.merge(found);
        done += rows;
        there_are_more = next.is_some();
        if there_are_more {
            *after = next;
        }
    }
    Ok((done, there_are_more))
}

/// Compares one page of a database with the other one.
async fn compare(jobs: &Jobs, fence: &Fence, from: Side, scanned: Scan) -> Result<(u64, Findings), NoAnswer> {
    let mut findings = Findings::default();
    let rows = scanned.sessions.len() as u64 + scanned.expired + scanned.unreadable.len() as u64;
    scanned.unreadable.into_iter().for_each(|row| findings.add(Difference::Unreadable, row.row));
    let other = if from == Side::Old { Side::New } else { Side::Old };
    let keys: Vec<SessionKey> = scanned.sessions.iter().map(|session| session.key.clone()).collect();
    let twins = rows_of(jobs, other, &keys, fence).await?;
    let mut suspects: Vec<SessionKey> = Vec::new();
    for (session, twin) in scanned.sessions.iter().zip(twins) {
        if !matches!(&twin.row, Ok(Some(twin)) if twin == session) {
            suspects.push(session.key.clone());
        }
    }
    for copies in 0..=COPIES_MAX {
        suspects = different(jobs, &suspects, fence, (copies == COPIES_MAX).then_some(&mut findings)).await?;
        if suspects.is_empty() || copies == COPIES_MAX {
            break;
        }
        findings.copied += copy(&jobs.pair, &suspects, fence, Side::Old, jobs.patience).await?.done;
    }
    Ok((rows, findings))
}

async fn rows_of(jobs: &Jobs, side: Side, keys: &[SessionKey], fence: &Fence) -> Result<Vec<MarkedRow>, NoAnswer> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let rows = jobs.pair.side_tables(side)?.rows(keys.to_vec(), fence.clone(), tool_deadline(jobs.patience)).await;
    rows.map_err(|error| NoAnswer { side, error })
}

/// Which of these keys differ now and have no mark. At last, each of them is red.
async fn different(
    jobs: &Jobs,
    keys: &[SessionKey],
    fence: &Fence,
    mut red: Option<&mut Findings>,
) -> Result<Vec<SessionKey>, NoAnswer> {
    // Old's row and its mark are one snapshot, and older than new's row: what is written meanwhile has a mark by now,
    // or differs and is looked at again.
    let olds = rows_of(jobs, Side::Old, keys, fence).await?;
    let news = rows_of(jobs, Side::New, keys, fence).await?;
    let mut different = Vec::new();
    for ((key, old), new) in keys.iter().zip(olds).zip(news) {
        if old.token.is_some() {
            continue;
        }
        let difference = match (&old.row, &new.row) {
            (Err(_), _) | (_, Err(_)) => Difference::Unreadable,
            (Ok(None), Ok(None)) => continue,
            (Ok(Some(_)), Ok(None)) => Difference::Missing,
            (Ok(None), Ok(Some(_))) => Difference::Extra,
            (Ok(Some(old)), Ok(Some(new))) if old == new => continue,
            (Ok(Some(old)), Ok(Some(new))) => kind_of(old, new),
        };
        different.push(key.clone());
        if let Some(findings) = &mut red {
            findings.add(difference, key.short_hash());
        }
    }
    Ok(different)
}

fn kind_of(old: &Session, new: &Session) -> Difference {
    if old.payload == new.payload && old.others == new.others { Difference::Expiry } else { Difference::Data }
}

/// How a sweep of new ended.
enum Swept {
    All,
    /// The host is closing, or another epoch has begun.
    Ended,
    /// Somebody else does the job.
    Lost,
}

/// Deletes new's rows that have ended. The walk over new saw living rows alone: a row that ended before it is gone
/// after this, and so no later phase finds it. What cannot be deleted is red.
async fn sweep_new(jobs: &Jobs, lease: &mut Lease<'_>, findings: &mut Findings, progress: &Progress) -> Swept {
    let mut passed = 0;
    loop {
        let Some(turn) = jobs.turns.turn().filter(|turn| turn.fence.epoch == lease.epoch) else { return Swept::Ended };
        let swept = jobs.pair.new.upkeep().sweep(None, passed, SWEPT, tool_deadline(jobs.patience)).await;
        drop(turn);
        match swept {
            Ok(swept) => {
                passed += swept.passed();
                if !swept.more {
                    for _ in 0..passed {
                        findings.add(Difference::Extra, "an ended row that cannot be deleted".to_owned());
                    }
                    return Swept::All;
                }
            }
            Err(error) => {
                tracing::debug!("ended rows of the new database were not deleted: {error}");
                tokio::time::sleep(LOOK_EACH).await;
            }
        }
        if !lease.keep(progress).await {
            return Swept::Lost;
        }
    }
}

/// Says in the document that the verification was whole, if it is still about the same epochs.
async fn is_whole(jobs: &Jobs, verification: Verification) {
    loop {
        let document = jobs.control.document(jobs.member.migration.clone(), deadline()).await;
        let Ok(Some(document)) = document else { return };
        let Some(next) = standing(&document).ok().and_then(|standing| standing.after_verification(verification)) else {
            return;
        };
        match jobs.control.replace(with_standing(&document, &next), None, deadline()).await {
            Ok(false) => {}
            Ok(true) | Err(_) => return,
        }
    }
}
