//! Volumes: their records, and what their owners do with them.

use std::collections::BTreeMap;

use common::domain::{
    JobId, ProjectId, SnapshotId, Token, UserId, VolumeId, VolumeSource, VolumeStatus,
};
use common::messages::sheet::VolumeRef;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::listing::{self, Listing, Page, Table};
use super::row::{Columns, json_text, micros};
use super::{Caller, RequestError, Resource, Scope, Store, StoreError, Tx, failed};
use crate::rules::Refusal;

/// A volume's record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the API's field of the same name")]
pub struct VolumeRow {
    pub id: VolumeId,
    pub project_id: ProjectId,
    pub user_id: UserId,
    pub status: VolumeStatus,
    /// What `backing-up` goes back to.
    pub previous_status: Option<VolumeStatus>,
    pub size_gib: u32,
    /// The configured backend that has it.
    pub backend: Token,
    /// Where its data is, below the backend's root.
    pub source: VolumeSource,
    pub availability_zone: Token,
    pub name: Option<String>,
    pub description: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub attachments: Vec<Attachment>,
    pub bootable: bool,
    /// The snapshot it was filled from.
    pub snapshot_id: Option<SnapshotId>,
    /// A worker was told to make it.
    pub make_began: bool,
    pub created_at: Timestamp,
    pub updated_at: Option<Timestamp>,
}

impl VolumeRow {
    pub(crate) fn as_ref(&self) -> VolumeRef {
        VolumeRef {
            volume_id: self.id,
            backend: self.backend.clone(),
            source: self.source.clone(),
            size_gib: self.size_gib,
        }
    }
}

/// Who has a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the API's field of the same name")]
pub struct Attachment {
    pub attachment_id: uuid::Uuid,
    pub server_id: Option<String>,
    pub host_name: Option<String>,
    pub device: Option<String>,
    pub attached_at: Timestamp,
}

/// A volume to make.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "each is the API's field of the same name")]
pub struct NewVolume {
    pub name: Option<String>,
    pub description: Option<String>,
    pub size_gib: u32,
    /// Without one: the configured default.
    pub availability_zone: Option<String>,
    /// Without one: the configured default.
    pub backend: Option<Token>,
    pub metadata: BTreeMap<String, String>,
    pub bootable: bool,
}

/// What an owner may change of a volume; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VolumeChanges {
    /// The name; the inner `None` takes it away.
    pub name: Option<Option<String>>,
    /// The description, likewise.
    pub description: Option<Option<String>>,
    /// All metadata.
    pub metadata: Option<BTreeMap<String, String>>,
}

const COLUMNS: &str = "t.id, t.project_id, t.user_id, t.status, t.previous_status, t.size_gib, \
    t.backend, t.source, t.availability_zone, t.name, t.description, t.metadata, t.attachments, \
    t.bootable, t.snapshot_id, t.make_began, t.created_at, t.updated_at";

fn decode(row: &AnyRow) -> Result<VolumeRow, StoreError> {
    let row = Columns(row);
    Ok(VolumeRow {
        id: row.word("id")?,
        project_id: row.text("project_id")?.into(),
        user_id: row.text("user_id")?.into(),
        status: row.word("status")?,
        previous_status: row.opt_word("previous_status")?,
        size_gib: row.small("size_gib")?,
        backend: row.word("backend")?,
        source: row.name("source")?,
        availability_zone: row.word("availability_zone")?,
        name: row.opt_text("name")?,
        description: row.opt_text("description")?,
        metadata: row.json("metadata")?,
        attachments: row.json("attachments")?,
        bootable: row.flag("bootable")?,
        snapshot_id: row.opt_word("snapshot_id")?,
        make_began: row.flag("make_began")?,
        created_at: row.time("created_at")?,
        updated_at: row.opt_time("updated_at")?,
    })
}

/// A live volume, if the scope sees it.
pub(super) async fn find(
    conn: &mut AnyConnection,
    scope: &Scope,
    id: VolumeId,
) -> Result<VolumeRow, RequestError> {
    let sql = format!("SELECT {COLUMNS} FROM volumes t WHERE t.id = $1 AND t.deleted_at IS NULL");
    sqlx::query(AssertSqlSafe(sql))
        .bind(id.to_string())
        .fetch_optional(conn)
        .await
        .map_err(failed("load a volume"))?
        .as_ref()
        .map(decode)
        .transpose()?
        .filter(|row| scope.sees(&row.project_id))
        .ok_or_else(|| not_found(id))
}

fn not_found(id: impl std::fmt::Display) -> RequestError {
    RequestError::NotFound {
        what: Resource::Volume,
        id: id.to_string(),
    }
}

impl Store {
    /// One volume.
    ///
    /// # Errors
    /// When there is none with this id in the scope.
    pub async fn volume(&self, scope: &Scope, id: VolumeId) -> Result<VolumeRow, RequestError> {
        find(&mut *self.read().await?, scope, id).await
    }

    /// A page of volumes.
    ///
    /// # Errors
    /// When the marker is no volume in the scope.
    pub async fn volumes(
        &self,
        scope: &Scope,
        listing: &Listing,
    ) -> Result<Page<VolumeRow>, RequestError> {
        let mut conn = self.read().await?;
        if let Some(marker) = &listing.marker {
            let id = marker.parse().map_err(|_| not_found(marker))?;
            find(&mut conn, scope, id).await?;
        }
        Ok(listing::page(&mut conn, Table::Volumes, COLUMNS, scope, listing, decode).await?)
    }
}

impl Tx {
    /// A volume, also one that was deleted: clean-up may still have a snapshot of it to remove.
    pub(crate) async fn volume_or_tombstone(
        &mut self,
        id: VolumeId,
    ) -> Result<Option<VolumeRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM volumes t WHERE t.id = $1");
        sqlx::query(AssertSqlSafe(sql))
            .bind(id.to_string())
            .fetch_optional(self.conn())
            .await
            .map_err(failed("load a volume"))?
            .as_ref()
            .map(decode)
            .transpose()
    }

    /// A row with its defaults filled in; not written yet.
    pub(super) fn new_volume_row(
        &self,
        caller: &Caller,
        id: VolumeId,
        new: NewVolume,
        source: VolumeSource,
    ) -> Result<VolumeRow, RequestError> {
        let settings = self.settings();
        let backend = new
            .backend
            .or_else(|| settings.api.default_volume_backend.clone())
            .or_else(|| settings.volume_backends.keys().next().cloned())
            .ok_or_else(|| Refusal::NoSuchBackend("default".to_owned()))?;
        if !settings.volume_backends.contains_key(&backend) {
            return Err(Refusal::NoSuchBackend(backend.to_string()).into());
        }
        // A zone that is no token was never seen: the default's worker would be the wrong one, so
        // the row keeps a token that nobody can be in.
        let availability_zone = match new.availability_zone {
            None => settings.api.default_zone.clone(),
            Some(zone) => Token::new(zone).unwrap_or_else(|_| unknown_zone()),
        };
        Ok(VolumeRow {
            id,
            project_id: caller.project_id.clone(),
            user_id: caller.user_id.clone(),
            status: VolumeStatus::Creating,
            previous_status: None,
            size_gib: new.size_gib,
            backend,
            source,
            availability_zone,
            name: new.name,
            description: new.description,
            metadata: new.metadata,
            attachments: Vec::new(),
            bootable: new.bootable,
            snapshot_id: None,
            make_began: false,
            created_at: self.now,
            updated_at: None,
        })
    }

    pub(super) async fn add_volume(&mut self, row: &VolumeRow) -> Result<(), RequestError> {
        let added = sqlx::query(
            "INSERT INTO volumes (id, project_id, user_id, status, size_gib, backend, source, \
             availability_zone, name, description, metadata, attachments, bootable, snapshot_id, \
             make_began, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0, $15)",
        )
        .bind(row.id.to_string())
        .bind(row.project_id.to_string())
        .bind(row.user_id.to_string())
        .bind(row.status.as_str())
        .bind(i64::from(row.size_gib))
        .bind(row.backend.to_string())
        .bind(row.source.to_string())
        .bind(row.availability_zone.to_string())
        .bind(row.name.clone())
        .bind(row.description.clone())
        .bind(json_text(&row.metadata))
        .bind(json_text(&row.attachments))
        .bind(i64::from(row.bootable))
        .bind(row.snapshot_id.map(|id| id.to_string()))
        .bind(micros(row.created_at))
        .execute(self.conn())
        .await
        .map_err(failed("write a new volume"));
        match added {
            Ok(_) => Ok(()),
            Err(error) if error.is_unique_violation() => Err(Refusal::AlreadyManaged {
                backend: row.backend.to_string(),
                reference: row.source.to_string(),
            }
            .into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Sets a volume's status, what it goes back to, and which job may change it next.
    pub(super) async fn set_volume(
        &mut self,
        id: VolumeId,
        status: VolumeStatus,
        previous: Option<VolumeStatus>,
        job: Option<JobId>,
    ) -> Result<(), StoreError> {
        let now = micros(self.now);
        sqlx::query(
            "UPDATE volumes SET status = $2, previous_status = $3, job_id = $4, updated_at = $5 \
             WHERE id = $1",
        )
        .bind(id.to_string())
        .bind(status.as_str())
        .bind(previous.map(|status| status.as_str().to_owned()))
        .bind(job.map(|job| job.to_string()))
        .bind(now)
        .execute(self.conn())
        .await
        .map_err(failed("change a volume's status"))?;
        Ok(())
    }

    /// Brings a volume out of the working status a job brought it into; false when it is no longer
    /// that job's (an administrator's reset).
    pub(super) async fn settle_volume(
        &mut self,
        id: VolumeId,
        from: VolumeStatus,
        job: JobId,
        to: VolumeStatus,
    ) -> Result<bool, StoreError> {
        let now = micros(self.now);
        let moved = sqlx::query(
            "UPDATE volumes SET status = $4, previous_status = NULL, job_id = NULL, \
             updated_at = $5 WHERE id = $1 AND status = $2 AND job_id = $3",
        )
        .bind(id.to_string())
        .bind(from.as_str())
        .bind(job.to_string())
        .bind(to.as_str())
        .bind(now)
        .execute(self.conn())
        .await
        .map_err(failed("settle a volume"))?
        .rows_affected();
        Ok(moved == 1)
    }

    pub(super) async fn set_volume_place(
        &mut self,
        id: VolumeId,
        source: &VolumeSource,
        size_gib: u32,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE volumes SET source = $2, size_gib = $3 WHERE id = $1")
            .bind(id.to_string())
            .bind(source.to_string())
            .bind(i64::from(size_gib))
            .execute(self.conn())
            .await
            .map_err(failed("note where a volume is"))?;
        Ok(())
    }

    pub(super) async fn describe_volume(&mut self, row: &VolumeRow) -> Result<(), StoreError> {
        let now = micros(self.now);
        sqlx::query(
            "UPDATE volumes SET name = $2, description = $3, metadata = $4, updated_at = $5 \
             WHERE id = $1",
        )
        .bind(row.id.to_string())
        .bind(row.name.clone())
        .bind(row.description.clone())
        .bind(json_text(&row.metadata))
        .bind(now)
        .execute(self.conn())
        .await
        .map_err(failed("change a volume's description"))?;
        Ok(())
    }

    pub(super) async fn set_attachments(
        &mut self,
        id: VolumeId,
        status: VolumeStatus,
        attachments: &[Attachment],
    ) -> Result<(), StoreError> {
        let now = micros(self.now);
        sqlx::query(
            "UPDATE volumes SET status = $2, attachments = $3, updated_at = $4 WHERE id = $1",
        )
        .bind(id.to_string())
        .bind(status.as_str())
        .bind(json_text(&attachments))
        .bind(now)
        .execute(self.conn())
        .await
        .map_err(failed("note who has a volume"))?;
        Ok(())
    }

    /// Notes that a worker was told to make the volume: from here there may be data of it.
    pub(crate) async fn volume_begins(&mut self, id: VolumeId) -> Result<(), StoreError> {
        sqlx::query("UPDATE volumes SET make_began = 1 WHERE id = $1")
            .bind(id.to_string())
            .execute(self.conn())
            .await
            .map_err(failed("note that a volume is being made"))?;
        Ok(())
    }

    pub(super) async fn bury_volume(&mut self, id: VolumeId) -> Result<(), StoreError> {
        let now = micros(self.now);
        sqlx::query(
            "UPDATE volumes SET deleted_at = $2, updated_at = $2, job_id = NULL WHERE id = $1",
        )
        .bind(id.to_string())
        .bind(now)
        .execute(self.conn())
        .await
        .map_err(failed("mark a volume as deleted"))?;
        Ok(())
    }
}

/// Stands for a zone whose name no worker can have.
pub(super) fn unknown_zone() -> Token {
    Token::new("unknown").expect("`unknown` is a token")
}
