//! Step 1 of *Create*: one transaction that makes a backup a promise.

use std::collections::BTreeMap;

use common::domain::{
    BackupId, BackupStatus, ContainerName, JobId, JobKind, QueueKey, SnapshotId, SnapshotStatus,
    Token, VolumeId, VolumeStatus,
};

use super::backups::BackupRow;
use super::jobs::{Details, NewJob};
use super::snapshots::{self, SnapshotRow};
use super::volumes::{self, VolumeRow};
use super::{Caller, RequestError, Scope, Store, StoreError, Tx};
use crate::rules::{Refusal, may_add_backup, may_back_up, may_back_up_snapshot, pick_parent};

/// A backup to make.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the API's field of the same name")]
pub struct NewBackup {
    pub volume_id: VolumeId,
    pub name: Option<String>,
    pub description: Option<String>,
    pub container: Option<ContainerName>,
    pub incremental: bool,
    pub force: bool,
    pub snapshot_id: Option<SnapshotId>,
    pub metadata: BTreeMap<String, String>,
    pub availability_zone: Option<String>,
}

/// What a backup ends with when nobody was ever seen in its zone (Cinder's sentence).
const NO_SERVICE: &str = "Service not found for creating backup.";

impl Store {
    /// Accepts a backup: record, attempt with all its names, job and doorbell, or nothing of it.
    ///
    /// The checks come in the API's order: does it exist, is it in a state for it, is there quota,
    /// is there a parent.
    ///
    /// # Errors
    /// When the volume is not there or a rule forbids it.
    pub async fn create_backup(
        &self,
        caller: &Caller,
        new: NewBackup,
    ) -> Result<BackupRow, RequestError> {
        let mut tx = self.write().await?;
        let backup = tx.create_backup(caller, new).await?;
        common::durable!("api.create", tx.commit().await)?;
        Ok(backup)
    }
}

impl Tx {
    /// See [`Store::create_backup`].
    pub(super) async fn create_backup(
        &mut self,
        caller: &Caller,
        new: NewBackup,
    ) -> Result<BackupRow, RequestError> {
        let tx = self;
        let scope = Scope::Project(caller.project_id.clone());
        let volume = volumes::find(tx.conn(), &scope, new.volume_id).await?;
        let snapshot = match new.snapshot_id {
            Some(id) => Some(snapshots::find(tx.conn(), &scope, id).await?),
            None => None,
        };
        if let Some(snapshot) = &snapshot {
            may_back_up_snapshot(volume.id, snapshot.volume_id, snapshot.status)?;
            tx.require_free_snapshot(snapshot).await?;
        } else {
            may_back_up(volume.status, new.force)?;
            if tx.unsettled_job_of_volume(volume.id).await?.is_some() {
                return Err(Refusal::Busy.into());
            }
        }
        let quota = tx.quota_of_backups(&caller.project_id).await?;
        may_add_backup(quota.backups, quota.backups_limit, volume.size_gib)?;
        let parent_id = if new.incremental {
            let taken_at = snapshot.as_ref().map(|snapshot| snapshot.created_at);
            let candidates = tx.parent_candidates(caller, volume.id).await?;
            let parent = pick_parent(&candidates, taken_at)?;
            tx.require_whole_chain(parent).await?;
            Some(parent)
        } else {
            None
        };

        let id = BackupId::new();
        let zone = new
            .availability_zone
            .unwrap_or_else(|| volume.availability_zone.to_string());
        let mut backup = BackupRow {
            id,
            project_id: caller.project_id.clone(),
            user_id: caller.user_id.clone(),
            volume_id: volume.id,
            status: BackupStatus::Creating,
            size_gib: volume.size_gib,
            object_count: 0,
            availability_zone: Some(zone.clone()),
            container: new.container.clone(),
            prefix: None,
            name: new.name,
            description: new.description,
            fail_reason: None,
            parent_id,
            dependents: 0,
            snapshot_id: snapshot.as_ref().map(|snapshot| snapshot.id),
            data_timestamp: Some(snapshot.as_ref().map_or(tx.now, |row| row.created_at)),
            metadata: new.metadata,
            restore_volume_id: None,
            delete_began: false,
            created_at: tx.now,
            updated_at: None,
        };
        let Some(zone) = tx.served_zone(&zone).await? else {
            backup.status = BackupStatus::Error;
            backup.fail_reason = Some(NO_SERVICE.to_owned());
            tx.add_backup(&backup).await?;
            tx.announce_backup(&backup, JobKind::Backup, None, caller.origin())
                .await?;
            return Ok(backup);
        };

        tx.add_backup(&backup).await?;
        let container = new
            .container
            .unwrap_or_else(|| ContainerName::from_backup_id(id));
        let options = tx.settings().backup.store_options();
        let attempt = tx.add_attempt(&backup, container, options, None).await?;
        tx.show_attempt(&attempt).await?;
        backup.container = Some(attempt.names.container.clone());
        backup.prefix = Some(attempt.names.prefix.clone());
        let job = tx
            .add_job(NewJob {
                queue: QueueKey {
                    kind: JobKind::Backup,
                    zone,
                    backend: volume.backend.clone(),
                },
                backup_id: Some(id),
                // Who reads a snapshot leaves the volume to others.
                volume_id: snapshot.is_none().then_some(volume.id),
                snapshot_id: backup.snapshot_id,
                attempt: Some(attempt.names.number),
                details: Details::Backup {
                    previous_status: volume.status,
                },
                caller,
                next_at: None,
            })
            .await?;
        tx.announce_backup(&backup, JobKind::Backup, Some(job), caller.origin())
            .await?;
        tx.source_is_backing_up(&volume, snapshot.as_ref(), job)
            .await?;
        Ok(backup)
    }

    /// What is read is the job's until it is over: the snapshot if there is one, else the volume.
    async fn source_is_backing_up(
        &mut self,
        volume: &VolumeRow,
        snapshot: Option<&SnapshotRow>,
        job: JobId,
    ) -> Result<(), StoreError> {
        if let Some(snapshot) = snapshot {
            let status = SnapshotStatus::BackingUp;
            self.set_snapshot(snapshot.id, status, Some(job)).await?;
            return self
                .announce_snapshot(snapshot, status, Some(job), None)
                .await;
        }
        let status = VolumeStatus::BackingUp;
        self.set_volume(volume.id, status, Some(volume.status), Some(job))
            .await?;
        self.announce_volume(volume, status, Some(job), None).await
    }

    /// The zone as a queue key has it, if anyone was ever seen in it.
    pub(super) async fn served_zone(&mut self, zone: &str) -> Result<Option<Token>, RequestError> {
        let Ok(zone) = Token::new(zone) else {
            return Ok(None);
        };
        Ok(self.zone_was_seen(&zone).await?.then_some(zone))
    }
}
