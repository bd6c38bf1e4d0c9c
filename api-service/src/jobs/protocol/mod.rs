//! What workers ask, one file each. Every answer is one transaction, durable before it is sent.
//!
//! ```text
//! claim ─► renew … renew ─► commit ─► finish          the good way
//!   │        ├─► frozen, restart                      which data the attempt is made of
//!   │        ├─► fail ─► finish                       step E: first the word, then the deleting
//!   │        └─► release                              back into the queue
//!   └─ duplicate · busy · cancelled                   nothing to do here
//! ```
//!
//! **Invariant.** A request whose fence is not the lease's changes nothing but the queueing of a
//! clean for what its sender may still have written; it is answered `Fenced`. A request that was
//! carried out is answered the same way when it comes again.

mod claim;
mod commit;
mod fail;
mod finish;
mod frozen;
mod release;
mod renew;
mod restart;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use common::broker::RpcHandler;
use common::domain::JobKind;
use common::messages::rpc::{Fence, Reply, Request};
use common::metrics::WORKER_REQUESTS;
use common::telemetry::error_chain;
use serde::Serialize;

use super::{Intake, lease_end};
use crate::store::{AttemptState, JobRow, Store, StoreError, Tx};

/// Answers workers.
#[derive(Debug, Clone)]
pub struct Protocol {
    store: Store,
    intake: Arc<dyn Intake>,
}

/// Why a request gets no answer of its own kind.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// The database failed: ask again.
    #[error("reach the database")]
    Store(#[from] StoreError),
    /// It makes no sense for this job: asking again is no use.
    #[error("{0}")]
    Malformed(String),
}

impl Protocol {
    /// Answers from these rows.
    #[must_use]
    pub fn new(store: Store, intake: Arc<dyn Intake>) -> Self {
        Self { store, intake }
    }
}

#[async_trait]
impl RpcHandler for Protocol {
    async fn handle(&self, request: Request) -> Vec<u8> {
        let began = Instant::now();
        let (name, answer) = match request {
            Request::Claim(claim) => ("claim", written(self.claim(&claim).await)),
            Request::Renew(renew) => ("renew", written(self.renew(&renew).await)),
            Request::Frozen(report) => ("frozen", written(self.frozen(&report).await)),
            Request::Restart(restart) => ("restart", written(self.restart(&restart).await)),
            Request::Fail(fail) => ("fail", written(self.fail(&fail).await)),
            Request::Commit(commit) => ("commit", written(self.commit(&commit).await)),
            Request::Release(release) => ("release", written(self.release(&release).await)),
            Request::Finish(finish) => ("finish", written(self.finish(&finish).await)),
            Request::Submit(submit) => {
                let taken = self.intake.take(&submit).await;
                ("submit", written(taken.map_err(Trouble::Store)))
            }
        };
        metrics::histogram!(WORKER_REQUESTS, "request" => name).record(began.elapsed());
        answer
    }
}

fn written<A: Serialize>(answer: Result<A, Trouble>) -> Vec<u8> {
    let reply = match answer {
        Ok(answer) => Reply::Answer(answer),
        Err(Trouble::Store(error)) => {
            let why = error_chain(&error);
            tracing::warn!(why, "a worker has to ask again");
            Reply::TryAgain(why)
        }
        Err(Trouble::Malformed(why)) => {
            tracing::error!(why, "a worker asked for what cannot be");
            Reply::Malformed(why)
        }
    };
    serde_json::to_vec(&reply).expect("answers hold nothing that JSON cannot write")
}

/// The job, if this fence is its lease.
async fn held_job(tx: &mut Tx, fence: &Fence) -> Result<Option<JobRow>, StoreError> {
    let job = tx.job(fence.job_id).await?;
    Ok(job.filter(|job| {
        job.is_leased()
            && job.generation == fence.generation
            && job.claim_id == Some(fence.claim_id)
    }))
}

/// Notes that a stale execution has shown itself: it may have written since the last clean of its
/// attempt. An attempt that others still work on is cleaned when it is over.
async fn note_stale(tx: &mut Tx, fence: &Fence) -> Result<(), StoreError> {
    tracing::info!(job.id = %fence.job_id, generation = fence.generation, "a stale execution was fenced");
    let Some(job) = tx.job(fence.job_id).await? else {
        return Ok(());
    };
    let stale = tx.generation_of_claim(fence.job_id, fence.claim_id).await?;
    let stale = stale.filter(|stale| stale.generation == fence.generation);
    let attempt = stale.and_then(|stale| stale.attempt);
    if let (JobKind::Backup, Some(backup), Some(number)) = (job.kind(), job.backup_id, attempt) {
        let attempt = tx.attempt(backup, number).await?;
        if attempt.state != AttemptState::Live {
            let now = tx.now;
            tx.queue_clean(&attempt, now).await?;
        }
    }
    if let (JobKind::Volume, Some(snapshot)) = (job.kind(), job.snapshot_id) {
        tx.remove_stray_snapshot(snapshot, None).await?;
    }
    Ok(())
}

/// What a backup job always has.
fn attempt_of(job: &JobRow) -> Result<(common::domain::BackupId, u32), Trouble> {
    match (job.kind(), job.backup_id, job.attempt) {
        (JobKind::Backup, Some(backup), Some(attempt)) => Ok((backup, attempt)),
        _ => Err(Trouble::Malformed(format!(
            "job {} is a {} and has no attempt",
            job.id,
            job.kind()
        ))),
    }
}

#[cfg(test)]
mod tests;
