//! How many jobs stand where, for the metrics.

use common::domain::{JobKind, JobState};
use jiff::Timestamp;

use super::row::{Columns, micros};
use super::{Store, StoreError, failed};

/// The jobs of one kind in one state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct UnsettledFigure {
    pub(crate) kind: JobKind,
    pub(crate) state: JobState,
    pub(crate) count: u64,
    /// How long the one has waited that waits longest for a worker; 0 when none does.
    pub(crate) waiting_seconds: f64,
}

impl Store {
    /// One figure for each kind and state of which there is any job.
    pub(crate) async fn unsettled_figures(&self) -> Result<Vec<UnsettledFigure>, StoreError> {
        let now = self.now();
        let mut conn = self.read().await?;
        // A job that must not be granted yet waits for its time, not for a worker.
        let rows = sqlx::query(
            "SELECT kind, state, COUNT(*) AS n, \
             MIN(CASE WHEN state = 'queued' AND (next_at IS NULL OR next_at <= $1) \
                 THEN COALESCE(next_at, queued_at) END) AS since \
             FROM jobs WHERE state <> 'settled' GROUP BY kind, state",
        )
        .bind(micros(now))
        .fetch_all(&mut *conn)
        .await
        .map_err(failed("count the unsettled jobs"))?;
        rows.iter()
            .map(|row| {
                let row = Columns(row);
                let since: Option<Timestamp> = row.opt_time("since")?;
                Ok(UnsettledFigure {
                    kind: row.word("kind")?,
                    state: row.word("state")?,
                    count: row.count("n")?,
                    waiting_seconds: since.map_or(0.0, |since| {
                        now.duration_since(since).as_secs_f64().max(0.0)
                    }),
                })
            })
            .collect()
    }
}
