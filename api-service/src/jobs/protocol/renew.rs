//! `renew`: the lease goes on. No time is stored; the reaper watches the count.

use common::domain::JobState;
use common::messages::rpc::{Renew, Renewed};

use super::{Protocol, Trouble, held_job, note_stale};

impl Protocol {
    /// A higher mark is progress, and forgives every failure so far.
    pub(super) async fn renew(&self, renew: &Renew) -> Result<Renewed, Trouble> {
        let mut tx = self.store.write().await?;
        let answer = match held_job(&mut tx, &renew.fence).await? {
            Some(job) => {
                tx.renew_job(job.id, renew.mark).await?;
                Renewed::Held {
                    // Behind the commit gate there is no cancel.
                    cancel: job.cancel_requested && job.state == JobState::Running,
                }
            }
            None => {
                note_stale(&mut tx, &renew.fence).await?;
                Renewed::Fenced
            }
        };
        common::durable!("api.renew", tx.commit().await)?;
        Ok(answer)
    }
}
