//! Snapshots that owners ask for: their records.

use std::collections::BTreeMap;

use common::domain::{
    JobId, ProjectId, SnapshotId, SnapshotName, SnapshotStatus, UserId, VolumeId,
};
use common::messages::sheet::SnapshotRef;
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::listing::{self, Listing, Page, Table};
use super::row::{Columns, json_text, micros, stored};
use super::volumes::VolumeRow;
use super::{RequestError, Resource, Scope, Store, StoreError, Tx, failed};

/// A snapshot's record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the API's field of the same name")]
pub struct SnapshotRow {
    pub id: SnapshotId,
    pub project_id: ProjectId,
    pub user_id: UserId,
    pub volume_id: VolumeId,
    pub status: SnapshotStatus,
    /// Of its volume, when it was taken.
    pub size_gib: u32,
    /// Its name on the volume's backend.
    pub source: SnapshotName,
    pub name: Option<String>,
    pub description: Option<String>,
    pub metadata: BTreeMap<String, String>,
    /// The most executions that any one job to make or remove it was granted: none, and it never
    /// existed; several, and a stale one may make it once more.
    pub generations: u64,
    pub created_at: Timestamp,
    pub updated_at: Option<Timestamp>,
}

impl SnapshotRow {
    /// As a driver needs it; `volume` is the one it is of.
    pub(crate) fn as_ref(&self, volume: &VolumeRow) -> SnapshotRef {
        SnapshotRef {
            volume: volume.as_ref(),
            name: self.source.clone(),
        }
    }
}

/// A snapshot to make.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the API's field of the same name")]
pub struct NewSnapshot {
    pub volume_id: VolumeId,
    pub name: Option<String>,
    pub description: Option<String>,
    pub metadata: BTreeMap<String, String>,
    /// Of an attached volume too.
    pub in_use_too: bool,
}

/// What an owner may change of a snapshot; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotChanges {
    /// The name; the inner `None` takes it away.
    pub name: Option<Option<String>>,
    /// The description, likewise.
    pub description: Option<Option<String>>,
}

const COLUMNS: &str = "t.id, t.project_id, t.user_id, t.volume_id, t.status, t.size_gib, t.source, \
    t.name, t.description, t.metadata, t.generations, t.created_at, t.updated_at";

fn decode(row: &AnyRow) -> Result<SnapshotRow, StoreError> {
    let row = Columns(row);
    Ok(SnapshotRow {
        id: row.word("id")?,
        project_id: row.text("project_id")?.into(),
        user_id: row.text("user_id")?.into(),
        volume_id: row.word("volume_id")?,
        status: row.word("status")?,
        size_gib: row.small("size_gib")?,
        source: row.name("source")?,
        name: row.opt_text("name")?,
        description: row.opt_text("description")?,
        metadata: row.json("metadata")?,
        generations: row.count("generations")?,
        created_at: row.time("created_at")?,
        updated_at: row.opt_time("updated_at")?,
    })
}

/// A live snapshot, if the scope sees it.
pub(super) async fn find(
    conn: &mut AnyConnection,
    scope: &Scope,
    id: SnapshotId,
) -> Result<SnapshotRow, RequestError> {
    let sql = format!("SELECT {COLUMNS} FROM snapshots t WHERE t.id = $1 AND t.deleted_at IS NULL");
    sqlx::query(AssertSqlSafe(sql))
        .bind(id.to_string())
        .fetch_optional(conn)
        .await
        .map_err(failed("load a snapshot"))?
        .as_ref()
        .map(decode)
        .transpose()?
        .filter(|row| scope.sees(&row.project_id))
        .ok_or_else(|| not_found(id))
}

fn not_found(id: impl std::fmt::Display) -> RequestError {
    RequestError::NotFound {
        what: Resource::Snapshot,
        id: id.to_string(),
    }
}

impl Store {
    /// One snapshot.
    ///
    /// # Errors
    /// When there is none with this id in the scope.
    pub async fn snapshot(
        &self,
        scope: &Scope,
        id: SnapshotId,
    ) -> Result<SnapshotRow, RequestError> {
        find(&mut *self.read().await?, scope, id).await
    }

    /// A page of snapshots.
    ///
    /// # Errors
    /// When the marker is no snapshot in the scope.
    pub async fn snapshots(
        &self,
        scope: &Scope,
        listing: &Listing,
    ) -> Result<Page<SnapshotRow>, RequestError> {
        let mut conn = self.read().await?;
        if let Some(marker) = &listing.marker {
            let id = marker.parse().map_err(|_| not_found(marker))?;
            find(&mut conn, scope, id).await?;
        }
        Ok(listing::page(&mut conn, Table::Snapshots, COLUMNS, scope, listing, decode).await?)
    }
}

impl Tx {
    /// A snapshot, or its tombstone; true: it is live.
    pub(crate) async fn snapshot_or_tombstone(
        &mut self,
        id: SnapshotId,
    ) -> Result<Option<(SnapshotRow, bool)>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS}, CASE WHEN t.deleted_at IS NULL THEN 1 ELSE 0 END AS live \
             FROM snapshots t WHERE t.id = $1"
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(id.to_string())
            .fetch_optional(self.conn())
            .await
            .map_err(failed("load a snapshot"))?;
        row.map(|row| Ok((decode(&row)?, Columns(&row).flag("live")?)))
            .transpose()
    }

    /// The live snapshots of a volume, whosever they are, oldest first.
    pub(super) async fn snapshots_of(
        &mut self,
        volume: VolumeId,
    ) -> Result<Vec<SnapshotRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM snapshots t WHERE t.volume_id = $1 AND t.deleted_at IS NULL \
             ORDER BY t.created_at, t.id"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(volume.to_string())
            .fetch_all(self.conn())
            .await
            .map_err(failed("look for a volume's snapshots"))?;
        rows.iter().map(decode).collect()
    }

    /// The live snapshots of a volume that a job has brought into this status.
    pub(super) async fn snapshots_of_job(
        &mut self,
        volume: VolumeId,
        job: JobId,
        status: SnapshotStatus,
    ) -> Result<Vec<SnapshotRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM snapshots t WHERE t.volume_id = $1 AND t.job_id = $2 \
             AND t.status = $3 AND t.deleted_at IS NULL ORDER BY t.created_at, t.id"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(volume.to_string())
            .bind(job.to_string())
            .bind(status.as_str())
            .fetch_all(self.conn())
            .await
            .map_err(failed("look for a job's snapshots"))?;
        rows.iter().map(decode).collect()
    }

    pub(super) async fn add_snapshot(&mut self, row: &SnapshotRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO snapshots (id, project_id, user_id, volume_id, status, size_gib, source, \
             name, description, metadata, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(row.id.to_string())
        .bind(row.project_id.to_string())
        .bind(row.user_id.to_string())
        .bind(row.volume_id.to_string())
        .bind(row.status.as_str())
        .bind(i64::from(row.size_gib))
        .bind(row.source.to_string())
        .bind(row.name.clone())
        .bind(row.description.clone())
        .bind(json_text(&row.metadata))
        .bind(micros(row.created_at))
        .execute(self.conn())
        .await
        .map_err(failed("write a new snapshot"))?;
        Ok(())
    }

    /// Sets a snapshot's status and which job may change it next.
    pub(super) async fn set_snapshot(
        &mut self,
        id: SnapshotId,
        status: SnapshotStatus,
        job: Option<JobId>,
    ) -> Result<(), StoreError> {
        let now = micros(self.now);
        sqlx::query("UPDATE snapshots SET status = $2, job_id = $3, updated_at = $4 WHERE id = $1")
            .bind(id.to_string())
            .bind(status.as_str())
            .bind(job.map(|job| job.to_string()))
            .bind(now)
            .execute(self.conn())
            .await
            .map_err(failed("change a snapshot's status"))?;
        Ok(())
    }

    /// Brings a snapshot out of the working status a job brought it into; false when it is no longer
    /// that job's (an administrator's reset) or is gone.
    pub(super) async fn settle_snapshot(
        &mut self,
        id: SnapshotId,
        from: SnapshotStatus,
        job: JobId,
        to: SnapshotStatus,
    ) -> Result<bool, StoreError> {
        let now = micros(self.now);
        let moved = sqlx::query(
            "UPDATE snapshots SET status = $4, job_id = NULL, updated_at = $5 \
             WHERE id = $1 AND status = $2 AND job_id = $3 AND deleted_at IS NULL",
        )
        .bind(id.to_string())
        .bind(from.as_str())
        .bind(job.to_string())
        .bind(to.as_str())
        .bind(now)
        .execute(self.conn())
        .await
        .map_err(failed("settle a snapshot"))?
        .rows_affected();
        Ok(moved == 1)
    }

    pub(super) async fn describe_snapshot(&mut self, row: &SnapshotRow) -> Result<(), StoreError> {
        let now = micros(self.now);
        sqlx::query(
            "UPDATE snapshots SET name = $2, description = $3, metadata = $4, updated_at = $5 \
             WHERE id = $1",
        )
        .bind(row.id.to_string())
        .bind(row.name.clone())
        .bind(row.description.clone())
        .bind(json_text(&row.metadata))
        .bind(now)
        .execute(self.conn())
        .await
        .map_err(failed("change a snapshot's description"))?;
        Ok(())
    }

    /// Notes that a worker was told to make or remove the snapshot, and how often that one job was granted.
    pub(crate) async fn snapshot_was_granted(
        &mut self,
        id: SnapshotId,
        generation: u64,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE snapshots SET generations = $2 WHERE id = $1 AND generations < $2")
            .bind(id.to_string())
            .bind(stored(generation))
            .execute(self.conn())
            .await
            .map_err(failed("note who was granted a snapshot"))?;
        Ok(())
    }

    pub(super) async fn bury_snapshot(&mut self, id: SnapshotId) -> Result<(), StoreError> {
        let now = micros(self.now);
        sqlx::query(
            "UPDATE snapshots SET deleted_at = $2, updated_at = $2, job_id = NULL WHERE id = $1",
        )
        .bind(id.to_string())
        .bind(now)
        .execute(self.conn())
        .await
        .map_err(failed("mark a snapshot as deleted"))?;
        Ok(())
    }
}
