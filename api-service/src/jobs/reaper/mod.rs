//! Leases end by observation, not by a stored time.
//!
//! The reaper remembers, with its own monotonic clock, since when each lease's `(generation,
//! renewals)` stands still, and ends a lease only when it stood still for `jobs.lease` in which the
//! state owner heard its workers: connected, and with no request left waiting. A restart of this
//! process, a jump of the wall clock, an outage of the broker or a busy queue therefore cost a dead
//! worker's job a fresh lease time, and fence nobody wrongly.
//!
//! A worker can also live and renew while its work hangs. Such a job's mark stands still, and after
//! `jobs.snapshot_max_age` its lease is ended too, so that it is given up and not held for ever.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use common::broker::Hearing;
use common::domain::{Incarnation, JobId, JobKind, JobState, WorkerName};
use common::telemetry::error_chain;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::leader::Leading;
use super::lease_end::lease_is_over;
use crate::store::{GenerationEnd, JobRow, Store, StoreError};

/// What is remembered of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pulse {
    generation: u64,
    renewals: u64,
    /// Since when the two stand still, as far as this process saw.
    since: Instant,
    mark: u64,
    /// Since when generation and mark stand still, as far as this process saw.
    mark_since: Instant,
}

/// The part of `jobs.snapshot_max_age` in which this process must have seen no progress itself. The
/// rows alone are not believed: a suspended machine wakes up days later by the wall clock.
const SEEN_HANGING_PART: u32 = 24;

/// The memory of all leases.
#[derive(Debug, Default)]
struct Watch {
    pulses: HashMap<JobId, Pulse>,
}

impl Watch {
    /// Notes how the leases stand at `now`, and returns those that are over. `heard` is the time in
    /// which every request was heard, without a break; `None` while deaf.
    fn look<'j>(
        &mut self,
        jobs: &'j [JobRow],
        now: Instant,
        heard: Option<(Instant, Instant)>,
        lease: Duration,
    ) -> Vec<&'j JobRow> {
        let leased: HashSet<JobId> = jobs.iter().map(|job| job.id).collect();
        self.pulses.retain(|id, _| leased.contains(id));
        let mut over = Vec::new();
        for job in jobs {
            let fresh = Pulse {
                generation: job.generation,
                renewals: job.renewals,
                since: now,
                mark: job.mark,
                mark_since: now,
            };
            let pulse = self.pulses.entry(job.id).or_insert(fresh);
            if (pulse.generation, pulse.mark) != (job.generation, job.mark) {
                *pulse = fresh;
            }
            if pulse.renewals != job.renewals {
                (pulse.renewals, pulse.since) = (job.renewals, now);
            }
            let Some((heard_since, heard_until)) = heard else {
                continue;
            };
            let silent_since = pulse.since.max(heard_since);
            if heard_until.saturating_duration_since(silent_since) >= lease {
                over.push(job);
            }
        }
        over
    }

    /// Whether a job hangs under a worker that goes on renewing. Only jobs that report a mark can be
    /// told from busy ones; behind the commit gate nothing is given up.
    fn hangs(&self, job: &JobRow, at: Moment, age_max: Duration) -> bool {
        let reports_marks = matches!(job.kind(), JobKind::Backup | JobKind::Restore);
        if !reports_marks || job.state != JobState::Running {
            return false;
        }
        let since = job.give_up_at.map_or(job.mark_at, |at| at.max(job.mark_at));
        let age = at.wall.duration_since(since);
        let seen = self.pulses.get(&job.id).map_or(Duration::ZERO, |pulse| {
            at.own.saturating_duration_since(pulse.mark_since)
        });
        age.is_positive() && age.unsigned_abs() > age_max && seen >= age_max / SEEN_HANGING_PART
    }
}

/// One moment by the two clocks.
#[derive(Debug, Clone, Copy)]
struct Moment {
    own: Instant,
    wall: Timestamp,
}

/// Watches leases until `stop`, while this process has the lead. Whoever takes it over has seen nothing yet.
pub(crate) async fn run(
    store: Store,
    hearing: watch::Receiver<Hearing>,
    leading: Leading,
    stop: CancellationToken,
) {
    let jobs = store.settings().jobs.clone();
    let mut watch = Watch::default();
    let mut ticks = tokio::time::interval(jobs.sweep.min(jobs.lease / 4));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if !*leading.borrow() {
            watch = Watch::default();
            continue;
        }
        if let Err(error) = sweep(&store, &mut watch, &hearing).await {
            tracing::warn!(error = error_chain(&error), "leases could not be looked at");
        }
    }
}

async fn sweep(
    store: &Store,
    watch: &mut Watch,
    hearing: &watch::Receiver<Hearing>,
) -> Result<(), StoreError> {
    let leased = store.leased_jobs().await?;
    // Read after the rows: what was heard by then is in them, or its handling is counted as a wait.
    let heard = match *hearing.borrow() {
        Hearing::Deaf => None,
        Hearing::Heard { since, until } => Some((since, until)),
    };
    let lease = store.settings().jobs.lease;
    for job in watch.look(&leased, Instant::now(), heard, lease) {
        tracing::warn!(
            job.id = %job.id,
            generation = job.generation,
            worker = job.worker.as_ref().map(WorkerName::as_str).unwrap_or_default(),
            "a lease is over: it was not renewed"
        );
        end_lease(store, job).await?;
    }
    let at = Moment {
        own: Instant::now(),
        wall: store.now(),
    };
    let age_max = store.settings().jobs.snapshot_max_age;
    for job in leased.iter().filter(|job| watch.hangs(job, at, age_max)) {
        tracing::warn!(job.id = %job.id, generation = job.generation, "a lease is over: the job hangs");
        end_lease(store, job).await?;
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
