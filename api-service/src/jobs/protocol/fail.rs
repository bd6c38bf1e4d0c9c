//! `fail`: the attempt ends without a backup. Only after this answer may its names be deleted.

use common::domain::JobKind;
use common::messages::rpc::{Fail, FailCause, Failed};

use super::{Protocol, Trouble, attempt_of, held_job, note_stale};
use crate::store::{AttemptState, CANCELLED, JobRow, Tx};

impl Protocol {
    /// Refused once committed, unless what was committed is lost. Every later execution of the job
    /// only cleans up.
    pub(super) async fn fail(&self, fail: &Fail) -> Result<Failed, Trouble> {
        let mut tx = self.store.write().await?;
        let answer = match held_job(&mut tx, &fail.fence).await? {
            Some(job) => decide(&mut tx, &job, fail).await?,
            None => {
                note_stale(&mut tx, &fail.fence).await?;
                Failed::Fenced
            }
        };
        common::durable!("api.fail", tx.commit().await)?;
        Ok(answer)
    }
}

async fn decide(tx: &mut Tx, job: &JobRow, fail: &Fail) -> Result<Failed, Trouble> {
    let reason = match fail.cause {
        FailCause::Cancelled => CANCELLED,
        FailCause::Lasting | FailCause::GiveUp | FailCause::Lost => &fail.reason,
    };
    if job.kind() == JobKind::Backup {
        let (backup, number) = attempt_of(job)?;
        let lost = fail.cause == FailCause::Lost;
        let from = match tx.attempt(backup, number).await?.state {
            AttemptState::Committed if !lost => return Ok(Failed::Committed),
            state @ (AttemptState::Committed | AttemptState::Live) => Some(state),
            AttemptState::GivenUp | AttemptState::Abandoned | AttemptState::Deleted => None,
        };
        if let Some(from) = from {
            tx.move_attempt(backup, number, from, AttemptState::GivenUp)
                .await?;
        }
    }
    tx.give_job_up(job.id, reason).await?;
    Ok(Failed::Recorded)
}
