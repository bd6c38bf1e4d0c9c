//! Events: CloudEvents 1.0 in structured JSON, on the exchange `bk.v1.events`.
//!
//! Routing keys: `status.<kind>.<zone>` and `rejected.<login>` (durable, from the state owner's outbox),
//! `progress.<kind>.<zone>` and `worker.<name>` (transient, from workers).

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::sheet::WorkTotals;
use crate::domain::{
    BackupId, Incarnation, JobId, JobKind, ProjectId, SnapshotId, Token, TraceParent, VolumeId,
    WorkerName,
};

/// The envelope of every event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CloudEvent<T> {
    /// Always `1.0`.
    #[schemars(extend("const" = "1.0"))]
    pub specversion: String,
    /// The message id; the same event sent twice has the same one.
    pub id: Uuid,
    /// Who says it: `/api-service` or `/backup-worker/<name>`.
    pub source: String,
    /// What happened, for example `backup.available.v1`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The thing it happened to: a backup's, volume's or snapshot's id, or a worker's name.
    pub subject: String,
    /// When.
    pub time: Timestamp,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// The place in a trace of the request it comes of, as the extension *Distributed Tracing* of `CloudEvents` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<TraceParent>,
    /// The details.
    pub data: T,
}

impl<T> CloudEvent<T> {
    /// An event with a fresh id.
    #[must_use]
    pub fn new(
        source: impl Into<String>,
        event_type: impl Into<String>,
        subject: impl Into<String>,
        time: Timestamp,
        data: T,
    ) -> Self {
        Self {
            specversion: "1.0".to_owned(),
            id: Uuid::now_v7(),
            source: source.into(),
            event_type: event_type.into(),
            subject: subject.into(),
            time,
            datacontenttype: "application/json".to_owned(),
            traceparent: None,
            data,
        }
    }

    /// The event with its place in a trace.
    #[must_use]
    pub fn traced(self, traceparent: Option<TraceParent>) -> Self {
        Self {
            traceparent,
            ..self
        }
    }
}

/// A backup, volume or snapshot came into another status. Types `backup.<status>.v1`,
/// `volume.<status>.v1` and `snapshot.<status>.v1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusData {
    /// The owner.
    pub project_id: ProjectId,
    /// The backup, if it is about one.
    pub backup_id: Option<BackupId>,
    /// The volume, if it is about one.
    pub volume_id: Option<VolumeId>,
    /// The snapshot, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<SnapshotId>,
    /// The job that brought it there.
    pub job_id: Option<JobId>,
    /// The request that began the job.
    pub request_id: Option<String>,
    /// The new status, as the API spells it.
    pub status: String,
    /// For errors: one sentence for the owner.
    pub fail_reason: Option<String>,
}

/// How far a running job is. Type `job.progress.v1`; at most one a second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProgressData {
    /// The job.
    pub job_id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// The backup it makes or reads.
    pub backup_id: Option<BackupId>,
    /// The volume it reads or writes.
    pub volume_id: Option<VolumeId>,
    /// Which execution says so.
    pub generation: u64,
    /// Grows by one with each event of a generation.
    pub sequence: u64,
    /// What it is doing: `snapshot`, `transfer`, `finishing`, `cleaning`.
    pub phase: String,
    /// Bytes of the volume that are done, of `totals.volume`.
    pub done_bytes: u64,
    /// Sums so far.
    pub totals: WorkTotals,
    /// Bytes of the volume per second, lately.
    pub rate_bytes_per_second: u64,
    /// Estimated seconds to the end.
    pub remaining_seconds: Option<u64>,
}

/// A worker's sign of life. Types `worker.started.v1`, `worker.heartbeat.v1`, `worker.stopped.v1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerData {
    /// Its name.
    pub worker: WorkerName,
    /// Which run of it.
    pub incarnation: Incarnation,
    /// Its zone.
    pub zone: Token,
    /// Volume backends it can reach.
    pub volume_backends: Vec<Token>,
    /// Backup targets it can reach.
    pub targets: Vec<Token>,
    /// How many jobs it takes at once.
    pub slots: u32,
    /// Jobs it has now.
    pub running: Vec<JobId>,
    /// Its version.
    pub version: String,
}

/// Event type of a worker that has come up.
pub const WORKER_STARTED: &str = "worker.started.v1";
/// Event type of a worker that is alive.
pub const WORKER_HEARTBEAT: &str = "worker.heartbeat.v1";
/// Event type of a worker that has gone on purpose.
pub const WORKER_STOPPED: &str = "worker.stopped.v1";
/// Event type of a job's progress.
pub const JOB_PROGRESS: &str = "job.progress.v1";
