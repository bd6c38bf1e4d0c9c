//! How a backup's owner or an administrator ends it: delete, forced delete, cancel, reset.

use common::domain::{BackupId, BackupStatus, JobKind, JobState, QueueKey};
use common::messages::rpc::Outcome;

use super::backups::BackupRow;
use super::jobs::{Details, JobRow, NewJob};
use super::{Caller, RequestError, Scope, Store, StoreError, Tx, backups};
use crate::rules::{Refusal, Reset, may_cancel, may_delete, may_force_delete, may_reset, reset_of};

impl Store {
    /// Accepts a delete. With `force`: whatever the status, running work is cancelled first.
    ///
    /// # Errors
    /// When there is no such backup, increments build on it, or (without force) something runs.
    pub async fn delete_backup(
        &self,
        caller: &Caller,
        scope: &Scope,
        id: BackupId,
        force: bool,
    ) -> Result<(), RequestError> {
        let mut tx = self.write().await?;
        tx.delete_backup(caller, scope, id, force).await?;
        common::durable!("api.delete", tx.commit().await)?;
        Ok(())
    }

    /// Ends what runs: a creation leaves `error`, a restore leaves the backup as it was.
    ///
    /// # Errors
    /// When there is no such backup, nothing runs, or the commit came first.
    pub async fn cancel_backup(&self, scope: &Scope, id: BackupId) -> Result<(), RequestError> {
        let mut tx = self.write().await?;
        let backup = backups::find(tx.conn(), scope, id).await?;
        tx.cancel(&backup).await?;
        common::durable!("api.cancel", tx.commit().await)?;
        Ok(())
    }

    /// Sets a backup's status, as far as that is true: an administrator's tool.
    ///
    /// # Errors
    /// When there is no such backup, or the status would be a lie.
    pub async fn reset_backup_status(
        &self,
        caller: &Caller,
        scope: &Scope,
        id: BackupId,
        to: BackupStatus,
    ) -> Result<(), RequestError> {
        let mut tx = self.write().await?;
        let mut backup = backups::find(tx.conn(), scope, id).await?;
        match reset_of(backup.status, to)? {
            Reset::Cancel => tx.cancel(&backup).await?,
            Reset::To(to) => {
                let committed = tx.is_committed(id).await?;
                may_reset(to, committed, backup.delete_began)?;
                let reason = backup
                    .fail_reason
                    .as_deref()
                    .filter(|_| to == BackupStatus::Error);
                tx.move_backup(id, &[backup.status], to, reason).await?;
                backup.status = to;
                tx.announce_backup(&backup, JobKind::Backup, None, caller.origin())
                    .await?;
            }
        }
        tx.commit().await?;
        Ok(())
    }
}

impl Tx {
    /// See [`Store::delete_backup`].
    pub(super) async fn delete_backup(
        &mut self,
        caller: &Caller,
        scope: &Scope,
        id: BackupId,
        force: bool,
    ) -> Result<BackupRow, RequestError> {
        let tx = self;
        let backup = backups::find(tx.conn(), scope, id).await?;
        if force {
            may_force_delete(backup.dependents)?;
        } else {
            let counted = !common::faults::planted("dependents_not_counted");
            may_delete(backup.status, if counted { backup.dependents } else { 0 })?;
        }
        match tx.unsettled_job_of_backup(id).await? {
            None => {
                // What no worker ever touched needs no worker to go.
                if tx.left_something(id).await? && !tx.is_served(&backup).await? {
                    return Err(Refusal::NoService.into());
                }
                tx.mark_deleting(&backup, None, caller).await?;
                tx.queue_delete(&backup, caller).await?;
            }
            // Two deletes are one.
            Some(job) if job.kind() == JobKind::Delete => {}
            Some(job) if force => {
                tx.mark_deleting(&backup, Some(&job), caller).await?;
                // A committed creation is only waited for; whatever settles it queues the delete.
                if job.state != JobState::Committing && !tx.job_is_committed(&job).await? {
                    tx.cancel_job(&job).await?;
                }
            }
            Some(_) => return Err(Refusal::Busy.into()),
        }
        Ok(backup)
    }

    async fn mark_deleting(
        &mut self,
        backup: &BackupRow,
        job: Option<&JobRow>,
        caller: &Caller,
    ) -> Result<(), StoreError> {
        let from = [
            BackupStatus::Creating,
            BackupStatus::Available,
            BackupStatus::Restoring,
            BackupStatus::Error,
            BackupStatus::ErrorDeleting,
            BackupStatus::Deleting,
        ];
        self.move_backup(backup.id, &from, BackupStatus::Deleting, None)
            .await?;
        let backup = BackupRow {
            status: BackupStatus::Deleting,
            fail_reason: None,
            ..backup.clone()
        };
        self.announce_backup(
            &backup,
            JobKind::Delete,
            job.map(|job| job.id),
            caller.origin(),
        )
        .await
    }

    /// Whether any name of the backup may exist: a worker was granted an attempt, or it was imported.
    async fn left_something(&mut self, id: BackupId) -> Result<bool, StoreError> {
        let attempts = self.attempts(id).await?;
        Ok(attempts
            .iter()
            .any(|attempt| attempt.first_generation.is_some() || attempt.names.scratch.is_none()))
    }

    async fn is_served(&mut self, backup: &BackupRow) -> Result<bool, StoreError> {
        let zone = self.zone_or_default(backup.zone());
        self.zone_was_seen(&zone).await
    }

    /// Queues the delete of a backup that is `deleting` and has no other job. What no worker ever
    /// touched is gone at once.
    pub(super) async fn queue_delete(
        &mut self,
        backup: &BackupRow,
        caller: &Caller,
    ) -> Result<(), StoreError> {
        if !self.left_something(backup.id).await? {
            self.bury_backup(backup.id).await?;
            let gone = BackupRow {
                status: BackupStatus::Deleted,
                ..backup.clone()
            };
            return self
                .announce_backup(&gone, JobKind::Delete, None, caller.origin())
                .await;
        }
        let zone = self.zone_or_default(backup.zone());
        let target = self.settings().backup.target.clone();
        self.add_job(NewJob {
            queue: QueueKey {
                kind: JobKind::Delete,
                zone,
                backend: target,
            },
            backup_id: Some(backup.id),
            volume_id: None,
            snapshot_id: None,
            attempt: None,
            details: Details::Delete,
            caller,
            next_at: None,
        })
        .await?;
        Ok(())
    }

    async fn cancel(&mut self, backup: &BackupRow) -> Result<(), RequestError> {
        let committed =
            backup.status == BackupStatus::Creating && self.is_committed(backup.id).await?;
        may_cancel(backup.status, committed)?;
        let job = self
            .unsettled_job_of_backup(backup.id)
            .await?
            .ok_or_else(|| StoreError::Missing(format!("the job of backup {}", backup.id)))?;
        self.cancel_job(&job).await?;
        Ok(())
    }

    /// Asks a live lease to end the job; without one the job settles here and now, and its names
    /// are left to `clean`.
    async fn cancel_job(&mut self, job: &JobRow) -> Result<(), StoreError> {
        self.request_cancel(job.id).await?;
        if job.state == JobState::Queued {
            self.settle(job, &Outcome::Cancelled, None).await?;
        }
        Ok(())
    }

    /// Whether a job's data passed the commit gate: then it can only be finished.
    pub(crate) async fn job_is_committed(&mut self, job: &JobRow) -> Result<bool, StoreError> {
        match (job.kind(), job.backup_id) {
            (JobKind::Backup, Some(backup)) => self.is_committed(backup).await,
            _ => Ok(false),
        }
    }
}
