//! *Import*: a record from elsewhere becomes a row and a committed attempt, in one transaction.
//!
//! Nothing is looked at on the target: the state owner never opens one. What a record cannot be
//! trusted with is counted from live rows instead (who depends on whom), or decided here (whose it
//! is, which zone works on it).

use std::collections::BTreeMap;

use common::domain::{
    AttemptNames, BackupId, BackupStatus, ContainerName, JobKind, ObjectPrefix, SnapshotId,
    VolumeId,
};
use jiff::Timestamp;

use super::backups::BackupRow;
use super::row::{Columns, json_text, micros, stored};
use super::{Caller, RequestError, Store, StoreError, Tx, backups, failed};
use crate::rules::{ImportFacts, Refusal, may_add_backup, may_import};

/// A record that is to be taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedRecord {
    /// The class path of the driver that made it.
    pub service: String,
    /// The backup's id, here too.
    pub id: BackupId,
    /// The volume's size.
    pub size_gib: u32,
    /// The rest; `None` when nobody here serves the driver.
    pub data: Option<ImportedData>,
}

/// What a record says of a backup that can be read here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the API's field of the same name")]
pub struct ImportedData {
    pub volume_id: VolumeId,
    pub object_count: u64,
    pub availability_zone: Option<String>,
    pub container: ContainerName,
    pub prefix: ObjectPrefix,
    pub name: Option<String>,
    pub description: Option<String>,
    pub parent_id: Option<BackupId>,
    pub snapshot_id: Option<SnapshotId>,
    pub data_timestamp: Option<Timestamp>,
    pub metadata: BTreeMap<String, String>,
    pub restore_volume_id: Option<VolumeId>,
    pub created_at: Option<Timestamp>,
    pub updated_at: Option<Timestamp>,
}

impl Store {
    /// Takes a record in, as the caller's. It is `available` at once, or in `error` when nobody
    /// here serves its driver.
    ///
    /// # Errors
    /// When the id is taken, the data is in motion, the parents make no chain, or there is no quota.
    pub async fn import_backup(
        &self,
        caller: &Caller,
        record: ImportedRecord,
    ) -> Result<BackupRow, RequestError> {
        let mut tx = self.write().await?;
        if !tx.any_worker_was_seen().await? {
            return Err(Refusal::NoServiceFor(record.service).into());
        }
        may_import(tx.import_facts(&record).await?)?;
        let quota = tx.quota_of_backups(&caller.project_id).await?;
        may_add_backup(quota.backups, quota.backups_limit, record.size_gib)?;
        let row = tx.imported_row(caller, &record).await?;
        tx.put_imported(&row).await?;
        if let Some(data) = record.data {
            tx.add_imported_attempt(row.id, data.container, data.prefix)
                .await?;
        }
        tx.announce_backup(&row, JobKind::Backup, None, caller.origin())
            .await?;
        tx.commit().await?;
        Ok(row)
    }
}

impl Tx {
    async fn import_facts(&mut self, record: &ImportedRecord) -> Result<ImportFacts, StoreError> {
        let mut facts = ImportFacts {
            id_is_taken: backups::load(self.conn(), record.id).await?.is_some(),
            ..ImportFacts::default()
        };
        let Some(data) = &record.data else {
            return Ok(facts);
        };
        facts.data_in_motion = self.is_in_motion(&data.container, &data.prefix).await?;
        facts.is_its_own_ancestor = data.parent_id == Some(record.id);
        let mut next = data.parent_id.filter(|_| !facts.is_its_own_ancestor);
        while let Some(id) = next {
            let Some(parent) = backups::load(self.conn(), id).await? else {
                break;
            };
            if parent.status == BackupStatus::Deleting {
                facts.deleting_parent = Some(id);
                break;
            }
            next = parent.parent_id;
            if next == Some(record.id) {
                facts.is_its_own_ancestor = true;
                break;
            }
        }
        Ok(facts)
    }

    /// Whether a backup that names these objects is being made or removed: what lies there is
    /// not, or not for long, a whole backup.
    ///
    /// A delete that began counts until the backup is gone. What is left of an attempt that is over
    /// counts while somebody may still be removing it: whoever has the lease of a clean, and an
    /// execution that lost its lease less than two leases ago, or whose job is not settled. One that
    /// is granted later sees the import and spares its objects. When another live record
    /// has the names, all of them were granted with that in view.
    async fn is_in_motion(
        &mut self,
        container: &ContainerName,
        prefix: &ObjectPrefix,
    ) -> Result<bool, StoreError> {
        let two_leases_ago = micros(self.now - self.settings().jobs.lease * 2);
        let row = sqlx::query(
            "SELECT COUNT(*) AS n FROM attempts a JOIN backups b ON b.id = a.backup_id \
             WHERE a.container = $1 AND a.prefix = $2 \
             AND (b.status IN ('creating', 'deleting') \
             OR (b.delete_began = 1 AND b.status <> 'deleted') \
             OR (a.state IN ('abandoned', 'given_up', 'deleted') \
             AND NOT EXISTS (SELECT 1 FROM attempts c JOIN backups o ON o.id = c.backup_id \
             WHERE c.container = $1 AND c.prefix = $2 AND c.state = 'committed' \
             AND o.deleted_at IS NULL AND o.status <> 'deleting') \
             AND EXISTS (SELECT 1 FROM jobs j JOIN generations g ON g.job_id = j.id \
             WHERE j.backup_id = a.backup_id AND (j.kind <> 'clean' OR j.attempt = a.number) \
             AND (g.ended IS NULL OR g.ended = 'lease') \
             AND (j.state <> 'settled' OR j.settled_at > $3))))",
        )
        .bind(container.to_string())
        .bind(prefix.to_string())
        .bind(two_leases_ago)
        .fetch_one(self.conn())
        .await
        .map_err(failed("look who makes or removes the data of a record"))?;
        Ok(Columns(&row).count("n")? > 0)
    }

    async fn imported_row(
        &mut self,
        caller: &Caller,
        record: &ImportedRecord,
    ) -> Result<BackupRow, RequestError> {
        let mut row = BackupRow {
            id: record.id,
            project_id: caller.project_id.clone(),
            user_id: caller.user_id.clone(),
            volume_id: VolumeId::from(uuid::Uuid::nil()),
            status: BackupStatus::Error,
            size_gib: record.size_gib,
            object_count: 0,
            availability_zone: None,
            container: None,
            prefix: None,
            name: None,
            description: None,
            fail_reason: None,
            parent_id: None,
            dependents: 0,
            snapshot_id: None,
            data_timestamp: None,
            metadata: BTreeMap::new(),
            restore_volume_id: None,
            delete_began: false,
            created_at: self.now,
            updated_at: None,
        };
        let Some(data) = record.data.clone() else {
            row.fail_reason = Some(format!(
                "Import record failed, cannot find backup service to perform import. Request \
                 service {}.",
                record.service
            ));
            return Ok(row);
        };
        // A zone of the other cloud is nobody's here.
        let zone = data.availability_zone.unwrap_or_default();
        let zone = self.served_zone(&zone).await?;
        let zone = zone.unwrap_or_else(|| self.settings().api.default_zone.clone());
        let created_at = data.created_at.unwrap_or(self.now);
        row.status = BackupStatus::Available;
        row.volume_id = data.volume_id;
        row.object_count = data.object_count;
        row.availability_zone = Some(zone.to_string());
        row.container = Some(data.container);
        row.prefix = Some(data.prefix);
        row.name = data.name;
        row.description = data.description;
        row.parent_id = data.parent_id;
        row.snapshot_id = data.snapshot_id;
        row.data_timestamp = Some(data.data_timestamp.unwrap_or(created_at));
        row.metadata = data.metadata;
        row.restore_volume_id = data.restore_volume_id;
        row.created_at = created_at;
        row.updated_at = data.updated_at;
        Ok(row)
    }

    /// Writes the row; the tombstone of a deleted backup with this id comes back to life as it.
    async fn put_imported(&mut self, row: &BackupRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO backups (id, project_id, user_id, volume_id, status, size_gib, \
             object_count, availability_zone, container, prefix, name, description, fail_reason, \
             parent_id, snapshot_id, data_timestamp, metadata, restore_volume_id, delete_began, \
             created_at, updated_at, deleted_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, \
             $18, 0, $19, $20, NULL) \
             ON CONFLICT (id) DO UPDATE SET project_id = excluded.project_id, \
             user_id = excluded.user_id, volume_id = excluded.volume_id, status = excluded.status, \
             size_gib = excluded.size_gib, object_count = excluded.object_count, \
             availability_zone = excluded.availability_zone, container = excluded.container, \
             prefix = excluded.prefix, name = excluded.name, description = excluded.description, \
             fail_reason = excluded.fail_reason, parent_id = excluded.parent_id, \
             snapshot_id = excluded.snapshot_id, data_timestamp = excluded.data_timestamp, \
             metadata = excluded.metadata, restore_volume_id = excluded.restore_volume_id, \
             delete_began = 0, created_at = excluded.created_at, \
             updated_at = excluded.updated_at, deleted_at = NULL \
             WHERE backups.deleted_at IS NOT NULL",
        )
        .bind(row.id.to_string())
        .bind(row.project_id.to_string())
        .bind(row.user_id.to_string())
        .bind(row.volume_id.to_string())
        .bind(row.status.as_str())
        .bind(i64::from(row.size_gib))
        .bind(stored(row.object_count))
        .bind(row.availability_zone.clone())
        .bind(row.container.as_ref().map(ToString::to_string))
        .bind(row.prefix.as_ref().map(ToString::to_string))
        .bind(row.name.clone())
        .bind(row.description.clone())
        .bind(row.fail_reason.clone())
        .bind(row.parent_id.map(|id| id.to_string()))
        .bind(row.snapshot_id.map(|id| id.to_string()))
        .bind(row.data_timestamp.map(micros))
        .bind(json_text(&row.metadata))
        .bind(row.restore_volume_id.map(|id| id.to_string()))
        .bind(micros(row.created_at))
        .bind(row.updated_at.map(micros))
        .execute(self.conn())
        .await
        .map_err(failed("write an imported backup"))?;
        Ok(())
    }

    /// The names under which the data lies. It is whole, and nothing of ours was ever beside it.
    async fn add_imported_attempt(
        &mut self,
        backup: BackupId,
        container: ContainerName,
        prefix: ObjectPrefix,
    ) -> Result<(), StoreError> {
        let before = self.attempts(backup).await?;
        let names = AttemptNames {
            number: before.last().map_or(1, |last| last.names.number + 1),
            container,
            prefix,
            snapshot: None,
            scratch: None,
        };
        self.add_committed_attempt(backup, &names).await
    }

    /// Refuses when a backup of the chain is not here.
    pub(super) async fn require_whole_chain(&mut self, id: BackupId) -> Result<(), RequestError> {
        let mut next = Some(id);
        while let Some(id) = next {
            let row = backups::load(self.conn(), id).await?;
            let row = row.filter(|row| row.container.is_some() && row.prefix.is_some());
            next = row.ok_or(Refusal::ParentMissing(id))?.parent_id;
        }
        Ok(())
    }
}
