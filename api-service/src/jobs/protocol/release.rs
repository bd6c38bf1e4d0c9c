//! `release`: the lease is given back, everything is kept, a later execution goes on.

use common::messages::rpc::{Release, Released};
use jiff::SignedDuration;

use super::lease_end::lease_is_over;
use super::{Protocol, Trouble, held_job, note_stale};
use crate::store::{GenerationEnd, StoreError};

/// Longest wait a worker may ask for.
const RETRY_AFTER_MAX_MS: u64 = 3_600_000;

impl Protocol {
    /// Takes back the failure that the grant counted, except where the job itself is to blame.
    pub(super) async fn release(&self, release: &Release) -> Result<Released, Trouble> {
        let mut tx = self.store.write().await?;
        let fence = &release.fence;
        let Some(job) = held_job(&mut tx, fence).await? else {
            let before = tx.generation_of_claim(fence.job_id, fence.claim_id).await?;
            let was_released = before.is_some_and(|before| {
                before.generation == fence.generation
                    && before.ended == Some(GenerationEnd::Released)
            });
            if was_released {
                return Ok(Released::Queued);
            }
            note_stale(&mut tx, fence).await?;
            tx.commit().await?;
            return Ok(Released::Fenced);
        };
        tx.renew_job(job.id, release.mark).await?;
        let forgive = !release.why.counts_as_failure();
        tx.forgive_failure(job.id, forgive, &release.message)
            .await?;
        let job = tx
            .job(job.id)
            .await?
            .ok_or_else(|| StoreError::Missing(format!("job {}", job.id)))?;
        let wait_ms = release.retry_after_ms.min(RETRY_AFTER_MAX_MS);
        let wait = SignedDuration::from_millis(i64::try_from(wait_ms).unwrap_or_default());
        let next_at = (!wait.is_zero()).then(|| tx.now + wait);
        lease_is_over(&mut tx, &job, GenerationEnd::Released, next_at).await?;
        common::durable!("api.release", tx.commit().await)?;
        tracing::info!(
            job.id = %job.id,
            generation = job.generation,
            why = ?release.why,
            message = release.message,
            "a job was given back"
        );
        Ok(Released::Queued)
    }
}
