//! What owners and administrators do with snapshots, and how the jobs for it end.

use common::domain::{
    JobId, JobKind, QueueKey, SnapshotId, SnapshotName, SnapshotStatus, VolumeId,
};
use common::messages::sheet::VolumeAction;
use jiff::Timestamp;

use super::jobs::{Details, JobRow, NewJob};
use super::snapshots::{NewSnapshot, SnapshotChanges, SnapshotRow, find};
use super::volumes::{self, VolumeRow};
use super::{Caller, RequestError, Scope, Store, StoreError, Tx};
use crate::rules::{Refusal, may_add_snapshot, may_delete_snapshot, may_snapshot};

impl Store {
    /// Takes a snapshot of a volume. A worker does it; the volume is its job's until it is done.
    ///
    /// # Errors
    /// When there is no such volume, a rule forbids it, or the quota has no room for it.
    pub async fn create_snapshot(
        &self,
        caller: &Caller,
        new: NewSnapshot,
    ) -> Result<SnapshotRow, RequestError> {
        let mut tx = self.write().await?;
        let scope = Scope::Project(caller.project_id.clone());
        let volume = volumes::find(tx.conn(), &scope, new.volume_id).await?;
        may_snapshot(volume.id, volume.status, new.in_use_too)?;
        if tx.unsettled_job_of_volume(volume.id).await?.is_some() {
            return Err(Refusal::Busy.into());
        }
        may_add_snapshot(
            &tx.quota_of_volumes(&caller.project_id).await?,
            volume.size_gib,
        )?;
        let served = tx.zone_was_seen(&volume.availability_zone).await?;
        let id = SnapshotId::new();
        let row = SnapshotRow {
            id,
            project_id: caller.project_id.clone(),
            user_id: caller.user_id.clone(),
            volume_id: volume.id,
            status: if served {
                SnapshotStatus::Creating
            } else {
                SnapshotStatus::Error
            },
            size_gib: volume.size_gib,
            source: SnapshotName::of(id),
            name: new.name,
            description: new.description,
            metadata: new.metadata,
            generations: 0,
            created_at: tx.now,
            updated_at: None,
        };
        tx.add_snapshot(&row).await?;
        let job = if served {
            let action = VolumeAction::CreateSnapshot;
            let job = tx
                .add_snapshot_job(&volume, Some(volume.id), id, action, caller, None)
                .await?;
            tx.set_snapshot(id, row.status, Some(job)).await?;
            Some(job)
        } else {
            None
        };
        tx.announce_snapshot(&row, row.status, job, None).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// Removes a snapshot. With `force`: whatever its status, but not while a job has it.
    ///
    /// # Errors
    /// When there is no such snapshot in the scope, or something works on it.
    pub async fn delete_snapshot(
        &self,
        caller: &Caller,
        scope: &Scope,
        id: SnapshotId,
        force: bool,
    ) -> Result<(), RequestError> {
        let mut tx = self.write().await?;
        let row = find(tx.conn(), scope, id).await?;
        may_delete_snapshot(row.status, force)?;
        tx.require_free_snapshot(&row).await?;
        if row.generations == 0 {
            // No worker was ever asked to make it.
            tx.bury_snapshot(id).await?;
        } else {
            let volume = tx.volume_of_snapshot(&row).await?;
            let action = VolumeAction::DeleteSnapshot;
            let job = tx
                .add_snapshot_job(&volume, None, id, action, caller, None)
                .await?;
            tx.set_snapshot(id, SnapshotStatus::Deleting, Some(job))
                .await?;
            tx.announce_snapshot(&row, SnapshotStatus::Deleting, Some(job), None)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Sets a snapshot's status, whatever it was: an administrator's tool. A job that has it goes on; it
    /// no longer changes the status at its end.
    ///
    /// # Errors
    /// When there is no such snapshot in the scope, or it is going together with its volume.
    pub async fn reset_snapshot_status(
        &self,
        scope: &Scope,
        id: SnapshotId,
        status: SnapshotStatus,
    ) -> Result<(), RequestError> {
        let mut tx = self.write().await?;
        let row = find(tx.conn(), scope, id).await?;
        if tx.volume_is_being_deleted(row.volume_id).await? {
            return Err(Refusal::Busy.into());
        }
        tx.set_snapshot(id, status, None).await?;
        tx.announce_snapshot(&row, status, None, None).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Changes what the owner may change.
    ///
    /// # Errors
    /// When there is no such snapshot in the scope.
    pub async fn update_snapshot(
        &self,
        scope: &Scope,
        id: SnapshotId,
        changes: SnapshotChanges,
    ) -> Result<SnapshotRow, RequestError> {
        let mut tx = self.write().await?;
        let mut row = find(tx.conn(), scope, id).await?;
        row.name = changes.name.unwrap_or(row.name);
        row.description = changes.description.unwrap_or(row.description);
        row.updated_at = Some(tx.now);
        tx.describe_snapshot(&row).await?;
        tx.commit().await?;
        Ok(row)
    }
}

impl Tx {
    /// Refuses what would get in the way of a job that has the snapshot: its own, or the one that
    /// removes it together with its volume.
    pub(super) async fn require_free_snapshot(
        &mut self,
        snapshot: &SnapshotRow,
    ) -> Result<(), RequestError> {
        if self.unsettled_job_of_snapshot(snapshot.id).await?.is_some()
            || self.volume_is_being_deleted(snapshot.volume_id).await?
        {
            return Err(Refusal::Busy.into());
        }
        Ok(())
    }

    async fn volume_is_being_deleted(&mut self, id: VolumeId) -> Result<bool, StoreError> {
        let job = self.unsettled_job_of_volume(id).await?;
        let delete = Details::Volume {
            action: VolumeAction::Delete,
        };
        Ok(job.is_some_and(|job| job.details == delete))
    }

    /// The volume a snapshot is of, deleted or not.
    pub(super) async fn volume_of_snapshot(
        &mut self,
        snapshot: &SnapshotRow,
    ) -> Result<VolumeRow, StoreError> {
        self.volume_or_tombstone(snapshot.volume_id)
            .await?
            .ok_or_else(|| StoreError::Missing(format!("the volume of snapshot {}", snapshot.id)))
    }

    /// Queues a job about a snapshot. One that makes it has its volume too; one that removes it does
    /// not, so that several can go at once.
    async fn add_snapshot_job(
        &mut self,
        volume: &VolumeRow,
        held: Option<VolumeId>,
        id: SnapshotId,
        action: VolumeAction,
        caller: &Caller,
        next_at: Option<Timestamp>,
    ) -> Result<JobId, StoreError> {
        self.add_job(NewJob {
            queue: QueueKey {
                kind: JobKind::Volume,
                zone: volume.availability_zone.clone(),
                backend: volume.backend.clone(),
            },
            backup_id: None,
            volume_id: held,
            snapshot_id: Some(id),
            attempt: None,
            details: Details::Volume { action },
            caller,
            next_at,
        })
        .await
    }

    /// A snapshot goes back to what it was before its backup; only if it is still this job's.
    pub(super) async fn give_snapshot_back(
        &mut self,
        job: &JobRow,
        id: SnapshotId,
    ) -> Result<(), StoreError> {
        let back = SnapshotStatus::Available;
        self.move_snapshot(job, id, SnapshotStatus::BackingUp, back, None)
            .await
    }

    /// The end of a job that made a snapshot; `reason` says why it could not.
    pub(super) async fn snapshot_is_made(
        &mut self,
        job: &JobRow,
        id: SnapshotId,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        let to = match reason {
            None => SnapshotStatus::Available,
            Some(_) => SnapshotStatus::Error,
        };
        self.move_snapshot(job, id, SnapshotStatus::Creating, to, reason)
            .await
    }

    /// The end of a job that removed a snapshot, alone or with its volume; `reason` says why it could not.
    pub(super) async fn snapshot_is_removed(
        &mut self,
        job: &JobRow,
        id: SnapshotId,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        if let Some(reason) = reason {
            let (from, to) = (SnapshotStatus::Deleting, SnapshotStatus::ErrorDeleting);
            return self.move_snapshot(job, id, from, to, Some(reason)).await;
        }
        let Some((row, true)) = self.snapshot_or_tombstone(id).await? else {
            return Ok(());
        };
        self.bury_snapshot(id).await?;
        if row.generations > 1 {
            // When a stopped zombie has noticed that it is none of its business any more.
            let later = self.after_two_leases();
            self.remove_stray_snapshot(id, Some(later)).await?;
        }
        Ok(())
    }

    async fn move_snapshot(
        &mut self,
        job: &JobRow,
        id: SnapshotId,
        from: SnapshotStatus,
        to: SnapshotStatus,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        if self.settle_snapshot(id, from, job.id, to).await?
            && let Some((row, _)) = self.snapshot_or_tombstone(id).await?
        {
            self.announce_snapshot(&row, to, Some(job.id), reason)
                .await?;
        }
        Ok(())
    }

    /// Queues the removal of what a stale execution may have made of a snapshot that is deleted. One
    /// that is not keeps its file: its own delete finds it.
    pub(crate) async fn remove_stray_snapshot(
        &mut self,
        id: SnapshotId,
        at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let Some((row, false)) = self.snapshot_or_tombstone(id).await? else {
            return Ok(());
        };
        if self.unsettled_job_of_snapshot(id).await?.is_some() {
            return Ok(());
        }
        let volume = self.volume_of_snapshot(&row).await?;
        let caller = Caller {
            project_id: row.project_id,
            user_id: row.user_id,
            is_admin: false,
            request_id: String::new(),
            traceparent: None,
        };
        self.add_snapshot_job(&volume, None, id, VolumeAction::DeleteSnapshot, &caller, at)
            .await?;
        Ok(())
    }
}
