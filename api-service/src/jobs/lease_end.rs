//! What follows when an execution no longer holds its lease: the same whether the reaper found it
//! silent, its worker started again, or it gave the lease back.

use common::messages::rpc::Outcome;
use jiff::{SignedDuration, Timestamp};

use crate::rules::{Trials, why_give_up};
use crate::store::{GenerationEnd, JobRow, StoreError, Tx};

/// How long a clean that keeps failing is left alone.
const CLEAN_REST: SignedDuration = SignedDuration::from_hours(1);

/// Settles a job that was to be cancelled, else queues it again: to go on, or to be given up.
///
/// A committed backup is neither cancelled nor given up: later executions finish it.
pub(super) async fn lease_is_over(
    tx: &mut Tx,
    job: &JobRow,
    end: GenerationEnd,
    next_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    tx.end_generation(job, end).await?;
    let settings = tx.settings();
    let mut next_at = next_at;
    if !tx.job_is_committed(job).await? {
        if job.cancel_requested {
            // Nobody is left to ask. What the execution leaves is for `clean`.
            return tx.settle(job, &Outcome::Cancelled, None).await;
        }
        let trials = Trials {
            kind: job.kind(),
            failures: job.failures,
            without_progress: tx.now.duration_since(job.mark_at).unsigned_abs(),
            last_error: job.last_error.as_deref(),
        };
        if let Some(reason) = why_give_up(
            &trials,
            settings.jobs.failures_max,
            settings.jobs.snapshot_max_age,
        ) {
            tx.give_job_up(job.id, &reason).await?;
            // The last execution only cleans up; it need not wait.
            next_at = None;
        }
    }
    if job.kind() == common::domain::JobKind::Clean && job.failures >= settings.jobs.failures_max {
        next_at = Some(tx.now + CLEAN_REST);
    }
    let released = end == GenerationEnd::Released;
    tx.queue_again(job, released, next_at).await
}
