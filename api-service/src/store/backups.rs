//! Backups: reading and changing their records.

use std::collections::BTreeMap;

use common::domain::{
    BackupId, BackupStatus, ContainerName, ObjectPrefix, ProjectId, SnapshotId, Token, UserId,
    VolumeId,
};
use common::messages::sheet::StoredBackup;
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::listing::{self, Listing, Page, Table};
use super::row::{Columns, json_text, micros, plain};
use super::{Caller, RequestError, Resource, Scope, Store, StoreError, Tx, failed};
use crate::rules::ParentCandidate;

/// A backup's record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the API's field of the same name")]
pub struct BackupRow {
    pub id: BackupId,
    pub project_id: ProjectId,
    pub user_id: UserId,
    pub volume_id: VolumeId,
    pub status: BackupStatus,
    pub size_gib: u32,
    pub object_count: u64,
    /// Any text: a zone that nobody serves is found out by the scheduler, not by validation.
    pub availability_zone: Option<String>,
    pub container: Option<ContainerName>,
    /// What the objects of the attempt that counts begin with.
    pub prefix: Option<ObjectPrefix>,
    pub name: Option<String>,
    pub description: Option<String>,
    pub fail_reason: Option<String>,
    /// An incremental builds on it.
    pub parent_id: Option<BackupId>,
    /// How many live backups build on this one.
    pub dependents: u64,
    pub snapshot_id: Option<SnapshotId>,
    pub data_timestamp: Option<Timestamp>,
    pub metadata: BTreeMap<String, String>,
    /// The volume it was last restored to.
    pub restore_volume_id: Option<VolumeId>,
    /// A worker has begun to remove it.
    pub delete_began: bool,
    pub created_at: Timestamp,
    pub updated_at: Option<Timestamp>,
}

impl BackupRow {
    /// The zone as a queue key can have it.
    pub(crate) fn zone(&self) -> Option<Token> {
        Token::new(self.availability_zone.clone()?).ok()
    }
}

/// What an owner may change of a backup; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackupChanges {
    /// The name; the inner `None` takes it away.
    pub name: Option<Option<String>>,
    /// The description, likewise.
    pub description: Option<Option<String>>,
    /// All metadata.
    pub metadata: Option<BTreeMap<String, String>>,
}

const COLUMNS: &str = "t.id, t.project_id, t.user_id, t.volume_id, t.status, t.size_gib, \
    t.object_count, t.availability_zone, t.container, t.prefix, t.name, t.description, \
    t.fail_reason, t.parent_id, t.snapshot_id, t.data_timestamp, t.metadata, \
    t.restore_volume_id, t.delete_began, t.created_at, t.updated_at, \
    (SELECT COUNT(*) FROM backups c WHERE c.parent_id = t.id AND c.deleted_at IS NULL) AS dependents";

fn decode(row: &AnyRow) -> Result<BackupRow, StoreError> {
    let row = Columns(row);
    Ok(BackupRow {
        id: row.word("id")?,
        project_id: row.text("project_id")?.into(),
        user_id: row.text("user_id")?.into(),
        volume_id: row.word("volume_id")?,
        status: row.word("status")?,
        size_gib: row.small("size_gib")?,
        object_count: row.count("object_count")?,
        availability_zone: row.opt_text("availability_zone")?,
        container: row.opt_name("container")?,
        prefix: row.opt_name("prefix")?,
        name: row.opt_text("name")?,
        description: row.opt_text("description")?,
        fail_reason: row.opt_text("fail_reason")?,
        parent_id: row.opt_word("parent_id")?,
        dependents: row.count("dependents")?,
        snapshot_id: row.opt_word("snapshot_id")?,
        data_timestamp: row.opt_time("data_timestamp")?,
        metadata: row.json("metadata")?,
        restore_volume_id: row.opt_word("restore_volume_id")?,
        delete_began: row.flag("delete_began")?,
        created_at: row.time("created_at")?,
        updated_at: row.opt_time("updated_at")?,
    })
}

/// A live backup.
pub(super) async fn load(
    conn: &mut AnyConnection,
    id: BackupId,
) -> Result<Option<BackupRow>, StoreError> {
    let row = load_any(conn, id).await?;
    Ok(row.filter(|row| row.status != BackupStatus::Deleted))
}

/// A backup, or its tombstone.
async fn load_any(conn: &mut AnyConnection, id: BackupId) -> Result<Option<BackupRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM backups t WHERE t.id = $1");
    sqlx::query(AssertSqlSafe(sql))
        .bind(id.to_string())
        .fetch_optional(conn)
        .await
        .map_err(failed("load a backup"))?
        .as_ref()
        .map(decode)
        .transpose()
}

/// A live backup, if the scope sees it.
pub(super) async fn find(
    conn: &mut AnyConnection,
    scope: &Scope,
    id: BackupId,
) -> Result<BackupRow, RequestError> {
    load(conn, id)
        .await?
        .filter(|row| scope.sees(&row.project_id))
        .ok_or_else(|| not_found(id))
}

pub(super) fn not_found(id: impl std::fmt::Display) -> RequestError {
    RequestError::NotFound {
        what: Resource::Backup,
        id: id.to_string(),
    }
}

impl Store {
    /// One backup.
    ///
    /// # Errors
    /// When there is none with this id in the scope.
    pub async fn backup(&self, scope: &Scope, id: BackupId) -> Result<BackupRow, RequestError> {
        find(&mut *self.read().await?, scope, id).await
    }

    /// A page of backups.
    ///
    /// # Errors
    /// When the marker is no backup in the scope.
    pub async fn backups(
        &self,
        scope: &Scope,
        listing: &Listing,
    ) -> Result<Page<BackupRow>, RequestError> {
        let mut conn = self.read().await?;
        if let Some(marker) = &listing.marker {
            let id = marker.parse().map_err(|_| not_found(marker))?;
            find(&mut conn, scope, id).await?;
        }
        Ok(listing::page(&mut conn, Table::Backups, COLUMNS, scope, listing, decode).await?)
    }

    /// Changes what the owner may change.
    ///
    /// # Errors
    /// When there is no such backup in the scope.
    pub async fn update_backup(
        &self,
        scope: &Scope,
        id: BackupId,
        changes: BackupChanges,
    ) -> Result<BackupRow, RequestError> {
        let mut tx = self.write().await?;
        let mut row = find(tx.conn(), scope, id).await?;
        row.name = changes.name.unwrap_or(row.name);
        row.description = changes.description.unwrap_or(row.description);
        row.metadata = changes.metadata.unwrap_or(row.metadata);
        row.updated_at = Some(tx.now);
        let now = micros(tx.now);
        sqlx::query(
            "UPDATE backups SET name = $2, description = $3, metadata = $4, updated_at = $5 \
             WHERE id = $1",
        )
        .bind(id.to_string())
        .bind(row.name.clone())
        .bind(row.description.clone())
        .bind(json_text(&row.metadata))
        .bind(now)
        .execute(tx.conn())
        .await
        .map_err(failed("change a backup's description"))?;
        tx.commit().await?;
        Ok(row)
    }
}

impl Tx {
    /// A live backup.
    pub(crate) async fn backup(&mut self, id: BackupId) -> Result<Option<BackupRow>, StoreError> {
        load(self.conn(), id).await
    }

    /// A backup, or its tombstone.
    pub(crate) async fn backup_or_tombstone(
        &mut self,
        id: BackupId,
    ) -> Result<Option<BackupRow>, StoreError> {
        load_any(self.conn(), id).await
    }

    /// Notes that a worker was told to remove the backup's objects: from here some may be gone.
    pub(crate) async fn delete_begins(&mut self, id: BackupId) -> Result<(), StoreError> {
        sqlx::query("UPDATE backups SET delete_began = 1 WHERE id = $1")
            .bind(id.to_string())
            .execute(self.conn())
            .await
            .map_err(failed("note that a delete began"))?;
        Ok(())
    }

    /// Writes a new record.
    pub(super) async fn add_backup(&mut self, row: &BackupRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO backups (id, project_id, user_id, volume_id, status, size_gib, \
             object_count, availability_zone, container, prefix, name, description, fail_reason, \
             parent_id, snapshot_id, data_timestamp, metadata, delete_began, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, \
             0, $18)",
        )
        .bind(row.id.to_string())
        .bind(row.project_id.to_string())
        .bind(row.user_id.to_string())
        .bind(row.volume_id.to_string())
        .bind(row.status.as_str())
        .bind(i64::from(row.size_gib))
        .bind(super::row::stored(row.object_count))
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
        .bind(micros(row.created_at))
        .execute(self.conn())
        .await
        .map_err(failed("write a new backup"))?;
        Ok(())
    }

    /// Moves a backup from one of `from` to `to`; false when it stands elsewhere.
    pub(super) async fn move_backup(
        &mut self,
        id: BackupId,
        from: &[BackupStatus],
        to: BackupStatus,
        fail_reason: Option<&str>,
    ) -> Result<bool, StoreError> {
        debug_assert!(
            from.iter().all(|from| *from == to || from.can_become(to)),
            "the status machine has no such arrow: {from:?} to {to}"
        );
        let now = micros(self.now);
        let from: Vec<String> = from.iter().map(|status| format!("'{status}'")).collect();
        let sql = format!(
            "UPDATE backups SET status = $2, fail_reason = $3, updated_at = $4 \
             WHERE id = $1 AND deleted_at IS NULL AND status IN ({})",
            from.join(", ")
        );
        let moved = sqlx::query(AssertSqlSafe(sql))
            .bind(id.to_string())
            .bind(to.as_str())
            .bind(fail_reason.map(plain))
            .bind(now)
            .execute(self.conn())
            .await
            .map_err(failed("change a backup's status"))?
            .rows_affected();
        Ok(moved == 1)
    }

    /// Turns a backup into a tombstone. From here it is no parent's dependent and in nobody's quota.
    pub(super) async fn bury_backup(&mut self, id: BackupId) -> Result<(), StoreError> {
        let now = micros(self.now);
        sqlx::query(
            "UPDATE backups SET status = 'deleted', deleted_at = $2, updated_at = $2 \
             WHERE id = $1 AND status = 'deleting'",
        )
        .bind(id.to_string())
        .bind(now)
        .execute(self.conn())
        .await
        .map_err(failed("mark a backup as deleted"))?;
        Ok(())
    }

    /// The project's own live backups of a volume.
    pub(super) async fn parent_candidates(
        &mut self,
        caller: &Caller,
        volume: VolumeId,
    ) -> Result<Vec<ParentCandidate>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, status, COALESCE(data_timestamp, created_at) AS data_timestamp \
             FROM backups WHERE volume_id = $1 AND project_id = $2 AND deleted_at IS NULL",
        )
        .bind(volume.to_string())
        .bind(caller.project_id.to_string())
        .fetch_all(self.conn())
        .await
        .map_err(failed("look for a parent"))?;
        rows.iter()
            .map(|row| {
                let row = Columns(row);
                Ok(ParentCandidate {
                    id: row.word("id")?,
                    status: row.word("status")?,
                    data_timestamp: row.time("data_timestamp")?,
                })
            })
            .collect()
    }

    /// The backup first, then its parents down to the full one, where their data is.
    pub(super) async fn chain(&mut self, id: BackupId) -> Result<Vec<StoredBackup>, StoreError> {
        let mut chain = Vec::new();
        let mut next = Some(id);
        while let Some(id) = next {
            let row = load(self.conn(), id)
                .await?
                .ok_or_else(|| StoreError::Missing(format!("backup {id} of a chain")))?;
            chain.push(stored_backup(&row)?);
            next = row.parent_id;
        }
        Ok(chain)
    }

    /// Whether another record, neither deleting nor deleted, names the same objects.
    pub(super) async fn prefix_is_shared(
        &mut self,
        id: BackupId,
        container: &ContainerName,
        prefix: &ObjectPrefix,
    ) -> Result<bool, StoreError> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS n FROM backups WHERE container = $1 AND prefix = $2 AND id <> $3 \
             AND deleted_at IS NULL AND status <> 'deleting'",
        )
        .bind(container.to_string())
        .bind(prefix.to_string())
        .bind(id.to_string())
        .fetch_one(self.conn())
        .await
        .map_err(failed("look who shares a prefix"))?;
        Ok(row
            .try_get::<i64, _>("n")
            .map_err(failed("count who shares a prefix"))?
            > 0)
    }
}

/// Where a backup's data is.
pub(super) fn stored_backup(row: &BackupRow) -> Result<StoredBackup, StoreError> {
    let missing = || StoreError::Missing(format!("the place of backup {}", row.id));
    Ok(StoredBackup {
        backup_id: row.id,
        container: row.container.clone().ok_or_else(missing)?,
        prefix: row.prefix.clone().ok_or_else(missing)?,
    })
}
