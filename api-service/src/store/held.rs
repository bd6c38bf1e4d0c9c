//! Who holds what: every job that is not settled, for operators.

use common::domain::{BackupId, JobId, JobKind, JobState, ProjectId, Token, VolumeId, WorkerName};
use jiff::Timestamp;
use serde::Serialize;
use sqlx::any::AnyRow;

use super::row::{Columns, stored};
use super::{Store, StoreError, failed};

/// A job that waits or runs, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldJob {
    /// Its id.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// Where it stands.
    pub state: JobState,
    /// Where it may run.
    pub zone: Token,
    /// On what.
    pub backend: Token,
    /// For whom.
    pub project_id: ProjectId,
    /// The backup it is about.
    pub backup_id: Option<BackupId>,
    /// The volume it has.
    pub volume_id: Option<VolumeId>,
    /// The attempt it works on or cleans.
    pub attempt: Option<u32>,
    /// Who has its lease; `None` while it waits.
    pub worker: Option<WorkerName>,
    /// Since when that worker has it, or since when it waits.
    pub since: Timestamp,
    /// The execution that was granted last; 0 before the first.
    pub generation: u64,
    /// Sealed bytes.
    pub mark: u64,
    /// When the mark last grew.
    pub mark_at: Timestamp,
    /// Executions since then.
    pub failures: u32,
    /// Not granted before.
    pub next_at: Option<Timestamp>,
    /// The owner asked to end it.
    pub cancel_requested: bool,
    /// Why it is being given up, if it is.
    pub give_up: Option<String>,
    /// The last thing that went wrong, if anyone said.
    pub last_error: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
}

impl HeldJob {
    /// What there is to say about its troubles.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.give_up.as_deref().or(self.last_error.as_deref())
    }
}

fn decode(row: &AnyRow) -> Result<HeldJob, StoreError> {
    let row = Columns(row);
    let state: JobState = row.word("state")?;
    let is_leased = matches!(state, JobState::Running | JobState::Committing);
    let worker = row.opt_text("worker")?.filter(|_| is_leased);
    Ok(HeldJob {
        id: row.word("id")?,
        kind: row.word("kind")?,
        state,
        zone: row.word("zone")?,
        backend: row.word("backend")?,
        project_id: row.text("project_id")?.into(),
        backup_id: row.opt_word("backup_id")?,
        volume_id: row.opt_word("volume_id")?,
        attempt: row.opt_small("attempt")?,
        worker: worker.map(WorkerName::from),
        since: row.time("since")?,
        generation: row.count("generation")?,
        mark: row.count("mark")?,
        mark_at: row.time("mark_at")?,
        failures: row.small("failures")?,
        next_at: row.opt_time("next_at")?,
        cancel_requested: row.flag("cancel_requested")?,
        give_up: row.opt_text("give_up")?,
        last_error: row.opt_text("last_error")?,
        created_at: row.time("created_at")?,
    })
}

impl Store {
    /// Jobs that are not settled, oldest first: at most `most`, from behind the job `after`. Cleans
    /// that only wait for their time are among them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn held_jobs(
        &self,
        after: Option<JobId>,
        most: u64,
    ) -> Result<Vec<HeldJob>, StoreError> {
        let mut conn = self.read().await?;
        let rows = sqlx::query(
            "SELECT j.id, j.kind, j.state, j.zone, j.backend, j.project_id, j.backup_id, \
             j.volume_id, j.attempt, j.worker, j.generation, j.mark, j.mark_at, j.failures, \
             j.next_at, j.cancel_requested, j.give_up, j.last_error, j.created_at, \
             CASE WHEN j.state = 'queued' THEN j.queued_at \
             ELSE COALESCE(g.granted_at, j.queued_at) END AS since \
             FROM jobs j LEFT JOIN generations g \
             ON g.job_id = j.id AND g.generation = j.generation \
             WHERE j.state <> 'settled' AND j.id > $1 ORDER BY j.id LIMIT $2",
        )
        .bind(after.map(|id| id.to_string()).unwrap_or_default())
        .bind(stored(most))
        .fetch_all(&mut *conn)
        .await
        .map_err(failed("list who holds what"))?;
        rows.iter().map(decode).collect()
    }
}
