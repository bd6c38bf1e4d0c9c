//! What other services may ask for by message, and what they are answered.
//!
//! The state owner checks a request with the code that checks the same request over HTTP: `backup` and `restore` are
//! the very objects of the Block Storage API. `job_id` is the publisher's own and is the key under which a repeat
//! is known.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{BackupId, JobId, JobState, ProjectId, SnapshotId, UserId, VolumeId};

/// The schema of a request.
pub const REQUEST_SCHEMA: &str = "emberkeep.request.v1";
/// The schema of an answer, and its message type.
pub const REPLY_SCHEMA: &str = "emberkeep.reply.v1";
/// Event type of a request that was rejected.
pub const REQUEST_REJECTED: &str = "request.rejected.v1";
/// Longest body of a request, in bytes.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// A job that another service publishes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublishedRequest {
    /// Always `emberkeep.request.v1`.
    #[schemars(extend("const" = REQUEST_SCHEMA))]
    pub schema: String,
    /// A new UUID for each request; the same in every copy of it.
    pub job_id: JobId,
    /// For which project. The publisher's login must be allowed to act for it.
    pub project_id: ProjectId,
    /// On whose behalf; without it the login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// What to do.
    #[serde(flatten)]
    pub work: PublishedWork,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PublishedWork {
    /// Back a volume up.
    Backup {
        /// The object of `POST /backups`.
        backup: BackupWanted,
    },
    /// Restore a backup.
    Restore {
        /// The backup.
        backup_id: BackupId,
        /// The object of `POST /backups/{id}/restore`.
        #[serde(default)]
        restore: RestoreWanted,
    },
    /// Delete a backup.
    Delete {
        /// The backup.
        backup_id: BackupId,
    },
}

/// A backup to be made: the object of `POST /backups`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupWanted {
    /// The volume.
    pub volume_id: VolumeId,
    /// A snapshot of it, to read in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<SnapshotId>,
    /// A name to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub name: Option<String>,
    /// A description to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub description: Option<String>,
    /// Where on the target; without it a place of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub container: Option<String>,
    /// Only what changed since the newest available backup of the volume.
    #[serde(default)]
    pub incremental: bool,
    /// Also while the volume is attached.
    #[serde(default)]
    pub force: bool,
    /// Words to keep with it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The zone to work in; without it the volume's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub availability_zone: Option<String>,
}

impl BackupWanted {
    /// A full backup of a volume, and no more said.
    #[must_use]
    pub fn of(volume_id: VolumeId) -> Self {
        Self {
            volume_id,
            snapshot_id: None,
            name: None,
            description: None,
            container: None,
            incremental: false,
            force: false,
            metadata: BTreeMap::new(),
            availability_zone: None,
        }
    }
}

/// Where a restore goes: the object of `POST /backups/{id}/restore`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreWanted {
    /// An existing volume; without one a new volume is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_id: Option<VolumeId>,
    /// The new volume's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub name: Option<String>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Recorded: it will come to an end, and events tell of it.
    Accepted,
    /// It was accepted before; nothing was done again.
    Duplicate,
    /// It breaks a rule; nothing was done.
    Rejected,
}

/// The answer to a request that named a `reply_to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublishedReply {
    /// Always `emberkeep.reply.v1`.
    #[schemars(extend("const" = REPLY_SCHEMA))]
    pub schema: String,
    /// What became of it.
    pub verdict: Verdict,
    /// The request's, if one could be read.
    pub job_id: Option<JobId>,
    /// The backup it is about.
    pub backup_id: Option<BackupId>,
    /// The volume it is about.
    pub volume_id: Option<VolumeId>,
    /// Where the job stands now; null if the request needed none.
    pub state: Option<JobState>,
    /// How a settled job ended: `done`, `cancelled`, `failed` or `skipped`.
    pub outcome: Option<String>,
    /// For a failed one: a sentence for the owner.
    pub fail_reason: Option<String>,
    /// For a rejected request: why.
    pub rejection: Option<Rejection>,
}

/// Why a request was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rejection {
    /// A word for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

/// A request was rejected. Type `request.rejected.v1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RejectedData {
    /// Who published it, as the broker had checked it.
    pub login: Option<String>,
    /// The message's own id.
    pub message_id: Option<Uuid>,
    /// The request's, if one could be read.
    pub job_id: Option<JobId>,
    /// A word for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}
