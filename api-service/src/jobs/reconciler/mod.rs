//! A job that should run and does not is found here, whatever happened to its message.
//!
//! * Its queue holds fewer messages than jobs wait: rung again, ever more rarely.
//! * No live worker for it for `jobs.queue_deadline`, counted only while workers are heard: ended.
//! * Nobody came to clean up a job that is given up: ended, its names are left to `clean`.
//! * Settled jobs and tombstones past their time: removed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use common::broker::{BrokerError, Link, LinkState, queue_depth, topology};
use common::domain::{JobId, JobKind, JobState, QueueKey};
use common::messages::rpc::Outcome;
use common::telemetry::error_chain;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::LiveWorkers;
use super::leader::Leading;
use crate::store::{JobRow, Store, StoreError};

/// How often it is looked for what is over.
const OVER_LOOK: Duration = Duration::from_secs(3600);
/// Doublings of the time between two messages of one job.
const REPUBLISH_DOUBLINGS_MAX: u32 = 6;

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("look at jobs that wait")]
    Store(#[from] StoreError),
    #[error("look at their queues")]
    Broker(#[from] BrokerError),
}

/// Looks every `jobs.sweep` until `stop`, while this process has the lead.
pub(crate) async fn run(
    store: Store,
    workers: LiveWorkers,
    link: Link,
    leading: Leading,
    stop: CancellationToken,
) {
    let mut reconciler = Reconciler {
        store,
        workers,
        link,
        unserved: HashMap::new(),
        looked_at: Instant::now(),
        over_at: None,
    };
    let mut ticks = tokio::time::interval(reconciler.store.settings().jobs.sweep);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if !*leading.borrow() {
            // Whoever takes the lead over counts from the beginning.
            reconciler.unserved.clear();
            reconciler.looked_at = Instant::now();
            continue;
        }
        match stop.run_until_cancelled(reconciler.look()).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::warn!(error = error_chain(&error), "jobs could not be reconciled");
            }
        }
    }
}

struct Reconciler {
    store: Store,
    workers: LiveWorkers,
    link: Link,
    /// For how long each waiting job has been without a live worker, while workers were heard.
    unserved: HashMap<JobId, Duration>,
    looked_at: Instant,
    over_at: Option<Instant>,
}

impl Reconciler {
    async fn look(&mut self) -> Result<(), Trouble> {
        // A look that waited for the broker is no time in which a worker could have come.
        let sweep = self.store.settings().jobs.sweep;
        let elapsed = self.looked_at.elapsed().min(sweep * 2);
        self.looked_at = Instant::now();
        let waiting = self.store.waiting_jobs().await?;
        self.count_unserved(&waiting, elapsed);
        for job in &waiting {
            if let Some(reason) = self.why_end(job) {
                end_waiting(&self.store, job, &reason).await?;
            }
        }
        if self.link.is_up() {
            self.ring_lost(&waiting).await?;
        }
        if self.over_at.is_none_or(|at| at.elapsed() >= OVER_LOOK) {
            let mut tx = self.store.write().await?;
            let removed = tx.remove_what_is_over().await?;
            tx.commit().await?;
            // What is left of a heap goes at the next looks.
            self.over_at = (removed == 0).then(Instant::now);
            if removed > 0 {
                tracing::info!(removed, "rows whose time is over were removed");
            }
        }
        Ok(())
    }

    /// Adds the time since the last look to every job that nobody alive could have taken.
    fn count_unserved(&mut self, waiting: &[JobRow], elapsed: Duration) {
        let ids: HashSet<JobId> = waiting.iter().map(|job| job.id).collect();
        self.unserved.retain(|id, _| ids.contains(id));
        // A broker that takes no messages takes no signs of life either.
        let is_muted = *self.link.state().borrow() == LinkState::Blocked;
        if self.workers.are_unheard() || is_muted {
            return;
        }
        // Thousands may wait in one queue.
        let mut served: HashMap<&QueueKey, bool> = HashMap::new();
        for job in waiting {
            let is_served = served.entry(&job.queue);
            if *is_served.or_insert_with(|| self.workers.serve(&job.queue)) {
                self.unserved.remove(&job.id);
            } else {
                *self.unserved.entry(job.id).or_default() += elapsed;
            }
        }
    }

    /// Why a waiting job is to be ended without a worker.
    fn why_end(&self, job: &JobRow) -> Option<String> {
        if job.kind() == JobKind::Clean {
            return None;
        }
        let jobs = &self.store.settings().jobs;
        if let (Some(reason), Some(at)) = (&job.give_up, job.give_up_at)
            && is_past(self.store.now(), at, jobs.give_up_deadline)
        {
            return Some(reason.clone());
        }
        let unserved = self.unserved.get(&job.id).copied().unwrap_or_default();
        (unserved >= jobs.queue_deadline).then(|| {
            format!(
                "No backup worker for {} in zone {} came within {} s.",
                job.queue.backend,
                job.queue.zone,
                jobs.queue_deadline.as_secs()
            )
        })
    }

    /// Rings again for jobs whose messages are gone: a purged or lost queue, a broker rebuilt empty.
    async fn ring_lost(&self, waiting: &[JobRow]) -> Result<(), Trouble> {
        let now = self.store.now();
        let mut queues: BTreeMap<&QueueKey, Vec<&JobRow>> = BTreeMap::new();
        for job in waiting {
            queues.entry(&job.queue).or_default().push(job);
        }
        let after = self.store.settings().jobs.republish_after;
        for (queue, jobs) in queues {
            let overdue: Vec<_> = jobs
                .iter()
                .filter(|job| is_overdue(job, now, after))
                .collect();
            if overdue.is_empty() {
                continue;
            }
            let channel = self.link.channel().await?;
            topology::declare_job_queue(&channel, queue).await?;
            let ready = queue_depth(&channel, &topology::job_queue(queue)).await?;
            let missing = jobs.len().saturating_sub(ready as usize);
            for job in overdue.into_iter().take(missing) {
                ring_once_more(&self.store, job).await?;
            }
        }
        Ok(())
    }
}

fn is_past(now: Timestamp, since: Timestamp, limit: Duration) -> bool {
    now.duration_since(since) >= SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX)
}

/// Whether a job's message was published so long ago that it may be lost. Each one sent for nothing
/// doubles the patience.
fn is_overdue(job: &JobRow, now: Timestamp, after: Duration) -> bool {
    let patience = after * 2_u32.pow(job.republished.min(REPUBLISH_DOUBLINGS_MAX));
    is_past(now, job.published_at.unwrap_or(job.queued_at), patience)
}

async fn ring_once_more(store: &Store, job: &JobRow) -> Result<(), StoreError> {
    let mut tx = store.write().await?;
    let still = tx.job(job.id).await?;
    let waits = still.is_some_and(|job| job.state == JobState::Queued);
    if waits && !tx.doorbell_waits(job.id).await? {
        tracing::info!(job.id = %job.id, queue = %job.queue, "a job's message may be lost: rung again");
        tx.note_republish(job.id).await?;
        tx.ring(job.id, &job.queue, job.origin(), None).await?;
    }
    tx.commit().await
}

/// Ends a job that nobody takes. A committed backup is never ended: it waits to be finished.
async fn end_waiting(store: &Store, seen: &JobRow, reason: &str) -> Result<(), StoreError> {
    let mut tx = store.write().await?;
    let Some(job) = tx.job(seen.id).await? else {
        return Ok(());
    };
    if job.state != JobState::Queued || tx.job_is_committed(&job).await? {
        return Ok(());
    }
    let outcome = Outcome::Failed {
        reason: reason.to_owned(),
    };
    tx.settle(&job, &outcome, None).await?;
    tx.commit().await
}

#[cfg(test)]
mod tests;
