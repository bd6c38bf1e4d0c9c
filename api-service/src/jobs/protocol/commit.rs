//! `commit`: the gate. Step 7 of *Create*: from here the attempt is the backup.

use common::domain::JobState;
use common::messages::rpc::{Commit, Committed};

use super::{Protocol, Trouble, attempt_of, held_job, note_stale};
use crate::store::{AttemptState, JobRow, Tx};

impl Protocol {
    /// One compare-and-set on the job's row decides between commit and cancel.
    pub(super) async fn commit(&self, commit: &Commit) -> Result<Committed, Trouble> {
        let mut tx = self.store.write().await?;
        let answer = match held_job(&mut tx, &commit.fence).await? {
            Some(job) => decide(&mut tx, &job, commit).await?,
            None => {
                note_stale(&mut tx, &commit.fence).await?;
                Committed::Fenced
            }
        };
        common::durable!("api.commit", tx.commit().await)?;
        Ok(answer)
    }
}

async fn decide(tx: &mut Tx, job: &JobRow, commit: &Commit) -> Result<Committed, Trouble> {
    let (backup, number) = attempt_of(job)?;
    if number != commit.attempt {
        return Ok(Committed::Fenced);
    }
    match tx.attempt(backup, number).await?.state {
        AttemptState::Committed => Ok(Committed::Passed),
        AttemptState::Live if tx.pass_commit_gate(job.id).await? => {
            tx.move_attempt(backup, number, AttemptState::Live, AttemptState::Committed)
                .await?;
            Ok(Committed::Passed)
        }
        AttemptState::Live if job.state == JobState::Running => Ok(Committed::Cancelled),
        AttemptState::GivenUp => Ok(Committed::Cancelled),
        AttemptState::Live | AttemptState::Abandoned | AttemptState::Deleted => {
            Ok(Committed::Fenced)
        }
    }
}
