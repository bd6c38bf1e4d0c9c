//! The outbox: messages that became true together with the rows they speak of.

use common::broker::topology;
use common::domain::{JobId, JobKind, QueueKey, SnapshotStatus, Token, TraceParent, VolumeStatus};
use common::messages::events::{CloudEvent, StatusData};
use common::messages::jobs::{JobMessage, SCHEMA};
use jiff::Timestamp;
use serde::Serialize;
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::backups::BackupRow;
use super::row::{Columns, json_text, micros, plain};
use super::snapshots::SnapshotRow;
use super::volumes::VolumeRow;
use super::{Origin, Store, StoreError, Tx, failed};

/// A message that waits for the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutboxRow {
    /// The message id, the same however often it is sent.
    pub(crate) id: Uuid,
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) message_type: String,
    pub(crate) content_type: String,
    pub(crate) correlation_id: Option<String>,
    /// The place in a trace of what it comes of.
    pub(crate) traceparent: Option<TraceParent>,
    pub(crate) body: String,
    /// The job it rings for.
    pub(crate) job_id: Option<JobId>,
    pub(crate) tries: u32,
}

fn decode(row: &AnyRow) -> Result<OutboxRow, StoreError> {
    let row = Columns(row);
    Ok(OutboxRow {
        id: row.word("id")?,
        exchange: row.text("exchange")?,
        routing_key: row.text("routing_key")?,
        message_type: row.text("message_type")?,
        content_type: row.text("content_type")?,
        correlation_id: row.opt_text("correlation_id")?,
        traceparent: row.opt_word("traceparent")?,
        body: row.text("body")?,
        job_id: row.opt_word("job_id")?,
        tries: row.small("tries")?,
    })
}

/// What the events of the state owner call their source.
pub(super) const SOURCE: &str = "/api-service";

pub(super) const BACKLOG: &str = "SELECT (SELECT COUNT(*) FROM outbox WHERE next_at <= $1) \
     + (SELECT COUNT(*) FROM outbox WHERE tries > 0 AND next_at > $1) AS n";

/// Content type of a structured `CloudEvent`.
const CLOUD_EVENT: &str = "application/cloudevents+json; charset=utf-8";

impl Store {
    /// The oldest messages whose time has come.
    pub(crate) async fn due_messages(&self, most: u32) -> Result<Vec<OutboxRow>, StoreError> {
        let now = micros(self.now());
        let mut conn = self.read().await?;
        let rows = sqlx::query(
            "SELECT id, exchange, routing_key, message_type, content_type, correlation_id, \
             traceparent, body, job_id, tries FROM outbox WHERE next_at <= $1 ORDER BY next_at, id LIMIT $2",
        )
        .bind(now)
        .bind(i64::from(most))
        .fetch_all(&mut *conn)
        .await
        .map_err(failed("read the outbox"))?;
        rows.iter().map(decode).collect()
    }

    /// How many messages wait for the broker: those whose time has come, and those it did not take
    /// and that are tried again. One that is to go out later does not wait for the broker.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn outbox_backlog(&self) -> Result<u64, StoreError> {
        let now = micros(self.now());
        let mut conn = self.read().await?;
        // Two counts, each in an index alone: it is asked before every request that adds work.
        let row = sqlx::query(BACKLOG)
            .bind(now)
            .fetch_one(&mut *conn)
            .await
            .map_err(failed("count the outbox"))?;
        Columns(&row).count("n")
    }
}

impl Tx {
    /// Takes a message out: the broker has it.
    pub(crate) async fn message_is_sent(&mut self, message: &OutboxRow) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM outbox WHERE id = $1")
            .bind(message.id.to_string())
            .execute(self.conn())
            .await
            .map_err(failed("take a message out of the outbox"))?;
        if let Some(job) = message.job_id {
            let now = micros(self.now);
            sqlx::query("UPDATE jobs SET published_at = $2 WHERE id = $1 AND state = 'queued'")
                .bind(job.to_string())
                .bind(now)
                .execute(self.conn())
                .await
                .map_err(failed("note that a job was published"))?;
        }
        Ok(())
    }

    /// Keeps a message for a later try.
    pub(crate) async fn message_waits(
        &mut self,
        message: &OutboxRow,
        until: Timestamp,
        why: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE outbox SET next_at = $2, tries = tries + 1, last_error = $3 WHERE id = $1",
        )
        .bind(message.id.to_string())
        .bind(micros(until))
        .bind(plain(why))
        .execute(self.conn())
        .await
        .map_err(failed("keep a message for later"))?;
        Ok(())
    }

    /// Leaves a job's doorbell in the outbox, to be rung now or at its time.
    pub(crate) async fn ring(
        &mut self,
        job: JobId,
        queue: &QueueKey,
        origin: Origin<'_>,
        at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let body = json_text(&JobMessage::new(job, queue.kind));
        let row = OutboxRow {
            id: Uuid::now_v7(),
            exchange: topology::JOBS.to_owned(),
            routing_key: queue.to_string(),
            message_type: SCHEMA.to_owned(),
            content_type: "application/json".to_owned(),
            correlation_id: origin.request_id.map(ToOwned::to_owned),
            traceparent: origin.traceparent,
            body,
            job_id: Some(job),
            tries: 0,
        };
        let at = at.map_or(self.now, |at| at.max(self.now));
        self.send(&row, at).await
    }

    /// Takes back the doorbells of a job that nobody shall claim.
    pub(crate) async fn forget_doorbells(&mut self, job: JobId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM outbox WHERE job_id = $1")
            .bind(job.to_string())
            .execute(self.conn())
            .await
            .map_err(failed("take a job's doorbells back"))?;
        Ok(())
    }

    /// Whether a doorbell of the job is still to be sent.
    pub(crate) async fn doorbell_waits(&mut self, job: JobId) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT COUNT(*) AS n FROM outbox WHERE job_id = $1")
            .bind(job.to_string())
            .fetch_one(self.conn())
            .await
            .map_err(failed("look for a job's doorbells"))?;
        Ok(Columns(&row).count("n")? > 0)
    }

    /// Says that a backup has come into a status.
    pub(crate) async fn announce_backup(
        &mut self,
        backup: &BackupRow,
        kind: JobKind,
        job: Option<JobId>,
        origin: Origin<'_>,
    ) -> Result<(), StoreError> {
        let zone = self.zone_or_default(backup.zone());
        let data = StatusData {
            project_id: backup.project_id.clone(),
            backup_id: Some(backup.id),
            volume_id: Some(backup.volume_id),
            snapshot_id: None,
            job_id: job,
            request_id: origin.request_id.map(ToOwned::to_owned),
            status: backup.status.to_string(),
            fail_reason: backup.fail_reason.clone(),
        };
        let event = CloudEvent::new(
            SOURCE,
            format!("backup.{}.v1", backup.status),
            backup.id.to_string(),
            self.now,
            data,
        );
        self.announce(kind, &zone, event, origin).await
    }

    /// Says that a volume has come into a status.
    pub(crate) async fn announce_volume(
        &mut self,
        volume: &VolumeRow,
        status: VolumeStatus,
        job: Option<JobId>,
        fail_reason: Option<&str>,
    ) -> Result<(), StoreError> {
        let data = StatusData {
            project_id: volume.project_id.clone(),
            backup_id: None,
            volume_id: Some(volume.id),
            snapshot_id: None,
            job_id: job,
            request_id: None,
            status: status.to_string(),
            fail_reason: fail_reason.map(ToOwned::to_owned),
        };
        let event = CloudEvent::new(
            SOURCE,
            format!("volume.{status}.v1"),
            volume.id.to_string(),
            self.now,
            data,
        );
        let zone = volume.availability_zone.clone();
        self.announce(JobKind::Volume, &zone, event, Origin::default())
            .await
    }

    /// Says that a snapshot has come into a status, in the zone of its volume.
    pub(crate) async fn announce_snapshot(
        &mut self,
        snapshot: &SnapshotRow,
        status: SnapshotStatus,
        job: Option<JobId>,
        fail_reason: Option<&str>,
    ) -> Result<(), StoreError> {
        let Some(volume) = self.volume_or_tombstone(snapshot.volume_id).await? else {
            return Err(StoreError::Missing(format!(
                "the volume of snapshot {}",
                snapshot.id
            )));
        };
        let data = StatusData {
            project_id: snapshot.project_id.clone(),
            backup_id: None,
            volume_id: Some(snapshot.volume_id),
            snapshot_id: Some(snapshot.id),
            job_id: job,
            request_id: None,
            status: status.to_string(),
            fail_reason: fail_reason.map(ToOwned::to_owned),
        };
        let event = CloudEvent::new(
            SOURCE,
            format!("snapshot.{status}.v1"),
            snapshot.id.to_string(),
            self.now,
            data,
        );
        let zone = volume.availability_zone;
        self.announce(JobKind::Volume, &zone, event, Origin::default())
            .await
    }

    async fn announce<T: Serialize>(
        &mut self,
        kind: JobKind,
        zone: &Token,
        event: CloudEvent<T>,
        origin: Origin<'_>,
    ) -> Result<(), StoreError> {
        let event = event.traced(origin.traceparent);
        let row = event_row(&event, topology::status_key(kind, zone), origin);
        self.send(&row, self.now).await
    }

    pub(super) async fn send(&mut self, row: &OutboxRow, at: Timestamp) -> Result<(), StoreError> {
        let now = micros(self.now);
        sqlx::query(
            "INSERT INTO outbox (id, exchange, routing_key, message_type, content_type, \
             correlation_id, traceparent, body, job_id, created_at, next_at, tries) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0)",
        )
        .bind(row.id.to_string())
        .bind(row.exchange.clone())
        .bind(plain(&row.routing_key))
        .bind(row.message_type.clone())
        .bind(row.content_type.clone())
        .bind(row.correlation_id.as_deref().map(plain))
        .bind(row.traceparent.map(|place| place.to_string()))
        .bind(row.body.clone())
        .bind(row.job_id.map(|id| id.to_string()))
        .bind(now)
        .bind(micros(at))
        .execute(self.conn())
        .await
        .map_err(failed("leave a message in the outbox"))?;
        self.rang = true;
        Ok(())
    }
}

/// An event as it waits for the broker.
pub(super) fn event_row<T: Serialize>(
    event: &CloudEvent<T>,
    routing_key: String,
    origin: Origin<'_>,
) -> OutboxRow {
    OutboxRow {
        id: event.id,
        exchange: topology::EVENTS.to_owned(),
        routing_key,
        message_type: event.event_type.clone(),
        content_type: CLOUD_EVENT.to_owned(),
        correlation_id: origin.request_id.map(ToOwned::to_owned),
        traceparent: origin.traceparent,
        body: json_text(event),
        job_id: None,
        tries: 0,
    }
}
