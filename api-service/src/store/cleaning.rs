//! What is queued to remove what attempts left behind, and what goes when its time is over.

use common::domain::{BackupId, JobKind, QueueKey};
use jiff::Timestamp;
use sqlx::AssertSqlSafe;

use super::attempts::{AttemptRow, AttemptState};
use super::backups::BackupRow;
use super::jobs::{Details, JobRow, NewJob};
use super::row::{Columns, micros};
use super::{StoreError, Tx, failed};

impl Tx {
    /// Whether a clean of this attempt is queued already for a time not before `at`.
    pub(crate) async fn clean_is_queued(
        &mut self,
        backup: BackupId,
        attempt: u32,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let now = micros(self.now);
        let row = sqlx::query(
            "SELECT COUNT(*) AS n FROM jobs WHERE kind = 'clean' AND state = 'queued' \
             AND backup_id = $1 AND attempt = $2 AND COALESCE(next_at, $4) >= $3",
        )
        .bind(backup.to_string())
        .bind(i64::from(attempt))
        .bind(micros(at))
        .bind(now)
        .fetch_one(self.conn())
        .await
        .map_err(failed("look for a queued clean"))?;
        Ok(Columns(&row).count("n")? > 0)
    }

    /// Whether a clean of this attempt has not settled yet.
    pub(super) async fn clean_is_left(
        &mut self,
        backup: BackupId,
        attempt: u32,
    ) -> Result<bool, StoreError> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS n FROM jobs WHERE kind = 'clean' AND state <> 'settled' \
             AND backup_id = $1 AND attempt = $2",
        )
        .bind(backup.to_string())
        .bind(i64::from(attempt))
        .fetch_one(self.conn())
        .await
        .map_err(failed("look for an unsettled clean"))?;
        Ok(Columns(&row).count("n")? > 0)
    }

    /// Step 11: for every attempt that may have left something, a clean now and one after two
    /// leases, when a stopped zombie has noticed that it is none of its business any more.
    pub(crate) async fn queue_cleans(&mut self, id: BackupId) -> Result<(), StoreError> {
        let now = self.now;
        let later = self.after_two_leases();
        for attempt in self.attempts(id).await? {
            let over = matches!(
                attempt.state,
                AttemptState::Abandoned | AttemptState::GivenUp | AttemptState::Deleted
            );
            if over || attempt.two_generations {
                self.queue_clean(&attempt, now).await?;
                self.queue_clean(&attempt, later).await?;
            }
        }
        Ok(())
    }

    /// A time at which every lease that is alive now is renewed or over.
    pub(crate) fn after_two_leases(&self) -> Timestamp {
        self.now + self.settings().jobs.lease * 2
    }

    /// Queues a clean of one attempt, unless one is queued for then or later, or nothing of it ever
    /// existed.
    pub(crate) async fn queue_clean(
        &mut self,
        attempt: &AttemptRow,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let id = attempt.backup_id;
        let number = attempt.names.number;
        if attempt.first_generation.is_none() || self.clean_is_queued(id, number, at).await? {
            return Ok(());
        }
        let owner = self.owner_of_attempt(id).await?;
        let volume = self.volume_or_tombstone(owner.volume_id).await?;
        let target = self.settings().backup.target.clone();
        let queue = QueueKey {
            kind: JobKind::Clean,
            zone: self.zone_or_default(owner.zone()),
            backend: volume
                .as_ref()
                .filter(|_| attempt.names.snapshot.is_some())
                .map_or(target, |volume| volume.backend.clone()),
        };
        let caller = super::Caller {
            project_id: owner.project_id.clone(),
            user_id: owner.user_id.clone(),
            is_admin: false,
            request_id: String::new(),
            traceparent: None,
        };
        self.add_job(NewJob {
            queue,
            backup_id: Some(id),
            volume_id: volume.map(|volume| volume.id),
            snapshot_id: None,
            attempt: Some(number),
            details: Details::Clean,
            caller: &caller,
            next_at: (at > self.now).then_some(at),
        })
        .await?;
        Ok(())
    }

    /// The same clean once more, later.
    pub(super) async fn queue_clean_like(
        &mut self,
        job: &JobRow,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.add_job(NewJob {
            queue: job.queue.clone(),
            backup_id: job.backup_id,
            volume_id: job.volume_id,
            snapshot_id: None,
            attempt: job.attempt,
            details: Details::Clean,
            caller: &job.caller(),
            next_at: Some(at),
        })
        .await?;
        Ok(())
    }

    /// The record of an attempt's backup, deleted or not.
    pub(crate) async fn owner_of_attempt(&mut self, id: BackupId) -> Result<BackupRow, StoreError> {
        self.backup_or_tombstone(id)
            .await?
            .ok_or_else(|| StoreError::Missing(format!("backup {id} of an attempt")))
    }

    /// Removes what is over for longer than its time: settled jobs, then tombstones that nothing refers
    /// to any more. Parents wait for their children, volumes for their backups and snapshots. At most
    /// [`MOST_REMOVED`] of each kind at once, so that nobody waits long for the writer; says how many
    /// rows it were.
    pub(crate) async fn remove_what_is_over(&mut self) -> Result<u64, StoreError> {
        let before = micros(self.now - self.settings().jobs.tombstone_age);
        let mut removed = 0;
        for sql in OVER {
            removed += sqlx::query(AssertSqlSafe(format!("{sql} LIMIT {MOST_REMOVED})")))
                .bind(before)
                .execute(self.conn())
                .await
                .map_err(failed("remove what is over"))?
                .rows_affected();
        }
        Ok(removed)
    }
}

/// How many rows of one table go in one transaction.
pub(crate) const MOST_REMOVED: u64 = 500;

/// What goes, in this order. What belongs to a row goes before it, chosen by the same rule.
const OVER: [&str; 7] = [
    "DELETE FROM generations WHERE job_id IN (SELECT id FROM jobs \
     WHERE state = 'settled' AND settled_at < $1 ORDER BY settled_at, id",
    "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs \
     WHERE state = 'settled' AND settled_at < $1 ORDER BY settled_at, id",
    // A publisher's id is known for as long as its job, and for that age at least.
    "DELETE FROM publisher_requests WHERE job_id IN (SELECT r.job_id FROM publisher_requests r \
     WHERE r.created_at < $1 \
     AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = r.job_id) ORDER BY r.created_at, r.job_id",
    "DELETE FROM attempts WHERE backup_id IN (SELECT b.id FROM backups b \
     WHERE b.deleted_at IS NOT NULL AND b.deleted_at < $1 \
     AND NOT EXISTS (SELECT 1 FROM backups c WHERE c.parent_id = b.id) \
     AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.backup_id = b.id) ORDER BY b.deleted_at, b.id",
    "DELETE FROM backups WHERE id IN (SELECT b.id FROM backups b \
     WHERE b.deleted_at IS NOT NULL AND b.deleted_at < $1 \
     AND NOT EXISTS (SELECT 1 FROM backups c WHERE c.parent_id = b.id) \
     AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.backup_id = b.id) ORDER BY b.deleted_at, b.id",
    "DELETE FROM snapshots WHERE id IN (SELECT s.id FROM snapshots s \
     WHERE s.deleted_at < $1 \
     AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.snapshot_id = s.id) ORDER BY s.deleted_at, s.id",
    "DELETE FROM volumes WHERE id IN (SELECT v.id FROM volumes v \
     WHERE v.deleted_at < $1 \
     AND NOT EXISTS (SELECT 1 FROM backups b WHERE b.volume_id = v.id) \
     AND NOT EXISTS (SELECT 1 FROM snapshots s WHERE s.volume_id = v.id) \
     AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.volume_id = v.id) ORDER BY v.deleted_at, v.id",
];
