//! What every handler and every background task may use.

use std::sync::Arc;

use common::broker::LinkState;
use common::config::Settings;
use common::domain::{BackupId, Clock};
use common::messages::events::ProgressData;
use tokio::sync::watch;

use crate::jobs::{LiveWorkers, ProgressBoard};
use crate::store::{JobRow, Store, StoreError};

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct AppState {
    /// The rows.
    pub store: Store,
    /// The configuration.
    pub settings: Arc<Settings>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Which workers are alive.
    pub workers: LiveWorkers,
    /// How far running jobs are.
    pub progress: ProgressBoard,
    /// The connection that listens to the broker.
    pub broker: watch::Receiver<LinkState>,
    /// The connection that publishes: the one a broker short of memory or disk does not read from.
    pub publishing: watch::Receiver<LinkState>,
    /// Whether this process has the lead among those on one database.
    pub leading: watch::Receiver<bool>,
}

impl AppState {
    /// The unsettled job of a backup and its progress, now and on; `None` when no job runs. The
    /// stream closes when the job settles.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn follow_progress(
        &self,
        backup: BackupId,
    ) -> Result<Option<(JobRow, watch::Receiver<Option<ProgressData>>)>, StoreError> {
        let Some(job) = self.store.unsettled_job_of_backup(backup).await? else {
            return Ok(None);
        };
        let follower = self.progress.follow(job.id);
        // It may have settled before it was followed: then nobody would close the stream.
        match self.store.unsettled_job_of_backup(backup).await? {
            Some(still) if still.id == job.id => Ok(Some((still, follower))),
            _ => {
                self.progress.settled(job.id);
                Ok(None)
            }
        }
    }
}
