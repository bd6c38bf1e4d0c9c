//! Sheets: all a worker needs to do a job, put together when the job is granted.

use std::collections::BTreeMap;

use common::domain::{BackupStatus, JobKind, SnapshotId, SnapshotStatus};
use common::messages::sheet::{
    BackupRecord, BackupSheet, CleanScope, CleanSheet, DeleteSheet, RestoreSheet, Sheet,
    VolumeAction, VolumeRef, VolumeSheet,
};
use serde_json::{Value, json};

use super::attempts::AttemptState;
use super::backups::{BackupRow, stored_backup};
use super::jobs::{Details, JobRow};
use super::row::plain;
use super::snapshots::SnapshotRow;
use super::volumes::VolumeRow;
use super::{StoreError, Tx};

impl Tx {
    /// The sheet of a job, as of its present attempt.
    pub(crate) async fn sheet(&mut self, job: &JobRow) -> Result<Sheet, StoreError> {
        match job.kind() {
            JobKind::Backup => Ok(Sheet::Backup(Box::new(self.backup_sheet(job).await?))),
            JobKind::Restore => self.restore_sheet(job).await.map(Sheet::Restore),
            JobKind::Delete => self.delete_sheet(job).await.map(Sheet::Delete),
            JobKind::Volume => self.volume_sheet(job).await.map(Sheet::Volume),
            JobKind::Clean => self.clean_sheet(job).await.map(Sheet::Clean),
        }
    }

    async fn backup_of(&mut self, job: &JobRow) -> Result<BackupRow, StoreError> {
        let missing = || StoreError::Missing(format!("the backup of job {}", job.id));
        let id = job.backup_id.ok_or_else(missing)?;
        self.backup_or_tombstone(id).await?.ok_or_else(missing)
    }

    async fn volume_of(&mut self, job: &JobRow) -> Result<VolumeRow, StoreError> {
        let missing = || StoreError::Missing(format!("the volume of job {}", job.id));
        let id = job.volume_id.ok_or_else(missing)?;
        self.volume_or_tombstone(id).await?.ok_or_else(missing)
    }

    async fn snapshot_of(&mut self, job: &JobRow) -> Result<Option<SnapshotRow>, StoreError> {
        let Some(id) = job.snapshot_id else {
            return Ok(None);
        };
        match self.snapshot_or_tombstone(id).await? {
            Some((row, _)) => Ok(Some(row)),
            None => Err(StoreError::Missing(format!(
                "the snapshot of job {}",
                job.id
            ))),
        }
    }

    async fn backup_sheet(&mut self, job: &JobRow) -> Result<BackupSheet, StoreError> {
        let backup = self.backup_of(job).await?;
        let volume = self
            .volume_or_tombstone(backup.volume_id)
            .await?
            .ok_or_else(|| StoreError::Missing(format!("the volume of backup {}", backup.id)))?;
        let snapshot = self.snapshot_of(job).await?;
        let number = job
            .attempt
            .ok_or_else(|| StoreError::Missing(format!("the attempt of job {}", job.id)))?;
        let attempt = self.attempt(backup.id, number).await?;
        let parent = match backup.parent_id {
            Some(parent) => {
                let parent = self
                    .backup(parent)
                    .await?
                    .ok_or_else(|| StoreError::Missing(format!("the parent of {}", backup.id)))?;
                Some(stored_backup(&parent)?)
            }
            None => None,
        };
        let in_use = snapshot.is_none()
            && matches!(
                job.details,
                Details::Backup {
                    previous_status: common::domain::VolumeStatus::InUse
                }
            );
        Ok(BackupSheet {
            backup_id: backup.id,
            volume: VolumeRef {
                // The size the record was made with counts, whatever became of the volume since.
                size_gib: backup.size_gib,
                ..volume.as_ref()
            },
            source_snapshot: snapshot.as_ref().map(|row| row.as_ref(&volume)),
            in_use,
            names: attempt.names,
            options: attempt.options,
            parent,
            committed: attempt.state == AttemptState::Committed,
            frozen: attempt.frozen,
            mark: job.mark,
            record: BackupRecord {
                volume_meta: Some(volume_meta(&volume)),
                name: backup.name,
                description: backup.description,
                created_at: backup.created_at,
                project_id: backup.project_id,
                user_id: backup.user_id,
                size_gib: backup.size_gib,
                data_timestamp: snapshot.map(|row| row.created_at),
                snapshot_id: backup.snapshot_id.map(SnapshotId::as_uuid),
                availability_zone: backup.availability_zone,
                metadata: backup.metadata,
            },
        })
    }

    async fn restore_sheet(&mut self, job: &JobRow) -> Result<RestoreSheet, StoreError> {
        let backup = self.backup_of(job).await?;
        let volume = self.volume_of(job).await?;
        Ok(RestoreSheet {
            chain: self.chain(backup.id).await?,
            backup_size_gib: backup.size_gib,
            volume: volume.as_ref(),
            volume_is_new: matches!(
                job.details,
                Details::Restore {
                    volume_is_new: true,
                    ..
                }
            ),
            mark: job.mark,
        })
    }

    async fn delete_sheet(&mut self, job: &JobRow) -> Result<DeleteSheet, StoreError> {
        let backup = self.backup_of(job).await?;
        let attempts = self.attempts(backup.id).await?;
        let mut objects_too = true;
        for attempt in &attempts {
            let names = &attempt.names;
            if self
                .prefix_is_shared(backup.id, &names.container, &names.prefix)
                .await?
            {
                objects_too = false;
            }
        }
        Ok(DeleteSheet {
            backup_id: backup.id,
            attempts: attempts.into_iter().map(|attempt| attempt.names).collect(),
            objects_too,
        })
    }

    async fn volume_sheet(&mut self, job: &JobRow) -> Result<VolumeSheet, StoreError> {
        let Details::Volume { action } = job.details else {
            return Err(StoreError::Missing(format!("the action of job {}", job.id)));
        };
        let snapshots = match action {
            VolumeAction::Delete => {
                let deleting = SnapshotStatus::Deleting;
                let volume = self.volume_of(job).await?.id;
                self.snapshots_of_job(volume, job.id, deleting).await?
            }
            VolumeAction::Create
            | VolumeAction::Manage
            | VolumeAction::CreateSnapshot
            | VolumeAction::DeleteSnapshot => self.snapshot_of(job).await?.into_iter().collect(),
        };
        let mut refs = Vec::new();
        for snapshot in &snapshots {
            refs.push(snapshot.as_ref(&self.volume_of_snapshot(snapshot).await?));
        }
        let volume = match (job.volume_id, refs.first()) {
            (None, Some(snapshot)) => snapshot.volume.clone(),
            _ => self.volume_of(job).await?.as_ref(),
        };
        Ok(VolumeSheet {
            volume,
            action,
            snapshots: refs,
        })
    }

    async fn clean_sheet(&mut self, job: &JobRow) -> Result<CleanSheet, StoreError> {
        let backup = self.backup_of(job).await?;
        let number = job
            .attempt
            .ok_or_else(|| StoreError::Missing(format!("the attempt of job {}", job.id)))?;
        let attempt = self.attempt(backup.id, number).await?;
        let names = &attempt.names;
        let mut shared = self
            .prefix_is_shared(backup.id, &names.container, &names.prefix)
            .await?;
        // A deleted backup that came back by an import lives from a later attempt with these names.
        for other in self.attempts(backup.id).await? {
            shared |= other.state == AttemptState::Committed
                && other.names.number != number
                && (&other.names.container, &other.names.prefix)
                    == (&names.container, &names.prefix);
        }
        let is_kept = attempt.state == AttemptState::Committed;
        let scope = if shared || (is_kept && backup.delete_began) {
            CleanScope::ScratchOnly
        } else if is_kept && backup.status != BackupStatus::Deleted {
            CleanScope::Strays
        } else {
            CleanScope::Everything
        };
        let volume = match job.volume_id {
            Some(_) => Some(self.volume_of(job).await?.as_ref()),
            None => None,
        };
        Ok(CleanSheet {
            backup_id: backup.id,
            names: attempt.names,
            volume,
            scope,
        })
    }
}

/// What a backup's metadata file says about its volume, in Cinder's shape
/// (`cinder/backup/driver.py`, `BackupMetadataAPI`, version 2).
fn volume_meta(volume: &VolumeRow) -> String {
    let mut meta = json!({
        "version": 2,
        "volume-base-metadata": {
            "id": volume.id.to_string(),
            "display_name": volume.name,
            "display_description": volume.description,
            "size": volume.size_gib,
            "availability_zone": volume.availability_zone,
            "bootable": volume.bootable,
        },
    });
    if !volume.metadata.is_empty() {
        meta["volume-metadata"] = json!(volume.metadata);
    }
    meta.to_string()
}

/// What a restored volume takes over.
pub(super) struct SourceVolume {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// Reads Cinder's shape, also of versions that say more or less; `None` when it is none.
pub(super) fn read_volume_meta(text: &str) -> Option<SourceVolume> {
    let meta: Value = serde_json::from_str(text).ok()?;
    let base = meta.get("volume-base-metadata");
    let base_text = |key: &str| Some(plain(base?.get(key)?.as_str()?));
    let metadata = meta
        .get("volume-metadata")
        .and_then(Value::as_object)
        .map(|pairs| {
            pairs
                .iter()
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect()
        })
        .unwrap_or_default();
    Some(SourceVolume {
        name: base_text("display_name"),
        description: base_text("display_description"),
        metadata,
    })
}
