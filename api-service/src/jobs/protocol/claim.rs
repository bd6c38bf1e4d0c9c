//! `claim`: who gets the lease. Step 2 of *Create*, and the beginning of every other job.

use common::domain::{JobKind, JobState};
use common::messages::rpc::{Claim, Claimed, Grant};
use common::messages::sheet::VolumeAction;

use super::{Protocol, Trouble};
use crate::store::{AttemptState, Details, JobRow, StoreError, Tx};

impl Protocol {
    /// The same claim gets the same answer; any other gets the lease only if the job waits.
    pub(super) async fn claim(&self, claim: &Claim) -> Result<Claimed, Trouble> {
        let mut tx = self.store.write().await?;
        let answer = decide(&mut tx, claim).await?;
        common::durable!("api.claim", tx.commit().await)?;
        Ok(answer)
    }
}

async fn decide(tx: &mut Tx, claim: &Claim) -> Result<Claimed, StoreError> {
    let Some(job) = tx.job(claim.job_id).await? else {
        return Ok(Claimed::Duplicate);
    };
    if job.state == JobState::Settled {
        return Ok(match job.outcome.as_deref() {
            Some("cancelled") => Claimed::Cancelled,
            _ => Claimed::Duplicate,
        });
    }
    if let Some(before) = tx.generation_of_claim(job.id, claim.claim_id).await? {
        // Granted before. If that lease is over, the job has a doorbell of its own again.
        return if job.is_leased() && job.generation == before.generation {
            granted(tx, &job).await
        } else {
            Ok(Claimed::Busy)
        };
    }
    if job.state != JobState::Queued || job.next_at.is_some_and(|at| at > tx.now) {
        return Ok(Claimed::Busy);
    }
    if job.kind() == JobKind::Clean && in_the_way(tx, &job).await? {
        let later = tx.after_two_leases();
        tx.postpone(&job, later).await?;
        return Ok(Claimed::Busy);
    }
    let committed = tx.job_is_committed(&job).await?;
    if !tx.grant_job(job.id, claim, committed).await? {
        return Ok(Claimed::Busy);
    }
    let job = tx
        .job(job.id)
        .await?
        .ok_or_else(|| StoreError::Missing(format!("job {}", job.id)))?;
    tx.add_generation(&job, claim).await?;
    match (job.kind(), job.backup_id, job.attempt) {
        (JobKind::Backup, Some(backup), Some(attempt)) => {
            tx.attempt_was_granted(backup, attempt, job.generation)
                .await?;
        }
        // A delete that is only given up removes nothing.
        (JobKind::Delete, Some(backup), _) if job.give_up.is_none() => {
            tx.delete_begins(backup).await?;
        }
        (JobKind::Restore | JobKind::Volume, ..) => {
            note_what_begins(tx, &job).await?;
        }
        _ => {}
    }
    granted(tx, &job).await
}

/// From here a volume or a snapshot may exist, whatever becomes of the job.
async fn note_what_begins(tx: &mut Tx, job: &JobRow) -> Result<(), StoreError> {
    if let Some(volume) = job.volume_id {
        tx.volume_begins(volume).await?;
    }
    let is_about_snapshot = matches!(
        job.details,
        Details::Volume {
            action: VolumeAction::CreateSnapshot | VolumeAction::DeleteSnapshot
        }
    );
    if let Some(snapshot) = job.snapshot_id.filter(|_| is_about_snapshot) {
        tx.snapshot_was_granted(snapshot, job.generation).await?;
    }
    Ok(())
}

/// A clean waits while another job works on the same data: that job's end queues its own clean.
async fn in_the_way(tx: &mut Tx, clean: &JobRow) -> Result<bool, StoreError> {
    let (Some(backup), Some(number)) = (clean.backup_id, clean.attempt) else {
        return Ok(false);
    };
    if tx.attempt(backup, number).await?.state == AttemptState::Live {
        return Ok(true);
    }
    let other = tx.unsettled_job_of_backup(backup).await?;
    Ok(other.is_some_and(|other| match other.kind() {
        JobKind::Backup => other.attempt == Some(number),
        JobKind::Delete => true,
        JobKind::Restore | JobKind::Volume | JobKind::Clean => false,
    }))
}

async fn granted(tx: &mut Tx, job: &JobRow) -> Result<Claimed, StoreError> {
    let settings = tx.settings();
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Ok(Claimed::Granted(Box::new(Grant {
        generation: job.generation,
        lease_ms: millis(settings.jobs.lease),
        renew_ms: millis(settings.jobs.renew),
        give_up: job.give_up.clone(),
        sheet: tx.sheet(job).await?,
    })))
}
