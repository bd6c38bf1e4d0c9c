//! How a job goes from hand to hand: granted, renewed, committed, given up, queued again.

use common::domain::{JobId, JobState};
use jiff::Timestamp;

use super::jobs::JobRow;
use super::row::{micros, plain, stored};
use super::{StoreError, Tx, failed};

impl Tx {
    /// Puts a job whose lease is over back into its queue, and rings for it. One lease that was not `released` leaves
    /// a doubt that lasts as long as its attempt.
    pub(crate) async fn queue_again(
        &mut self,
        job: &JobRow,
        released: bool,
        next_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let now = micros(self.now);
        sqlx::query(
            "UPDATE jobs SET state = 'queued', released = released * $2, next_at = $3, \
             queued_at = $4, published_at = NULL, republished = 0 WHERE id = $1 AND state <> 'settled'",
        )
        .bind(job.id.to_string())
        .bind(i64::from(released))
        .bind(next_at.map(micros))
        .bind(now)
        .execute(self.conn())
        .await
        .map_err(failed("put a job back into its queue"))?;
        self.ring(job.id, &job.queue, job.origin(), next_at).await
    }

    /// Gives a job to a claim, if it waits and its time has come. True: it has it now.
    pub(crate) async fn grant_job(
        &mut self,
        job: JobId,
        claim: &common::messages::rpc::Claim,
        committing: bool,
    ) -> Result<bool, StoreError> {
        let now = micros(self.now);
        let state = if committing {
            JobState::Committing
        } else {
            JobState::Running
        };
        let granted = sqlx::query(
            "UPDATE jobs SET state = $2, generation = generation + 1, failures = failures + 1, \
             claim_id = $3, worker = $4, incarnation = $5, renewals = 0, next_at = NULL, \
             mark_at = CASE WHEN generation = 0 THEN $6 ELSE mark_at END \
             WHERE id = $1 AND state = 'queued' AND cancel_requested = 0 \
             AND (next_at IS NULL OR next_at <= $6)",
        )
        .bind(job.to_string())
        .bind(state.as_str())
        .bind(claim.claim_id.to_string())
        .bind(claim.worker.to_string())
        .bind(claim.incarnation.to_string())
        .bind(now)
        .execute(self.conn())
        .await
        .map_err(failed("grant a job"))?
        .rows_affected();
        Ok(granted == 1)
    }

    /// Counts a renewal; a higher mark is progress and forgives all failures.
    pub(crate) async fn renew_job(&mut self, job: JobId, mark: u64) -> Result<(), StoreError> {
        let now = micros(self.now);
        sqlx::query(
            "UPDATE jobs SET renewals = renewals + 1, \
             failures = CASE WHEN mark < $2 THEN 0 ELSE failures END, \
             mark_at = CASE WHEN mark < $2 THEN $3 ELSE mark_at END, \
             mark = CASE WHEN mark < $2 THEN $2 ELSE mark END WHERE id = $1",
        )
        .bind(job.to_string())
        .bind(stored(mark))
        .bind(now)
        .execute(self.conn())
        .await
        .map_err(failed("renew a lease"))?;
        Ok(())
    }

    /// The commit gate and the cancel, decided by one compare-and-set on one row.
    pub(crate) async fn pass_commit_gate(&mut self, job: JobId) -> Result<bool, StoreError> {
        let passed = sqlx::query(
            "UPDATE jobs SET state = 'committing' WHERE id = $1 AND state = 'running' \
             AND cancel_requested = 0 AND give_up IS NULL",
        )
        .bind(job.to_string())
        .execute(self.conn())
        .await
        .map_err(failed("pass the commit gate"))?
        .rows_affected();
        Ok(passed == 1)
    }

    /// Asks the worker that holds the lease to end the job.
    pub(crate) async fn request_cancel(&mut self, job: JobId) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE jobs SET cancel_requested = 1 WHERE id = $1 AND state IN ('queued', 'running')",
        )
        .bind(job.to_string())
        .execute(self.conn())
        .await
        .map_err(failed("request a cancel"))?;
        Ok(())
    }

    /// Decides that only clean-up is left. The first reason stays. Committed data that is lost can no longer be
    /// finished, so such a job is an ordinary one again.
    pub(crate) async fn give_job_up(&mut self, job: JobId, reason: &str) -> Result<(), StoreError> {
        let now = micros(self.now);
        sqlx::query(
            "UPDATE jobs SET give_up = $2, give_up_at = $3, \
             state = CASE state WHEN 'committing' THEN 'running' ELSE state END \
             WHERE id = $1 AND give_up IS NULL",
        )
        .bind(job.to_string())
        .bind(plain(reason))
        .bind(now)
        .execute(self.conn())
        .await
        .map_err(failed("give a job up"))?;
        Ok(())
    }

    /// Takes a failure back, and notes what went wrong.
    pub(crate) async fn forgive_failure(
        &mut self,
        job: JobId,
        forgive: bool,
        last_error: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE jobs SET last_error = $3, \
             failures = CASE WHEN $2 = 1 AND failures > 0 THEN failures - 1 ELSE failures END \
             WHERE id = $1",
        )
        .bind(job.to_string())
        .bind(i64::from(forgive))
        .bind(plain(last_error))
        .execute(self.conn())
        .await
        .map_err(failed("note why a job was released"))?;
        Ok(())
    }

    /// Moves a backup job to its next attempt, which begins at nothing.
    pub(crate) async fn set_attempt(&mut self, job: JobId, number: u32) -> Result<(), StoreError> {
        sqlx::query("UPDATE jobs SET attempt = $2, mark = 0, released = 1 WHERE id = $1")
            .bind(job.to_string())
            .bind(i64::from(number))
            .execute(self.conn())
            .await
            .map_err(failed("move a job to its next attempt"))?;
        Ok(())
    }

    /// Not to be granted before.
    pub(crate) async fn postpone(
        &mut self,
        job: &JobRow,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        self.forget_doorbells(job.id).await?;
        self.queue_again(job, job.released, Some(until)).await
    }
}
