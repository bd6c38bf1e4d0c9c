//! Step 1 of *Restore*: into a volume that is there, or a new one.

use std::collections::BTreeMap;

use common::domain::{BackupId, BackupStatus, JobKind, QueueKey, VolumeId, VolumeStatus};

use super::jobs::{Details, NewJob};
use super::row::micros;
use super::volume_requests::source_of;
use super::volumes::{NewVolume, VolumeRow};
use super::{Caller, RequestError, Scope, Store, StoreError, Tx, backups, failed, volumes};
use crate::rules::{Refusal, may_add_volume, may_restore, may_restore_to};

/// What to restore to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RestoreRequest {
    /// An existing volume; without one a new volume is made.
    pub volume_id: Option<VolumeId>,
    /// Name of the new volume.
    pub name: Option<String>,
    /// Description of the new volume; without one it is Cinder's, the inner `None` is none at all.
    pub description: Option<Option<String>>,
    /// Metadata of the new volume, until the source's comes with its data.
    pub metadata: BTreeMap<String, String>,
}

/// What a restore began with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreStarted {
    /// The backup.
    pub backup_id: BackupId,
    /// Where it goes.
    pub volume_id: VolumeId,
    /// And what that is called.
    pub volume_name: String,
}

/// Description of a volume that a restore makes (Cinder's word).
const NEW_VOLUME_DESCRIPTION: &str = "auto-created_from_restore_from_backup";

impl Store {
    /// Accepts a restore. The row of a new volume is made here; its data by the job.
    ///
    /// # Errors
    /// When backup or volume are not there or a rule forbids it.
    pub async fn restore_backup(
        &self,
        caller: &Caller,
        scope: &Scope,
        id: BackupId,
        request: RestoreRequest,
    ) -> Result<RestoreStarted, RequestError> {
        let mut tx = self.write().await?;
        let started = tx.restore_backup(caller, scope, id, request).await?;
        common::durable!("api.restore", tx.commit().await)?;
        Ok(started)
    }
}

impl Tx {
    /// See [`Store::restore_backup`].
    pub(super) async fn restore_backup(
        &mut self,
        caller: &Caller,
        scope: &Scope,
        id: BackupId,
        request: RestoreRequest,
    ) -> Result<RestoreStarted, RequestError> {
        let tx = self;
        let mut backup = backups::find(tx.conn(), scope, id).await?;
        may_restore(backup.status)?;
        tx.require_whole_chain(id).await?;
        let named = request.name.is_some();
        let (volume, is_new) = match request.volume_id {
            Some(volume) => {
                let volume = volumes::find(tx.conn(), scope, volume).await?;
                may_restore_to(volume.status, volume.size_gib, backup.size_gib)?;
                if tx.unsettled_job_of_volume(volume.id).await?.is_some() {
                    return Err(Refusal::Busy.into());
                }
                (volume, false)
            }
            None => (tx.volume_for(caller, &backup, request)?, true),
        };
        if is_new {
            let quota = tx.quota_of_volumes(&caller.project_id).await?;
            may_add_volume(quota.volumes, quota.volumes_limit, volume.size_gib)?;
        }
        if !tx.zone_was_seen(&volume.availability_zone).await? {
            return Err(Refusal::NoService.into());
        }
        if is_new {
            tx.add_volume(&volume).await?;
        }
        let job = tx
            .add_job(NewJob {
                queue: QueueKey {
                    kind: JobKind::Restore,
                    zone: volume.availability_zone.clone(),
                    backend: volume.backend.clone(),
                },
                backup_id: Some(id),
                volume_id: Some(volume.id),
                snapshot_id: None,
                attempt: None,
                details: Details::Restore {
                    volume_is_new: is_new,
                    named,
                },
                caller,
                next_at: None,
            })
            .await?;
        tx.set_volume(volume.id, VolumeStatus::RestoringBackup, None, Some(job))
            .await?;
        tx.backup_is_restoring(id, volume.id).await?;
        backup.status = BackupStatus::Restoring;
        backup.fail_reason = None;
        tx.announce_backup(&backup, JobKind::Restore, Some(job), caller.origin())
            .await?;
        tx.announce_volume(&volume, VolumeStatus::RestoringBackup, Some(job), None)
            .await?;
        Ok(RestoreStarted {
            backup_id: id,
            volume_id: volume.id,
            volume_name: volume.name.unwrap_or_default(),
        })
    }

    /// The row of a volume that a restore makes: of the backup's size, in its zone.
    fn volume_for(
        &self,
        caller: &Caller,
        backup: &backups::BackupRow,
        request: RestoreRequest,
    ) -> Result<VolumeRow, RequestError> {
        let id = VolumeId::new();
        let source = source_of(id)?;
        let name = request.name;
        let description = request.description;
        let new = NewVolume {
            name: Some(name.unwrap_or_else(|| format!("restore_backup_{}", backup.id))),
            description: description.unwrap_or_else(|| Some(NEW_VOLUME_DESCRIPTION.to_owned())),
            metadata: request.metadata,
            size_gib: backup.size_gib,
            availability_zone: backup.availability_zone.clone(),
            ..NewVolume::default()
        };
        let mut row = self.new_volume_row(caller, id, new, source)?;
        row.status = VolumeStatus::RestoringBackup;
        Ok(row)
    }

    async fn backup_is_restoring(
        &mut self,
        id: BackupId,
        volume: VolumeId,
    ) -> Result<(), StoreError> {
        let now = micros(self.now);
        sqlx::query(
            "UPDATE backups SET status = 'restoring', fail_reason = NULL, restore_volume_id = $2, \
             updated_at = $3 WHERE id = $1 AND status = 'available'",
        )
        .bind(id.to_string())
        .bind(volume.to_string())
        .bind(now)
        .execute(self.conn())
        .await
        .map_err(failed("mark a backup as restoring"))?;
        Ok(())
    }
}
