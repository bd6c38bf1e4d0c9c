//! Leases end by observation, not by a stored time.
//!
//! The reaper remembers, with its own monotonic clock, since when each lease's `(generation,
//! renewals)` stands still, and ends a lease only when it stood still for `jobs.lease` in which the
//! state owner heard its workers: connected, and with no request left waiting. A restart of this
//! process, a jump of the wall clock, an outage of the broker or a busy queue therefore cost a dead
//! worker's job a fresh lease time, and fence nobody wrongly.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use common::broker::Hearing;
use common::domain::{Incarnation, JobId, WorkerName};
use common::telemetry::error_chain;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::ProgressBoard;
use super::lease_end::lease_is_over;
use crate::store::{GenerationEnd, JobRow, Store, StoreError};

/// What is remembered of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pulse {
    generation: u64,
    renewals: u64,
    /// Since when the two stand still, as far as this process saw.
    since: Instant,
}

/// The memory of all leases.
#[derive(Debug, Default)]
struct Watch {
    pulses: HashMap<JobId, Pulse>,
}

impl Watch {
    /// Notes how the leases stand at `now`, and returns those that are over. `heard_since` is since
    /// when every request has been heard; `None` while deaf.
    fn look<'j>(
        &mut self,
        jobs: &'j [JobRow],
        now: Instant,
        heard_since: Option<Instant>,
        lease: Duration,
    ) -> Vec<&'j JobRow> {
        self.pulses
            .retain(|id, _| jobs.iter().any(|job| job.id == *id));
        let mut over = Vec::new();
        for job in jobs {
            let fresh = Pulse {
                generation: job.generation,
                renewals: job.renewals,
                since: now,
            };
            let pulse = self.pulses.entry(job.id).or_insert(fresh);
            if (pulse.generation, pulse.renewals) != (job.generation, job.renewals) {
                *pulse = fresh;
            }
            let Some(heard_since) = heard_since else {
                continue;
            };
            let silent_since = pulse.since.max(heard_since);
            if now.saturating_duration_since(silent_since) >= lease {
                over.push(job);
            }
        }
        over
    }
}

/// Watches leases until `stop`.
pub(crate) async fn run(
    store: Store,
    board: ProgressBoard,
    hearing: watch::Receiver<Hearing>,
    stop: CancellationToken,
) {
    let jobs = store.settings().jobs.clone();
    let mut watch = Watch::default();
    let mut ticks = tokio::time::interval(jobs.sweep.min(jobs.lease / 4));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = sweep(&store, &board, &mut watch, &hearing).await {
            tracing::warn!(error = error_chain(&error), "leases could not be looked at");
        }
    }
}

async fn sweep(
    store: &Store,
    board: &ProgressBoard,
    watch: &mut Watch,
    hearing: &watch::Receiver<Hearing>,
) -> Result<(), StoreError> {
    let leased = store.leased_jobs().await?;
    // Read after the rows: what was heard by then is in them, or its handling is counted as a wait.
    let heard_since = match *hearing.borrow() {
        Hearing::Deaf => None,
        Hearing::Since(since) => Some(since),
    };
    let lease = store.settings().jobs.lease;
    for job in watch.look(&leased, Instant::now(), heard_since, lease) {
        tracing::warn!(
            job.id = %job.id,
            generation = job.generation,
            worker = job.worker.as_ref().map(WorkerName::as_str).unwrap_or_default(),
            "a lease is over: it was not renewed"
        );
        end_lease(store, job).await?;
    }
    for id in board.remembered() {
        if !leased.iter().any(|job| job.id == id)
            && store.job(id).await?.is_none_or(|job| job.outcome.is_some())
        {
            board.settled(id);
        }
    }
    Ok(())
}

/// Ends a lease if it is still as it was seen: a renewal that came meanwhile saves it.
pub(crate) async fn end_lease(store: &Store, seen: &JobRow) -> Result<(), StoreError> {
    let mut tx = store.write().await?;
    let Some(job) = tx.job(seen.id).await? else {
        return Ok(());
    };
    if !job.is_leased() || (job.generation, job.renewals) != (seen.generation, seen.renewals) {
        return Ok(());
    }
    lease_is_over(&mut tx, &job, GenerationEnd::Lease, None).await?;
    tx.commit().await
}

/// A worker has started: what its smaller incarnations held, nobody does.
pub(crate) async fn worker_started(
    store: &Store,
    worker: &WorkerName,
    incarnation: Incarnation,
) -> Result<(), StoreError> {
    for seen in store.leased_jobs().await? {
        let is_earlier = seen.worker.as_ref() == Some(worker)
            && seen.incarnation.is_some_and(|held| held < incarnation);
        if !is_earlier {
            continue;
        }
        let mut tx = store.write().await?;
        let Some(job) = tx.job(seen.id).await? else {
            continue;
        };
        // It may have renewed since; it may not have been granted to somebody else.
        if job.is_leased() && job.generation == seen.generation {
            tracing::info!(job.id = %job.id, worker = worker.as_str(), "a lease is over: its worker started again");
            lease_is_over(&mut tx, &job, GenerationEnd::Lease, None).await?;
            tx.commit().await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
