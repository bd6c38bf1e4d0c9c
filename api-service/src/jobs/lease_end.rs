//! What follows when an execution no longer holds its lease: the same whether the reaper found it
//! silent, its worker started again, or it gave the lease back.

use std::time::Duration;

use common::messages::rpc::Outcome;
use common::metrics::LEASE_ENDS;
use jiff::{SignedDuration, Timestamp};

use crate::rules::{LastTries, Trials, ends_without_worker, why_give_up};
use crate::store::{GenerationEnd, JobRow, StoreError, Tx};

/// How long a clean that keeps failing is left alone.
const CLEAN_REST: SignedDuration = SignedDuration::from_hours(1);

/// What an execution that fell silent leaves as the last thing that went wrong.
const FELL_SILENT: &str = "the backup worker stopped answering";

/// Settles a job that was to be cancelled, else queues it again: to go on, or to be given up. One
/// that was given up and whose clean-up does not get done is settled too: that a job ends needs no worker.
///
/// A committed backup is neither cancelled nor given up: later executions finish it.
pub(super) async fn lease_is_over(
    tx: &mut Tx,
    job: &JobRow,
    end: GenerationEnd,
    next_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    tx.end_generation(job, end).await?;
    let why = match end {
        GenerationEnd::Lease => "silent",
        GenerationEnd::Released | GenerationEnd::Settled => "released",
    };
    metrics::counter!(LEASE_ENDS, "why" => why).increment(1);
    let settings = tx.settings();
    let mut next_at = next_at;
    let mut last_error = job.last_error.as_deref();
    if end == GenerationEnd::Lease {
        tx.forgive_failure(job.id, false, FELL_SILENT).await?;
        last_error = Some(FELL_SILENT);
    }
    if !tx.job_is_committed(job).await? {
        if job.cancel_requested {
            // Nobody is left to ask. What the execution leaves is for `clean`.
            return tx.settle(job, &Outcome::Cancelled, None).await;
        }
        if let (Some(reason), Some(at)) = (&job.give_up, job.give_up_at) {
            let tries = LastTries {
                given_up_for: elapsed(at, tx.now),
                failures: job.failures,
            };
            let jobs = &settings.jobs;
            if ends_without_worker(tries, jobs.failures_max, jobs.give_up_deadline) {
                let reason = reason.clone();
                return tx.settle(job, &Outcome::Failed { reason }, None).await;
            }
            // Not longer than anybody has patience for it.
            next_at = next_at.map(|next| next.min(at + jobs.give_up_deadline));
        }
        let trials = Trials {
            kind: job.kind(),
            failures: job.failures,
            without_progress: elapsed(job.mark_at, tx.now),
            last_error,
        };
        if job.give_up.is_none()
            && let Some(reason) = why_give_up(
                &trials,
                settings.jobs.failures_max,
                settings.jobs.snapshot_max_age,
            )
        {
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

/// Time from one moment of the wall clock to a later one; none when the clock was set back between.
fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}
