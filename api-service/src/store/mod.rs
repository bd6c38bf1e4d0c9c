//! The state owner's memory: the only SQL of the project.
//!
//! ```text
//! http ──► intention-named methods on Store ─┐
//! jobs ──► Store::write ─► Tx ───────────────┴─► one transaction: rows, attempt, job, outbox ─► commit
//!                                                 and only then: the relay is woken, settled jobs are logged
//! ```
//!
//! **Invariant.** Whatever changes a row does so inside a `Tx`, and there is one writer at a time:
//! rules read the very rows that the same transaction changes, so a check and its deed cannot be
//! torn apart. On SQLite the writer is one connection that begins as a writer, in one process, which
//! an exclusive lock beside the file guarantees. On PostgreSQL any number of api-services write, each
//! on one connection, and every change takes its turn by a lock that it holds to its end.

mod attempts;
mod backups;
mod claims;
mod cleaning;
mod create;
mod delete;
mod engine;
mod figures;
mod held;
mod import;
mod jobs;
mod lead;
mod leases;
mod listing;
mod metadata;
mod open;
mod outbox;
mod parked;
mod place;
mod published;
mod quotas;
mod restore;
mod row;
mod settle;
mod sheets;
mod snapshot_requests;
mod snapshots;
mod volume_requests;
mod volumes;
mod workers;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use common::config::Settings;
use common::domain::{Clock, JobId, ProjectId, TraceParent, UserId};
use common::metrics::DATABASE_TURN;
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool, Connection, Transaction};
use tokio::sync::{Notify, broadcast};

pub use attempts::{AttemptRow, AttemptState};
pub use backups::{BackupChanges, BackupRow};
pub use create::NewBackup;
pub use held::HeldJob;
pub use import::{ImportedData, ImportedRecord};
pub use jobs::{Details, JobRow};
pub use listing::{Column, Direction, Listing, Page, SortKey};
pub use metadata::MetadataChange;
pub use parked::{ParkedMessage, RedriveError};
pub use place::check_place;
pub use restore::{RestoreRequest, RestoreStarted};
pub use snapshots::{NewSnapshot, SnapshotChanges, SnapshotRow};
pub use volume_requests::Deleting;
pub use volumes::{Attachment, NewVolume, VolumeChanges, VolumeRow};
pub use workers::WorkerRow;

pub(crate) use claims::GenerationEnd;
pub(crate) use lead::{Lead, TRY_LEAD_AGAIN};
pub(crate) use outbox::OutboxRow;
pub(crate) use published::{Published, ReplyTo, Request as PublishedRequest, Taken};
pub(crate) use settle::CANCELLED;

use crate::rules::Refusal;
use engine::Engine;

/// Who asks, and in which request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// For which project.
    pub project_id: ProjectId,
    /// Which user.
    pub user_id: UserId,
    /// Whether administrators' actions are open to them.
    pub is_admin: bool,
    /// The request, for logs and events.
    pub request_id: String,
    /// Its place in a trace.
    pub traceparent: Option<TraceParent>,
}

impl Caller {
    pub(crate) fn origin(&self) -> Origin<'_> {
        Origin {
            request_id: Some(&self.request_id),
            traceparent: self.traceparent,
        }
    }
}

/// What a message comes of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Origin<'a> {
    /// The request.
    pub(crate) request_id: Option<&'a str>,
    /// Its place in a trace.
    pub(crate) traceparent: Option<TraceParent>,
}

/// Whose rows are seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One project's; another's do not exist for who asks.
    Project(ProjectId),
    /// Everybody's: for administrators.
    All,
}

impl Scope {
    /// Whether a project's rows are seen.
    fn sees(&self, owner: &ProjectId) -> bool {
        match self {
            Self::All => true,
            Self::Project(project) => project == owner,
        }
    }
}

/// What was not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// A backup.
    Backup,
    /// A volume.
    Volume,
    /// A snapshot of a volume.
    Snapshot,
}

impl std::fmt::Display for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Backup => "Backup",
            Self::Volume => "Volume",
            Self::Snapshot => "Snapshot",
        })
    }
}

/// Why a request came to nothing. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It does not exist, or is another project's.
    #[error("{what} {id} could not be found.")]
    NotFound {
        /// The kind of thing.
        what: Resource,
        /// As it was asked for.
        id: String,
    },
    /// It has no such key in its metadata.
    #[error("{what} {id} has no metadata with key {key}.")]
    NoMetadata {
        /// The kind of thing.
        what: Resource,
        /// Its id.
        id: String,
        /// The key, as it was asked for.
        key: String,
    },
    /// A rule forbids it.
    #[error("refuse the request")]
    Refused(#[from] Refusal),
    /// The database failed.
    #[error("reach the database")]
    Store(#[from] StoreError),
}

/// Why the database failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A statement failed.
    #[error("{deed}")]
    Sql {
        /// What it was to do.
        deed: &'static str,
        /// Why it did not.
        source: sqlx::Error,
    },
    /// The schema could not be brought up to date.
    #[error("bring the database schema up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// The lock file beside the database could not be used.
    #[error("lock {}", path.display())]
    LockFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Another api-service has the database.
    #[error("another api-service serves the database: {} is locked", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A url of a database that is not served.
    #[error("database.url must begin with `sqlite:` or `postgres:`")]
    UnknownDatabase,
    /// A column holds what no writer of ours wrote.
    #[error("read column `{column}`")]
    Column {
        /// Its name.
        column: &'static str,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A row that must be there is not.
    #[error("{0} is missing")]
    Missing(String),
}

impl StoreError {
    /// Whether the database itself was in the way and the same may work later: locked, full, gone,
    /// restarting. Nothing of the change was kept. False for what only a person can mend.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Sql { source, .. } => match source {
                sqlx::Error::Database(error) => {
                    error.kind() == sqlx::error::ErrorKind::Other && engine::may_pass(&**error)
                }
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed => true,
                _ => false,
            },
            Self::Migrate(_)
            | Self::LockFile { .. }
            | Self::Locked { .. }
            | Self::UnknownDatabase
            | Self::Column { .. }
            | Self::Missing(_) => false,
        }
    }

    fn is_unique_violation(&self) -> bool {
        matches!(
            self,
            Self::Sql { source: sqlx::Error::Database(error), .. } if error.is_unique_violation()
        )
    }
}

/// Turns a driver's error into ours, with the deed it was in the way of.
fn failed(deed: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |source| StoreError::Sql { deed, source }
}

/// A job that has just settled, for those who follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobSettled(pub JobId);

/// The rows. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    /// One connection: the writer.
    writer: AnyPool,
    readers: AnyPool,
    engine: Engine,
    settings: Arc<Settings>,
    clock: Arc<dyn Clock>,
    outbox_waker: Arc<Notify>,
    settled: broadcast::Sender<JobSettled>,
    /// Held for as long as the store is open, by the process that serves the database.
    _lock: Option<File>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("database", &self.0.settings.database)
            .finish_non_exhaustive()
    }
}

/// Followers that lag more than this many settled jobs look again at the rows.
const SETTLED_BACKLOG: usize = 1024;

impl Store {
    /// Waits for running statements and closes the database.
    pub async fn close(&self) {
        self.0.readers.close().await;
        self.0.writer.close().await;
    }

    /// The configuration it was opened with.
    #[must_use]
    pub fn settings(&self) -> &Arc<Settings> {
        &self.0.settings
    }

    /// Rung after every commit that left a message in the outbox.
    pub(crate) fn outbox_waker(&self) -> Arc<Notify> {
        Arc::clone(&self.0.outbox_waker)
    }

    /// Says which jobs settle, from now on.
    #[must_use]
    pub fn settled_jobs(&self) -> broadcast::Receiver<JobSettled> {
        self.0.settled.subscribe()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    async fn read(&self) -> Result<PoolConnection<Any>, StoreError> {
        self.0
            .readers
            .acquire()
            .await
            .map_err(failed("get a connection to the database"))
    }

    /// Begins a change. Waits for its turn: there is one writer.
    pub(crate) async fn write(&self) -> Result<Tx, StoreError> {
        let asked = Instant::now();
        let inner = match self.begin().await {
            // SQLite itself has rolled back, for want of space for example, and sqlx still counts on
            // a transaction that is no more. Such a connection never begins another one.
            Err(sqlx::Error::InvalidSavePointStatement) => {
                self.replace_writer().await?;
                self.begin().await
            }
            begun => begun,
        };
        Ok(Tx {
            inner: inner.map_err(failed("begin a transaction"))?,
            turn: Turn::taken(asked),
            now: self.now(),
            store: self.clone(),
            job_id: None,
            rang: false,
            settled: Vec::new(),
        })
    }

    async fn begin(&self) -> sqlx::Result<Transaction<'static, Any>> {
        let engine = &self.0.engine;
        let mut begun = self.0.writer.begin_with(engine.begin()).await?;
        if let Some(turn) = engine.take_turn() {
            sqlx::query(turn).execute(&mut *begun).await?;
        }
        Ok(begun)
    }

    async fn replace_writer(&self) -> Result<(), StoreError> {
        let old = self.0.writer.acquire().await;
        let old = old.map_err(failed("get a connection to the database"))?;
        let closed = old.detach().close_hard().await;
        closed.map_err(failed("close a connection to the database"))
    }
}

/// A change of rows that becomes true as a whole at [`Tx::commit`], or not at all.
pub(crate) struct Tx {
    inner: Transaction<'static, Any>,
    turn: Turn,
    /// The one time of everything this change writes.
    pub(crate) now: Timestamp,
    store: Store,
    /// The id that the job of this change is to have: its publisher's.
    job_id: Option<JobId>,
    rang: bool,
    settled: Vec<settle::SettledLine>,
}

/// The time in which a change keeps the others waiting.
struct Turn {
    since: Instant,
}

impl Turn {
    fn taken(asked: Instant) -> Self {
        metrics::histogram!(DATABASE_TURN, "part" => "waited").record(asked.elapsed());
        Self {
            since: Instant::now(),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        metrics::histogram!(DATABASE_TURN, "part" => "held").record(self.since.elapsed());
    }
}

impl Tx {
    fn conn(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.store.0.settings)
    }

    /// Makes it true; then wakes the relay and tells of the jobs that settled.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        self.inner
            .commit()
            .await
            .map_err(failed("commit a transaction"))?;
        drop(self.turn);
        if self.rang {
            self.store.0.outbox_waker.notify_one();
        }
        for line in self.settled {
            line.log();
            // Nobody may be listening.
            let _ = self.store.0.settled.send(JobSettled(line.job_id()));
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
