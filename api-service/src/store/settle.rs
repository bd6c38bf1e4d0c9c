//! The end of a job: every row it held moves from its working status to a settled one, once, in
//! one transaction, with the events that say so and the clean-up that follows.

use common::domain::{
    BackupId, BackupStatus, JobId, JobKind, SnapshotStatus, VolumeId, VolumeStatus,
};
use common::messages::rpc::Outcome;
use common::messages::sheet::{VolumeAction, WorkTotals};
use common::metrics::{JOB_DURATION, JOBS_SETTLED};
use jiff::{SignedDuration, Timestamp};

use super::attempts::AttemptState;
use super::claims::GenerationEnd;
use super::jobs::{Details, JobRow};
use super::row::{micros, plain, stored};
use super::{StoreError, Tx, failed, sheets};

/// What a cancelled creation says to its owner.
pub(crate) const CANCELLED: &str = "Cancelled by its owner.";

/// How long after a failed clean it is tried again.
const CLEAN_AGAIN_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// The one log line of a settled job, written when the settling is committed.
pub(super) struct SettledLine {
    job: JobRow,
    outcome: &'static str,
    reason: Option<String>,
    seconds: f64,
    totals: WorkTotals,
}

impl SettledLine {
    pub(super) fn job_id(&self) -> JobId {
        self.job.id
    }

    pub(super) fn log(&self) {
        let text = |id: Option<String>| id.unwrap_or_default();
        tracing::info!(
            job.id = %self.job.id,
            job.kind = %self.job.kind(),
            backup.id = text(self.job.backup_id.map(|id| id.to_string())),
            volume.id = text(self.job.volume_id.map(|id| id.to_string())),
            snapshot.id = text(self.job.snapshot_id.map(|id| id.to_string())),
            request.id = self.job.request_id.as_deref().unwrap_or_default(),
            outcome = self.outcome,
            reason = self.reason.as_deref().unwrap_or_default(),
            seconds = self.seconds,
            generation = self.job.generation,
            read_bytes = self.totals.read.0,
            written_bytes = self.totals.written.0,
            "job settled"
        );
        let labels = [
            ("kind", self.job.kind().as_str()),
            ("outcome", self.outcome),
        ];
        metrics::counter!(JOBS_SETTLED, &labels).increment(1);
        metrics::histogram!(JOB_DURATION, &labels).record(self.seconds);
    }
}

/// The word for an outcome that is stored and logged, and the reason if it is an error.
fn word_of(outcome: &Outcome) -> (&'static str, Option<&str>) {
    match outcome {
        Outcome::BackedUp { .. }
        | Outcome::Restored { .. }
        | Outcome::Deleted
        | Outcome::VolumeDone { .. }
        | Outcome::Cleaned => ("done", None),
        Outcome::Cancelled => ("cancelled", None),
        Outcome::Failed { reason } => ("failed", Some(reason)),
    }
}

impl Tx {
    /// Settles a job. The outcome must be one that its kind can have.
    pub(crate) async fn settle(
        &mut self,
        job: &JobRow,
        outcome: &Outcome,
        totals: Option<WorkTotals>,
    ) -> Result<(), StoreError> {
        let (word, reason) = word_of(outcome);
        let now = micros(self.now);
        let settled = sqlx::query(
            "UPDATE jobs SET state = 'settled', outcome = $2, fail_reason = $3, settled_at = $4 \
             WHERE id = $1 AND state <> 'settled' AND generation = $5",
        )
        .bind(job.id.to_string())
        .bind(word)
        .bind(reason.map(plain))
        .bind(now)
        .bind(stored(job.generation))
        .execute(self.conn())
        .await
        .map_err(failed("settle a job"))?
        .rows_affected();
        if settled != 1 {
            return Err(StoreError::Missing(format!("the unsettled job {}", job.id)));
        }
        self.end_generation(job, GenerationEnd::Settled).await?;
        self.forget_doorbells(job.id).await?;
        let seconds = (self.now - job.created_at)
            .total(jiff::Unit::Second)
            .unwrap_or_default();
        self.settled.push(SettledLine {
            job: job.clone(),
            outcome: word,
            reason: reason.map(ToOwned::to_owned),
            seconds,
            totals: totals.unwrap_or_default(),
        });
        match job.kind() {
            JobKind::Backup => self.settle_backup(job, outcome).await,
            JobKind::Restore => self.settle_restore(job, outcome).await,
            JobKind::Delete => self.settle_delete(job, outcome).await,
            JobKind::Volume => self.settle_volume_job(job, outcome).await,
            JobKind::Clean => self.settle_clean(job, outcome).await,
        }
    }

    async fn settle_backup(&mut self, job: &JobRow, outcome: &Outcome) -> Result<(), StoreError> {
        let id = held(job.backup_id, job)?;
        if let Outcome::BackedUp {
            object_count,
            data_timestamp,
        } = outcome
        {
            self.backup_is_stored(id, *object_count, *data_timestamp)
                .await?;
            self.move_backup(id, &[BackupStatus::Creating], BackupStatus::Available, None)
                .await?;
        } else {
            let number = held(job.attempt, job)?;
            self.move_attempt(id, number, AttemptState::Live, AttemptState::GivenUp)
                .await?;
            let reason = word_of(outcome).1.unwrap_or(CANCELLED).to_owned();
            self.move_backup(
                id,
                &[BackupStatus::Creating],
                BackupStatus::Error,
                Some(&reason),
            )
            .await?;
        }
        if let Some(volume) = job.volume_id {
            self.give_volume_back(job, volume).await?;
        }
        if let Some(snapshot) = job.snapshot_id {
            self.give_snapshot_back(job, snapshot).await?;
        }
        self.queue_cleans(id).await?;
        self.tell_of_backup(job, id).await
    }

    /// A volume goes back to what it was before its backup; only if it is still this job's.
    async fn give_volume_back(&mut self, job: &JobRow, volume: VolumeId) -> Result<(), StoreError> {
        let Some(row) = self.volume_or_tombstone(volume).await? else {
            return Ok(());
        };
        let back = row.previous_status.unwrap_or(VolumeStatus::Available);
        if self
            .settle_volume(volume, VolumeStatus::BackingUp, job.id, back)
            .await?
        {
            self.announce_volume(&row, back, Some(job.id), None).await?;
        }
        Ok(())
    }

    async fn settle_restore(&mut self, job: &JobRow, outcome: &Outcome) -> Result<(), StoreError> {
        let id = held(job.backup_id, job)?;
        let volume = held(job.volume_id, job)?;
        let reason = word_of(outcome).1;
        let to = match outcome {
            Outcome::Restored { .. } => VolumeStatus::Available,
            Outcome::Cancelled => VolumeStatus::Error,
            Outcome::Failed { .. }
            | Outcome::BackedUp { .. }
            | Outcome::Deleted
            | Outcome::VolumeDone { .. }
            | Outcome::Cleaned => VolumeStatus::ErrorRestoring,
        };
        if let Outcome::Restored { volume_meta } = outcome {
            self.describe_restored(job, volume, id, volume_meta.as_deref())
                .await?;
        }
        let settled = self
            .settle_volume(volume, VolumeStatus::RestoringBackup, job.id, to)
            .await?;
        if settled && let Some(row) = self.volume_or_tombstone(volume).await? {
            self.announce_volume(&row, to, Some(job.id), reason).await?;
        }
        // A failed restore harms the volume, not the backup; the reason is shown where the owner
        // looks for it.
        self.move_backup(
            id,
            &[BackupStatus::Restoring],
            BackupStatus::Available,
            reason,
        )
        .await?;
        self.tell_of_backup(job, id).await
    }

    /// What a restored volume takes over from the backup's source.
    async fn describe_restored(
        &mut self,
        job: &JobRow,
        volume: VolumeId,
        backup: BackupId,
        volume_meta: Option<&str>,
    ) -> Result<(), StoreError> {
        let Some(mut row) = self.volume_or_tombstone(volume).await? else {
            return Ok(());
        };
        let (is_new, named) = match job.details {
            Details::Restore {
                volume_is_new,
                named,
            } => (volume_is_new, named),
            Details::Backup { .. } | Details::Delete | Details::Volume { .. } | Details::Clean => {
                (false, true)
            }
        };
        if is_new && let Some(source) = volume_meta.and_then(sheets::read_volume_meta) {
            row.metadata = source.metadata;
            if !named && source.name.is_some() {
                row.name = source.name;
                row.description = source.description;
            }
        }
        row.metadata
            .insert("src_backup_id".to_owned(), backup.to_string());
        self.describe_volume(&row).await
    }

    async fn settle_delete(&mut self, job: &JobRow, outcome: &Outcome) -> Result<(), StoreError> {
        let id = held(job.backup_id, job)?;
        let Some(mut backup) = self.backup(id).await? else {
            return Ok(());
        };
        if *outcome == Outcome::Deleted {
            for attempt in self.attempts(id).await? {
                let number = attempt.names.number;
                self.move_attempt(id, number, AttemptState::Committed, AttemptState::Deleted)
                    .await?;
            }
            self.queue_cleans(id).await?;
            self.bury_backup(id).await?;
            backup.status = BackupStatus::Deleted;
        } else {
            let reason = word_of(outcome).1.unwrap_or(CANCELLED).to_owned();
            self.move_backup(
                id,
                &[BackupStatus::Deleting],
                BackupStatus::Error,
                Some(&reason),
            )
            .await?;
            backup.status = BackupStatus::Error;
            backup.fail_reason = Some(reason);
        }
        self.announce_backup(&backup, JobKind::Delete, Some(job.id), job.origin())
            .await
    }

    async fn settle_volume_job(
        &mut self,
        job: &JobRow,
        outcome: &Outcome,
    ) -> Result<(), StoreError> {
        let Details::Volume { action } = job.details else {
            return Err(StoreError::Missing(format!("the action of job {}", job.id)));
        };
        let reason = match outcome {
            Outcome::VolumeDone { .. } => None,
            _ => Some(word_of(outcome).1.unwrap_or(CANCELLED)),
        };
        let deletes = match action {
            VolumeAction::CreateSnapshot => {
                let snapshot = held(job.snapshot_id, job)?;
                return self.snapshot_is_made(job, snapshot, reason).await;
            }
            VolumeAction::DeleteSnapshot => {
                let snapshot = held(job.snapshot_id, job)?;
                return self.snapshot_is_removed(job, snapshot, reason).await;
            }
            VolumeAction::Delete => true,
            VolumeAction::Create | VolumeAction::Manage => false,
        };
        let id = held(job.volume_id, job)?;
        let Some(row) = self.volume_or_tombstone(id).await? else {
            return Ok(());
        };
        // Those that went with their volume.
        for snapshot in self
            .snapshots_of_job(id, job.id, SnapshotStatus::Deleting)
            .await?
        {
            self.snapshot_is_removed(job, snapshot.id, reason).await?;
        }
        if let Outcome::VolumeDone { source, size_gib } = outcome {
            if deletes {
                return self.bury_volume(id).await;
            }
            self.set_volume_place(id, source, *size_gib).await?;
            if self
                .settle_volume(id, VolumeStatus::Creating, job.id, VolumeStatus::Available)
                .await?
            {
                self.announce_volume(&row, VolumeStatus::Available, Some(job.id), None)
                    .await?;
            }
            return Ok(());
        }
        let (from, to) = if deletes {
            (VolumeStatus::Deleting, VolumeStatus::ErrorDeleting)
        } else {
            (VolumeStatus::Creating, VolumeStatus::Error)
        };
        if self.settle_volume(id, from, job.id, to).await? {
            self.announce_volume(&row, to, Some(job.id), reason).await?;
        }
        Ok(())
    }

    async fn settle_clean(&mut self, job: &JobRow, outcome: &Outcome) -> Result<(), StoreError> {
        let id = held(job.backup_id, job)?;
        let number = held(job.attempt, job)?;
        if *outcome != Outcome::Cleaned {
            let at = self.now + CLEAN_AGAIN_AFTER;
            return self.queue_clean_like(job, at).await;
        }
        if !self.clean_is_left(id, number).await? {
            self.attempt_was_cleaned(id, number).await?;
        }
        Ok(())
    }

    /// Says where a backup stands now; one that was to be deleted meanwhile gets its delete.
    async fn tell_of_backup(&mut self, job: &JobRow, id: BackupId) -> Result<(), StoreError> {
        let Some(backup) = self.backup(id).await? else {
            return Ok(());
        };
        if backup.status == BackupStatus::Deleting {
            return self.queue_delete(&backup, &job.caller()).await;
        }
        self.announce_backup(&backup, job.kind(), Some(job.id), job.origin())
            .await
    }

    async fn backup_is_stored(
        &mut self,
        id: BackupId,
        object_count: u64,
        data_timestamp: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE backups SET object_count = $2, data_timestamp = $3 WHERE id = $1")
            .bind(id.to_string())
            .bind(stored(object_count))
            .bind(micros(data_timestamp))
            .execute(self.conn())
            .await
            .map_err(failed("note what a backup stored"))?;
        Ok(())
    }
}

/// What a job of this kind always has.
fn held<T>(value: Option<T>, job: &JobRow) -> Result<T, StoreError> {
    value.ok_or_else(|| StoreError::Missing(format!("what job {} is about", job.id)))
}
