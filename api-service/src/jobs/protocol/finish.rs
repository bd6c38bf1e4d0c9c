//! `finish`: the end of a job, steps 10 and 11 of *Create* and the last step of every other.

use common::domain::{JobKind, JobState};
use common::messages::rpc::{Finish, Finished, Outcome};

use super::{Protocol, Trouble, attempt_of, held_job, note_stale};
use crate::store::{AttemptState, JobRow, Tx};

impl Protocol {
    /// Settles the job, once; a repeat of the report that settled it is told so.
    pub(super) async fn finish(&self, finish: &Finish) -> Result<Finished, Trouble> {
        let mut tx = self.store.write().await?;
        let fence = &finish.fence;
        let held = if common::faults::planted("stale_finish_accepted") {
            tx.job(fence.job_id).await?.filter(JobRow::is_leased)
        } else {
            held_job(&mut tx, fence).await?
        };
        let Some(job) = held else {
            let settled = tx.job(fence.job_id).await?.is_some_and(|job| {
                job.state == JobState::Settled
                    && job.generation == fence.generation
                    && job.claim_id == Some(fence.claim_id)
            });
            let ended_by_it = tx
                .generation_of_claim(fence.job_id, fence.claim_id)
                .await?
                .is_some_and(|generation| {
                    generation.ended == Some(crate::store::GenerationEnd::Settled)
                });
            if settled && ended_by_it {
                return Ok(Finished::Settled);
            }
            note_stale(&mut tx, fence).await?;
            tx.commit().await?;
            return Ok(Finished::Fenced);
        };
        check(&mut tx, &job, &finish.outcome).await?;
        tx.settle(&job, &finish.outcome, Some(finish.totals))
            .await?;
        common::durable!("api.finish", tx.commit().await)?;
        Ok(Finished::Settled)
    }
}

/// An outcome must be one that the job's kind has; and a backup is stored if and only if its
/// attempt passed the gate.
async fn check(tx: &mut Tx, job: &JobRow, outcome: &Outcome) -> Result<(), Trouble> {
    let fits = match outcome {
        Outcome::BackedUp { .. } => job.kind() == JobKind::Backup,
        Outcome::Restored { .. } => job.kind() == JobKind::Restore,
        Outcome::Deleted => job.kind() == JobKind::Delete,
        Outcome::VolumeDone { .. } => job.kind() == JobKind::Volume,
        Outcome::Cleaned => job.kind() == JobKind::Clean,
        Outcome::Cancelled | Outcome::Failed { .. } => true,
    };
    if !fits {
        return Err(Trouble::Malformed(format!(
            "job {} is a {} and cannot end as {outcome:?}",
            job.id,
            job.kind()
        )));
    }
    if job.kind() == JobKind::Backup {
        let (backup, number) = attempt_of(job)?;
        let committed = tx.attempt(backup, number).await?.state == AttemptState::Committed;
        if committed != matches!(outcome, Outcome::BackedUp { .. }) {
            return Err(Trouble::Malformed(format!(
                "attempt {number} of backup {backup} is {} and cannot end as {outcome:?}",
                if committed {
                    "committed"
                } else {
                    "not committed"
                },
            )));
        }
    }
    Ok(())
}
