//! `restart`: the attempt's data is given up, and the same execution goes on with new names.

use common::domain::JobState;
use common::messages::rpc::{Restart, Restarted};
use common::messages::sheet::Sheet;

use super::{Protocol, Trouble, attempt_of, held_job, note_stale};
use crate::store::{AttemptState, JobRow, StoreError, Tx};

impl Protocol {
    /// Attempt n is abandoned and n+1 begins; a repeat gets the same n+1. Never behind the commit gate.
    pub(super) async fn restart(&self, restart: &Restart) -> Result<Restarted, Trouble> {
        let mut tx = self.store.write().await?;
        let answer = match held_job(&mut tx, &restart.fence).await? {
            Some(job) => decide(&mut tx, &job, restart).await?,
            None => {
                note_stale(&mut tx, &restart.fence).await?;
                Restarted::Fenced
            }
        };
        common::durable!("api.restart", tx.commit().await)?;
        Ok(answer)
    }
}

async fn decide(tx: &mut Tx, job: &JobRow, restart: &Restart) -> Result<Restarted, Trouble> {
    let (backup, number) = attempt_of(job)?;
    let attempt = tx.attempt(backup, number).await?;
    if job.state == JobState::Committing || attempt.state == AttemptState::Committed {
        return Ok(Restarted::Committed);
    }
    if restart.attempt > number {
        return Err(Trouble::Malformed(format!(
            "attempt {} of backup {backup} does not exist",
            restart.attempt
        )));
    }
    if restart.attempt < number {
        return with_sheet(tx, job).await.map_err(Trouble::from);
    }
    if attempt.state != AttemptState::Live || job.give_up.is_some() {
        let reason = job.give_up.clone();
        return Ok(Restarted::Exhausted {
            reason: reason.unwrap_or_else(|| "The attempt is over.".to_owned()),
        });
    }
    let attempts_max = tx.settings().jobs.attempts_max;
    if number >= attempts_max {
        return Ok(Restarted::Exhausted {
            reason: format!("Given up after {number} attempts: {}", restart.reason),
        });
    }
    tracing::info!(
        job.id = %job.id,
        backup.id = %backup,
        attempt = number,
        reason = restart.reason,
        "an attempt is abandoned and the next begins"
    );
    let Some(record) = tx.backup(backup).await? else {
        return Err(StoreError::Missing(format!("backup {backup}")).into());
    };
    tx.move_attempt(backup, number, AttemptState::Live, AttemptState::Abandoned)
        .await?;
    let container = attempt.names.container.clone();
    // A new attempt may be made another way: what the configuration says now.
    let options = tx.settings().backup.store_options();
    let next = tx
        .add_attempt(&record, container, options, Some(&attempt))
        .await?;
    tx.show_attempt(&next).await?;
    let next = next.names.number;
    tx.set_attempt(job.id, next).await?;
    tx.attempt_was_granted(backup, next, job.generation).await?;
    tx.move_generation(job, next).await?;
    let (now, later) = (tx.now, tx.after_two_leases());
    let abandoned = tx.attempt(backup, number).await?;
    tx.queue_clean(&abandoned, now).await?;
    tx.queue_clean(&abandoned, later).await?;
    with_sheet(tx, job).await.map_err(Trouble::from)
}

async fn with_sheet(tx: &mut Tx, job: &JobRow) -> Result<Restarted, StoreError> {
    let job = tx
        .job(job.id)
        .await?
        .ok_or_else(|| StoreError::Missing(format!("job {}", job.id)))?;
    let sheet: Sheet = tx.sheet(&job).await?;
    Ok(Restarted::Attempt(Box::new(sheet)))
}
