//! `frozen`: which snapshot the attempt's data comes from. The first report stays.
//!
//! Two executions write the same objects only with the same codecs. So other codecs go on with an attempt only if nobody
//! who had it can still be at work: if all gave it back. From then on theirs are the attempt's.

use common::messages::rpc::{FrozenAnswer, FrozenReport};

use super::{Protocol, Trouble, attempt_of, held_job, note_stale};
use crate::store::AttemptState;

impl Protocol {
    /// Whoever holds another snapshot than the answer names, or other codecs, has to restart.
    pub(super) async fn frozen(&self, report: &FrozenReport) -> Result<FrozenAnswer, Trouble> {
        let mut tx = self.store.write().await?;
        let Some(job) = held_job(&mut tx, &report.fence).await? else {
            note_stale(&mut tx, &report.fence).await?;
            tx.commit().await?;
            return Ok(FrozenAnswer::Fenced);
        };
        let (backup, number) = attempt_of(&job)?;
        let attempt = tx.attempt(backup, number).await?;
        let answer = if number == report.attempt && attempt.state == AttemptState::Live {
            FrozenAnswer::Recorded(
                tx.freeze_attempt(backup, number, &report.frozen, job.released)
                    .await?,
            )
        } else {
            FrozenAnswer::Fenced
        };
        common::durable!("api.frozen", tx.commit().await)?;
        Ok(answer)
    }
}
