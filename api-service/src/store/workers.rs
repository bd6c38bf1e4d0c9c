//! Workers: every name and zone ever seen.

use common::domain::{Incarnation, Token, WorkerName};
use common::messages::events::WorkerData;
use jiff::Timestamp;
use sqlx::any::AnyRow;

use super::row::{Columns, json_text, micros};
use super::{Store, StoreError, Tx, failed};

/// A worker that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRow {
    /// Its name.
    pub name: WorkerName,
    /// Its zone.
    pub zone: Token,
    /// Its latest run.
    pub incarnation: Incarnation,
    /// Volume backends it could reach.
    pub volume_backends: Vec<Token>,
    /// Backup targets it could reach.
    pub targets: Vec<Token>,
    /// When it was seen first.
    pub first_seen: Timestamp,
    /// When its row was last written; a heartbeat that says nothing new does not write it.
    pub last_seen: Timestamp,
    /// When it stopped on purpose, if it has.
    pub stopped_at: Option<Timestamp>,
}

fn decode(row: &AnyRow) -> Result<WorkerRow, StoreError> {
    let row = Columns(row);
    Ok(WorkerRow {
        name: row.text("name")?.into(),
        zone: row.word("zone")?,
        incarnation: row.word("incarnation")?,
        volume_backends: row.json("volume_backends")?,
        targets: row.json("targets")?,
        first_seen: row.time("first_seen")?,
        last_seen: row.time("last_seen")?,
        stopped_at: row.opt_time("stopped_at")?,
    })
}

impl Store {
    /// Every worker ever seen.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn workers(&self) -> Result<Vec<WorkerRow>, StoreError> {
        let mut conn = self.read().await?;
        let rows = sqlx::query(
            "SELECT name, zone, incarnation, volume_backends, targets, first_seen, last_seen, \
             stopped_at FROM workers ORDER BY name, zone",
        )
        .fetch_all(&mut *conn)
        .await
        .map_err(failed("list workers"))?;
        rows.iter().map(decode).collect()
    }
}

impl Tx {
    /// Notes a worker that appeared, changed or stopped. Another api-service may have noted a later run of it, or that
    /// this one stopped: that stays.
    pub(crate) async fn saw_worker(
        &mut self,
        worker: &WorkerData,
        stopped: bool,
    ) -> Result<(), StoreError> {
        let now = micros(self.now);
        sqlx::query(
            "INSERT INTO workers (name, zone, incarnation, volume_backends, targets, version, \
             first_seen, last_seen, stopped_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8) \
             ON CONFLICT (name, zone) DO UPDATE SET incarnation = excluded.incarnation, \
             volume_backends = excluded.volume_backends, targets = excluded.targets, \
             version = excluded.version, last_seen = excluded.last_seen, \
             stopped_at = CASE WHEN excluded.incarnation = workers.incarnation \
             THEN COALESCE(excluded.stopped_at, workers.stopped_at) ELSE excluded.stopped_at END \
             WHERE excluded.incarnation >= workers.incarnation",
        )
        .bind(worker.worker.to_string())
        .bind(worker.zone.to_string())
        .bind(worker.incarnation.to_string())
        .bind(json_text(&worker.volume_backends))
        .bind(json_text(&worker.targets))
        .bind(worker.version.clone())
        .bind(now)
        .bind(stopped.then_some(now))
        .execute(self.conn())
        .await
        .map_err(failed("note a worker"))?;
        Ok(())
    }

    /// Whether any worker was ever seen at all.
    pub(super) async fn any_worker_was_seen(&mut self) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT COUNT(*) AS n FROM workers")
            .fetch_one(self.conn())
            .await
            .map_err(failed("look whether any worker was ever seen"))?;
        Ok(Columns(&row).count("n")? > 0)
    }

    /// Whether any worker was ever in this zone: then its jobs have somebody to wait for.
    pub(crate) async fn zone_was_seen(&mut self, zone: &Token) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT COUNT(*) AS n FROM workers WHERE zone = $1")
            .bind(zone.to_string())
            .fetch_one(self.conn())
            .await
            .map_err(failed("look whether a zone was ever seen"))?;
        Ok(Columns(&row).count("n")? > 0)
    }
}
