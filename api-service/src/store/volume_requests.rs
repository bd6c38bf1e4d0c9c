//! What owners and administrators do with volumes.

use common::domain::{
    JobKind, QueueKey, SnapshotId, SnapshotStatus, VolumeId, VolumeSource, VolumeStatus,
};
use common::messages::sheet::VolumeAction;

use super::jobs::{Details, NewJob};
use super::volumes::{Attachment, NewVolume, VolumeChanges, VolumeRow, find};
use super::{Caller, RequestError, Scope, Store, StoreError, Tx, snapshots};
use crate::rules::{
    Refusal, may_add_volume, may_attach, may_delete_volume, may_detach, may_fill_from,
    may_go_with_volume,
};

/// How a volume is to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deleting {
    /// Its snapshots go with it.
    pub cascade: bool,
    /// Whatever its status; what a job works on, or a server has, stays.
    pub force: bool,
}

impl Store {
    /// Makes a volume that reads as zeros. A worker does it; in a zone that was never seen it is in
    /// `error` at once.
    ///
    /// # Errors
    /// When the quota has no room for it.
    pub async fn create_volume(
        &self,
        caller: &Caller,
        new: NewVolume,
    ) -> Result<VolumeRow, RequestError> {
        let id = VolumeId::new();
        let source = source_of(id)?;
        self.begin_volume(caller, id, new, source, VolumeAction::Create, None)
            .await
    }

    /// Makes a volume with the bytes of a snapshot, in its backend and zone; a size of 0 is that of the
    /// snapshot.
    ///
    /// # Errors
    /// When there is no such snapshot in the scope, a rule forbids it, or the quota has no room for it.
    pub async fn create_volume_from(
        &self,
        caller: &Caller,
        scope: &Scope,
        snapshot: SnapshotId,
        new: NewVolume,
    ) -> Result<VolumeRow, RequestError> {
        let id = VolumeId::new();
        let source = source_of(id)?;
        let filled = Some((scope, snapshot));
        self.begin_volume(caller, id, new, source, VolumeAction::Create, filled)
            .await
    }

    /// Takes over data that is there already; a worker finds out its size.
    ///
    /// # Errors
    /// When another record is about the same data, or the quota has no room for it.
    pub async fn manage_volume(
        &self,
        caller: &Caller,
        source: VolumeSource,
        new: NewVolume,
    ) -> Result<VolumeRow, RequestError> {
        let (id, action) = (VolumeId::new(), VolumeAction::Manage);
        self.begin_volume(caller, id, new, source, action, None)
            .await
    }

    async fn begin_volume(
        &self,
        caller: &Caller,
        id: VolumeId,
        new: NewVolume,
        source: VolumeSource,
        action: VolumeAction,
        filled_from: Option<(&Scope, SnapshotId)>,
    ) -> Result<VolumeRow, RequestError> {
        let mut tx = self.write().await?;
        let (new, snapshot_id) = match filled_from {
            Some((scope, id)) => (tx.filled_from(scope, id, new).await?, Some(id)),
            None => (new, None),
        };
        let quota = tx.quota_of_volumes(&caller.project_id).await?;
        may_add_volume(quota.volumes, quota.volumes_limit, new.size_gib)?;
        let mut row = tx.new_volume_row(caller, id, new, source)?;
        row.snapshot_id = snapshot_id;
        let seen = tx.zone_was_seen(&row.availability_zone).await?;
        row.status = if seen {
            VolumeStatus::Creating
        } else {
            VolumeStatus::Error
        };
        tx.add_volume(&row).await?;
        if seen {
            let job = tx
                .add_job(NewJob {
                    queue: QueueKey {
                        kind: JobKind::Volume,
                        zone: row.availability_zone.clone(),
                        backend: row.backend.clone(),
                    },
                    backup_id: None,
                    volume_id: Some(row.id),
                    snapshot_id,
                    attempt: None,
                    details: Details::Volume { action },
                    caller,
                    next_at: None,
                })
                .await?;
            tx.set_volume(row.id, VolumeStatus::Creating, None, Some(job))
                .await?;
        }
        tx.announce_volume(&row, row.status, None, None).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// Removes a volume.
    ///
    /// # Errors
    /// When it is attached, something works on it, or it has snapshots that do not go with it.
    pub async fn delete_volume(
        &self,
        caller: &Caller,
        scope: &Scope,
        id: VolumeId,
        how: Deleting,
    ) -> Result<(), RequestError> {
        let mut tx = self.write().await?;
        let row = find(tx.conn(), scope, id).await?;
        may_delete_volume(row.status, !row.attachments.is_empty(), how.force)?;
        let snapshots = tx.snapshots_of(id).await?;
        if !how.cascade && !snapshots.is_empty() {
            return Err(Refusal::VolumeHasSnapshots.into());
        }
        for snapshot in &snapshots {
            let free = may_go_with_volume(snapshot.status, how.force)
                && tx.unsettled_job_of_snapshot(snapshot.id).await?.is_none();
            if !scope.sees(&snapshot.project_id) || !free {
                return Err(Refusal::VolumeHasSnapshots.into());
            }
        }
        if tx.unsettled_job_of_volume(id).await?.is_some() {
            return Err(Refusal::Busy.into());
        }
        // What could not be taken over never became ours: no worker told a size, and the data,
        // if there is any, stays where it is.
        let never_ours = row.size_gib == 0;
        if snapshots.is_empty() && (never_ours || !row.make_began) {
            tx.bury_volume(id).await?;
        } else {
            let job = tx
                .add_job(NewJob {
                    queue: QueueKey {
                        kind: JobKind::Volume,
                        zone: row.availability_zone.clone(),
                        backend: row.backend.clone(),
                    },
                    backup_id: None,
                    volume_id: Some(id),
                    snapshot_id: None,
                    attempt: None,
                    details: Details::Volume {
                        action: VolumeAction::Delete,
                    },
                    caller,
                    next_at: None,
                })
                .await?;
            tx.set_volume(id, VolumeStatus::Deleting, None, Some(job))
                .await?;
            tx.announce_volume(&row, VolumeStatus::Deleting, Some(job), None)
                .await?;
            for snapshot in &snapshots {
                let status = SnapshotStatus::Deleting;
                tx.set_snapshot(snapshot.id, status, Some(job)).await?;
                tx.announce_snapshot(snapshot, status, Some(job), None)
                    .await?;
            }
        }
        tx.commit().await?;
        Ok(())
    }

    /// Notes that a server has the volume.
    ///
    /// # Errors
    /// When it is not available.
    pub async fn attach_volume(
        &self,
        scope: &Scope,
        id: VolumeId,
        server_id: Option<String>,
        host_name: Option<String>,
        device: Option<String>,
    ) -> Result<(), RequestError> {
        let mut tx = self.write().await?;
        let mut row = find(tx.conn(), scope, id).await?;
        may_attach(row.status)?;
        // A reset may have called a volume available that a job still writes to.
        if tx.unsettled_job_of_volume(id).await?.is_some() {
            return Err(Refusal::Busy.into());
        }
        row.attachments.push(Attachment {
            attachment_id: uuid::Uuid::now_v7(),
            server_id,
            host_name,
            device,
            attached_at: tx.now,
        });
        tx.set_attachments(id, VolumeStatus::InUse, &row.attachments)
            .await?;
        tx.announce_volume(&row, VolumeStatus::InUse, None, None)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Notes that nobody has the volume any more.
    ///
    /// # Errors
    /// When it is not in use.
    pub async fn detach_volume(&self, scope: &Scope, id: VolumeId) -> Result<(), RequestError> {
        let mut tx = self.write().await?;
        let row = find(tx.conn(), scope, id).await?;
        may_detach(row.status)?;
        tx.set_attachments(id, VolumeStatus::Available, &[]).await?;
        tx.announce_volume(&row, VolumeStatus::Available, None, None)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Sets a volume's status, whatever it was: an administrator's tool. A job that has the volume
    /// goes on; it no longer changes the status at its end.
    ///
    /// # Errors
    /// When there is no such volume in the scope.
    pub async fn reset_volume_status(
        &self,
        scope: &Scope,
        id: VolumeId,
        status: VolumeStatus,
    ) -> Result<(), RequestError> {
        let mut tx = self.write().await?;
        let row = find(tx.conn(), scope, id).await?;
        tx.set_volume(id, status, None, None).await?;
        tx.announce_volume(&row, status, None, None).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Changes what the owner may change.
    ///
    /// # Errors
    /// When there is no such volume in the scope.
    pub async fn update_volume(
        &self,
        scope: &Scope,
        id: VolumeId,
        changes: VolumeChanges,
    ) -> Result<VolumeRow, RequestError> {
        let mut tx = self.write().await?;
        let mut row = find(tx.conn(), scope, id).await?;
        row.name = changes.name.unwrap_or(row.name);
        row.description = changes.description.unwrap_or(row.description);
        row.metadata = changes.metadata.unwrap_or(row.metadata);
        row.updated_at = Some(tx.now);
        tx.describe_volume(&row).await?;
        tx.commit().await?;
        Ok(row)
    }
}

/// Where the data of a volume that is made here lies.
pub(super) fn source_of(id: VolumeId) -> Result<VolumeSource, StoreError> {
    VolumeSource::new(format!("volume-{id}")).map_err(|bad| StoreError::Missing(bad.to_string()))
}

impl Tx {
    /// What a volume is to be like that gets the bytes of a snapshot: where that is, and large enough.
    async fn filled_from(
        &mut self,
        scope: &Scope,
        id: SnapshotId,
        new: NewVolume,
    ) -> Result<NewVolume, RequestError> {
        let snapshot = snapshots::find(self.conn(), scope, id).await?;
        let size_gib = match new.size_gib {
            0 => snapshot.size_gib,
            asked => asked,
        };
        may_fill_from(snapshot.status, snapshot.size_gib, size_gib)?;
        self.require_free_snapshot(&snapshot).await?;
        let volume = self.volume_of_snapshot(&snapshot).await?;
        Ok(NewVolume {
            size_gib,
            backend: Some(volume.backend),
            availability_zone: Some(volume.availability_zone.to_string()),
            ..new
        })
    }
}
