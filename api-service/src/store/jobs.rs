//! Jobs: one unit of work each.

use common::domain::{
    BackupId, ClaimId, Incarnation, JobId, JobKind, JobState, ProjectId, QueueKey, SnapshotId,
    Token, TraceParent, UserId, VolumeId, VolumeStatus, WorkerName,
};
use common::messages::sheet::VolumeAction;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::row::{Columns, json_text, micros};
use super::{Caller, Origin, Store, StoreError, Tx, failed};

/// What only one kind of job needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Details {
    /// Of a backup.
    Backup {
        /// What the volume was before: an attached one is never read in place.
        previous_status: VolumeStatus,
    },
    /// Of a restore.
    Restore {
        /// The volume was made for it.
        volume_is_new: bool,
        /// The owner named the new volume, so it keeps that name.
        named: bool,
    },
    /// Of a delete.
    Delete,
    /// Of a volume job.
    Volume {
        /// What to do.
        action: VolumeAction,
    },
    /// Of a clean.
    Clean,
}

/// A job's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// Its id.
    pub id: JobId,
    /// What it does, and where it waits.
    pub queue: QueueKey,
    /// Where it stands.
    pub state: JobState,
    /// How it ended: `done`, `cancelled`, `failed`, `skipped`.
    pub outcome: Option<String>,
    /// The backup it is about.
    pub backup_id: Option<BackupId>,
    /// The volume it has.
    pub volume_id: Option<VolumeId>,
    /// The snapshot it has.
    pub snapshot_id: Option<SnapshotId>,
    /// The attempt it works on or cleans.
    pub attempt: Option<u32>,
    /// What only this kind needs.
    pub details: Details,
    /// For whom.
    pub project_id: ProjectId,
    /// Who asked.
    pub user_id: UserId,
    /// In which request.
    pub request_id: Option<String>,
    /// The place of that request in a trace.
    pub traceparent: Option<TraceParent>,
    /// The execution granted last; 0 before the first.
    pub generation: u64,
    /// To which claim.
    pub claim_id: Option<ClaimId>,
    /// Of which worker.
    pub worker: Option<WorkerName>,
    /// In which run of it.
    pub incarnation: Option<Incarnation>,
    /// How often its lease was renewed.
    pub renewals: u64,
    /// Executions since the mark last moved.
    pub failures: u32,
    /// Sealed bytes.
    pub mark: u64,
    /// When the mark last moved.
    pub mark_at: Timestamp,
    /// Whether all executions that had the present attempt and are over gave it back of their own will.
    pub released: bool,
    /// The last thing that went wrong.
    pub last_error: Option<String>,
    /// The owner wants it to end.
    pub cancel_requested: bool,
    /// Why it is given up.
    pub give_up: Option<String>,
    /// Since when.
    pub give_up_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last put into the queue.
    pub queued_at: Timestamp,
    /// Not before.
    pub next_at: Option<Timestamp>,
    /// When its message was last confirmed.
    pub published_at: Option<Timestamp>,
    /// How often that was repeated.
    pub republished: u32,
}

impl JobRow {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> JobKind {
        self.queue.kind
    }

    /// Whether a worker holds its lease.
    #[must_use]
    pub fn is_leased(&self) -> bool {
        matches!(self.state, JobState::Running | JobState::Committing)
    }

    /// Who it is for, for jobs that follow from it.
    pub(crate) fn caller(&self) -> Caller {
        Caller {
            project_id: self.project_id.clone(),
            user_id: self.user_id.clone(),
            is_admin: false,
            request_id: self.request_id.clone().unwrap_or_default(),
            traceparent: self.traceparent,
        }
    }

    /// What its messages come of.
    pub(crate) fn origin(&self) -> Origin<'_> {
        Origin {
            request_id: self.request_id.as_deref(),
            traceparent: self.traceparent,
        }
    }
}

/// A job to be queued.
#[derive(Debug)]
pub(crate) struct NewJob<'a> {
    pub(crate) queue: QueueKey,
    pub(crate) backup_id: Option<BackupId>,
    pub(crate) volume_id: Option<VolumeId>,
    pub(crate) snapshot_id: Option<SnapshotId>,
    pub(crate) attempt: Option<u32>,
    pub(crate) details: Details,
    pub(crate) caller: &'a Caller,
    pub(crate) next_at: Option<Timestamp>,
}

const COLUMNS: &str = "id, kind, state, outcome, zone, backend, backup_id, volume_id, \
    snapshot_id, attempt, details, project_id, user_id, request_id, traceparent, generation, claim_id, \
    worker, incarnation, renewals, failures, mark, mark_at, released, last_error, cancel_requested, give_up, give_up_at, \
    created_at, queued_at, next_at, published_at, republished";

fn decode(row: &AnyRow) -> Result<JobRow, StoreError> {
    let row = Columns(row);
    Ok(JobRow {
        id: row.word("id")?,
        queue: QueueKey {
            kind: row.word("kind")?,
            zone: row.word("zone")?,
            backend: row.word("backend")?,
        },
        state: row.word("state")?,
        outcome: row.opt_text("outcome")?,
        backup_id: row.opt_word("backup_id")?,
        volume_id: row.opt_word("volume_id")?,
        snapshot_id: row.opt_word("snapshot_id")?,
        attempt: row.opt_small("attempt")?,
        details: row.json("details")?,
        project_id: row.text("project_id")?.into(),
        user_id: row.text("user_id")?.into(),
        request_id: row.opt_text("request_id")?,
        traceparent: row.opt_word("traceparent")?,
        generation: row.count("generation")?,
        claim_id: row.opt_word("claim_id")?,
        worker: row.opt_text("worker")?.map(WorkerName::from),
        incarnation: row.opt_word("incarnation")?,
        renewals: row.count("renewals")?,
        failures: row.small("failures")?,
        mark: row.count("mark")?,
        mark_at: row.time("mark_at")?,
        released: row.flag("released")?,
        last_error: row.opt_text("last_error")?,
        cancel_requested: row.flag("cancel_requested")?,
        give_up: row.opt_text("give_up")?,
        give_up_at: row.opt_time("give_up_at")?,
        created_at: row.time("created_at")?,
        queued_at: row.time("queued_at")?,
        next_at: row.opt_time("next_at")?,
        published_at: row.opt_time("published_at")?,
        republished: row.small("republished")?,
    })
}

/// The unsettled job, other than a clean, for which `column` has this value.
async fn unsettled(
    conn: &mut AnyConnection,
    column: &'static str,
    id: String,
) -> Result<Option<JobRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM jobs WHERE {column} = $1 AND state <> 'settled' AND kind <> 'clean'"
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(id)
        .fetch_optional(conn)
        .await
        .map_err(failed("look for an unsettled job"))?
        .as_ref()
        .map(decode)
        .transpose()
}

/// Jobs with a lease; and jobs that may be granted by now. Both say what the partial index says in its
/// own words: SQLite uses it for nothing else.
pub(super) const LEASED: &str = "state <> 'settled' AND state IN ('running', 'committing')";
pub(super) const WAITING: &str =
    "state <> 'settled' AND state = 'queued' AND (next_at IS NULL OR next_at <= $1)";

pub(super) fn list_sql(wheres: &'static str) -> String {
    format!("SELECT {COLUMNS} FROM jobs WHERE {wheres} ORDER BY queued_at, id")
}

async fn many(
    conn: &mut AnyConnection,
    wheres: &'static str,
    bound: Option<i64>,
) -> Result<Vec<JobRow>, StoreError> {
    let sql = list_sql(wheres);
    let mut query = sqlx::query(AssertSqlSafe(sql));
    if let Some(bound) = bound {
        query = query.bind(bound);
    }
    let rows = query.fetch_all(conn).await.map_err(failed("list jobs"))?;
    rows.iter().map(decode).collect()
}

impl Store {
    /// The job that works on a backup now, or waits to.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unsettled_job_of_backup(
        &self,
        id: BackupId,
    ) -> Result<Option<JobRow>, StoreError> {
        unsettled(&mut *self.read().await?, "backup_id", id.to_string()).await
    }

    /// A job.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn job(&self, id: JobId) -> Result<Option<JobRow>, StoreError> {
        load(&mut *self.read().await?, id).await
    }

    /// Every job with a lease.
    pub(crate) async fn leased_jobs(&self) -> Result<Vec<JobRow>, StoreError> {
        let mut conn = self.read().await?;
        many(&mut conn, LEASED, None).await
    }

    /// Every job that waits for a worker and may be granted now.
    pub(crate) async fn waiting_jobs(&self) -> Result<Vec<JobRow>, StoreError> {
        let now = micros(self.now());
        let mut conn = self.read().await?;
        many(&mut conn, WAITING, Some(now)).await
    }
}

async fn load(conn: &mut AnyConnection, id: JobId) -> Result<Option<JobRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM jobs WHERE id = $1");
    sqlx::query(AssertSqlSafe(sql))
        .bind(id.to_string())
        .fetch_optional(conn)
        .await
        .map_err(failed("load a job"))?
        .as_ref()
        .map(decode)
        .transpose()
}

impl Tx {
    /// A job.
    pub(crate) async fn job(&mut self, id: JobId) -> Result<Option<JobRow>, StoreError> {
        load(self.conn(), id).await
    }

    /// The job that works on a backup now, or waits to.
    pub(crate) async fn unsettled_job_of_backup(
        &mut self,
        id: BackupId,
    ) -> Result<Option<JobRow>, StoreError> {
        unsettled(self.conn(), "backup_id", id.to_string()).await
    }

    /// The job that has a volume now, or waits for it.
    pub(crate) async fn unsettled_job_of_volume(
        &mut self,
        id: VolumeId,
    ) -> Result<Option<JobRow>, StoreError> {
        unsettled(self.conn(), "volume_id", id.to_string()).await
    }

    /// The job that has a snapshot now, or waits for it.
    pub(crate) async fn unsettled_job_of_snapshot(
        &mut self,
        id: SnapshotId,
    ) -> Result<Option<JobRow>, StoreError> {
        unsettled(self.conn(), "snapshot_id", id.to_string()).await
    }

    /// Queues a job and rings for it. The unique indexes refuse what a caller did not check: a second
    /// job of one backup, one volume or one snapshot.
    pub(crate) async fn add_job(&mut self, new: NewJob<'_>) -> Result<JobId, StoreError> {
        let id = self.job_id.take().unwrap_or_else(JobId::new);
        let now = micros(self.now);
        sqlx::query(
            "INSERT INTO jobs (id, kind, state, zone, backend, backup_id, volume_id, snapshot_id, \
             attempt, details, project_id, user_id, request_id, traceparent, generation, renewals, \
             failures, mark, mark_at, released, cancel_requested, created_at, queued_at, next_at, \
             republished) \
             VALUES ($1, $2, 'queued', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, 0, 0, 0, $14, \
             1, 0, $14, $14, $15, 0)",
        )
        .bind(id.to_string())
        .bind(new.queue.kind.as_str())
        .bind(new.queue.zone.to_string())
        .bind(new.queue.backend.to_string())
        .bind(new.backup_id.map(|id| id.to_string()))
        .bind(new.volume_id.map(|id| id.to_string()))
        .bind(new.snapshot_id.map(|id| id.to_string()))
        .bind(new.attempt.map(i64::from))
        .bind(json_text(&new.details))
        .bind(new.caller.project_id.to_string())
        .bind(new.caller.user_id.to_string())
        .bind(Some(new.caller.request_id.clone()))
        .bind(new.caller.traceparent.map(|place| place.to_string()))
        .bind(now)
        .bind(new.next_at.map(micros))
        .execute(self.conn())
        .await
        .map_err(failed("queue a job"))?;
        self.ring(id, &new.queue, new.caller.origin(), new.next_at)
            .await?;
        Ok(id)
    }

    /// Notes that a message of the job is being sent once more.
    pub(crate) async fn note_republish(&mut self, job: JobId) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE jobs SET republished = republished + 1, published_at = NULL WHERE id = $1",
        )
        .bind(job.to_string())
        .execute(self.conn())
        .await
        .map_err(failed("note that a job is published again"))?;
        Ok(())
    }

    /// Zones are words of a routing key; a backup's may be any text.
    pub(crate) fn zone_or_default(&self, zone: Option<Token>) -> Token {
        zone.unwrap_or_else(|| self.settings().api.default_zone.clone())
    }
}
