//! What the API answers, as the contract has it: an unknown field in a backup is a failure.

use std::collections::BTreeMap;

use common::domain::{BackupId, BackupStatus, SnapshotId, SnapshotStatus, VolumeId, VolumeStatus};
use common::messages::sheet::WorkTotals;
use serde::Deserialize;
use uuid::Uuid;

/// A backup as `show` and `detail` give it to an administrator at the highest version.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are the contract's")]
pub struct Backup {
    #[serde(with = "id")]
    pub id: BackupId,
    pub status: BackupStatus,
    pub size: u64,
    pub object_count: u64,
    pub availability_zone: Option<String>,
    pub container: Option<String>,
    pub created_at: String,
    pub updated_at: Option<String>,
    pub name: Option<String>,
    pub description: Option<String>,
    pub fail_reason: Option<String>,
    #[serde(with = "id")]
    pub volume_id: VolumeId,
    pub links: serde_json::Value,
    pub is_incremental: bool,
    pub has_dependent_backups: bool,
    pub snapshot_id: Option<String>,
    pub data_timestamp: Option<String>,
    pub metadata: BTreeMap<String, String>,
    #[serde(rename = "os-backup-project-attr:project_id")]
    pub project_id: String,
    pub user_id: String,
}

/// The part of a volume that tests look at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the fields are the contract's")]
pub struct Volume {
    #[serde(with = "id")]
    pub id: VolumeId,
    pub status: VolumeStatus,
    pub size: u64,
    pub name: Option<String>,
    pub description: Option<String>,
    pub availability_zone: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub bootable: String,
    pub attachments: Vec<serde_json::Value>,
}

/// The part of a snapshot that tests look at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the fields are the contract's")]
pub struct Snapshot {
    #[serde(with = "id")]
    pub id: SnapshotId,
    #[serde(with = "id")]
    pub volume_id: VolumeId,
    pub status: SnapshotStatus,
    pub size: u64,
    pub name: Option<String>,
    pub description: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub created_at: String,
}

/// The answer to a restore.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are the contract's")]
pub struct Restored {
    #[serde(with = "id")]
    pub backup_id: BackupId,
    #[serde(with = "id")]
    pub volume_id: VolumeId,
    pub volume_name: String,
}

/// How far a running job is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "named as in the progress event")]
pub struct Progress {
    pub job_id: Uuid,
    pub generation: u64,
    pub sequence: u64,
    pub phase: String,
    pub done_bytes: u64,
    pub totals: WorkTotals,
}

/// Ids as the API writes them: 36 characters, and nothing else.
mod id {
    use serde::{Deserialize, Deserializer, de::Error};
    use uuid::Uuid;

    pub(super) fn deserialize<'de, D, Id>(deserializer: D) -> Result<Id, D::Error>
    where
        D: Deserializer<'de>,
        Id: From<Uuid>,
    {
        let text = String::deserialize(deserializer)?;
        let uuid: Uuid = text.parse().map_err(D::Error::custom)?;
        if uuid.hyphenated().to_string() == text {
            Ok(uuid.into())
        } else {
            Err(D::Error::custom(format!("`{text}` is not a canonical id")))
        }
    }
}
