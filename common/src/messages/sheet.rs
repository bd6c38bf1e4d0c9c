//! The job sheet: all a worker needs, fixed for an attempt, carried by the claim's grant.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::{
    AttemptNames, BackupId, ByteCount, Compression, ContainerName, JobKind, ObjectPrefix,
    ProjectId, SnapshotName, Token, UserId, VolumeId, VolumeSource,
};

/// One sheet per kind of job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Sheet {
    /// Read a volume into a backup.
    Backup(Box<BackupSheet>),
    /// Read a backup into a volume.
    Restore(RestoreSheet),
    /// Remove a backup.
    Delete(DeleteSheet),
    /// Make, take over or remove a volume or a snapshot.
    Volume(VolumeSheet),
    /// Remove what an attempt left.
    Clean(CleanSheet),
}

impl Sheet {
    /// The kind of job this sheet is for.
    #[must_use]
    pub fn kind(&self) -> JobKind {
        match self {
            Self::Backup(_) => JobKind::Backup,
            Self::Restore(_) => JobKind::Restore,
            Self::Delete(_) => JobKind::Delete,
            Self::Volume(_) => JobKind::Volume,
            Self::Clean(_) => JobKind::Clean,
        }
    }
}

/// A volume as a driver needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRef {
    /// Its id.
    pub volume_id: VolumeId,
    /// The configured backend, `volume_backends.NAME`.
    pub backend: Token,
    /// Where its data is, below the backend's root.
    pub source: VolumeSource,
    /// Its size as the API has it. A taken-over file may be shorter than this many GiB.
    pub size_gib: u32,
}

/// A snapshot of an owner, as a driver needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRef {
    /// Whose it is, and so where it lies.
    pub volume: VolumeRef,
    /// Its name there.
    pub name: SnapshotName,
}

/// Where a stored backup is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBackup {
    /// Its id, for messages and for checks against its metadata file.
    pub backup_id: BackupId,
    /// Its container.
    pub container: ContainerName,
    /// What its objects begin with.
    pub prefix: ObjectPrefix,
}

/// How objects are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreOptions {
    /// Algorithm for data objects.
    pub compression: Compression,
    /// Bytes of the volume in one object at most; a multiple of `block_size_bytes`.
    pub object_size_bytes: u32,
    /// Bytes of the volume one SHA-256 covers.
    pub block_size_bytes: u32,
}

/// What `frozen` recorded: which snapshot this attempt's data comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// The driver's own words; compared as text (inode and birth time, LV UUID, RBD snapshot id).
    pub identity: String,
    /// When the data was frozen.
    pub taken_at: Timestamp,
    /// Which codec versions wrote the objects; another worker's codecs could give other bytes.
    pub codec_fingerprint: String,
}

/// All for a `backup` job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupSheet {
    /// The backup to make.
    pub backup_id: BackupId,
    /// What to read.
    pub volume: VolumeRef,
    /// The owner's snapshot to read instead of the volume; it is not this job's to remove.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_snapshot: Option<SnapshotRef>,
    /// Whether the volume is attached: then it is copied or snapshotted, never read in place.
    pub in_use: bool,
    /// Every name this attempt may use.
    pub names: AttemptNames,
    /// How objects are made.
    pub options: StoreOptions,
    /// For an incremental: what it builds on.
    pub parent: Option<StoredBackup>,
    /// The commit gate is behind us: only finishing is left.
    pub committed: bool,
    /// The snapshot's identity, once known.
    pub frozen: Option<Frozen>,
    /// Sealed bytes of the volume so far.
    pub mark: u64,
    /// What goes into the metadata file.
    pub record: BackupRecord,
}

/// The descriptive part of a backup, for its metadata file. It is enough to rebuild the record
/// from the target alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupRecord {
    /// Display name.
    pub name: Option<String>,
    /// Display description.
    pub description: Option<String>,
    /// When the record was made.
    pub created_at: Timestamp,
    /// The owner.
    pub project_id: ProjectId,
    /// Who asked.
    pub user_id: UserId,
    /// The volume's size.
    pub size_gib: u32,
    /// The moment the data describes, when it is not the time of `frozen`.
    pub data_timestamp: Option<Timestamp>,
    /// The user's snapshot it was made of, if any.
    pub snapshot_id: Option<uuid::Uuid>,
    /// Zone of the backup.
    pub availability_zone: Option<String>,
    /// The owner's key-value pairs.
    pub metadata: BTreeMap<String, String>,
    /// The source volume's own data as a JSON text in Cinder's shape (`volume_meta`, version 2).
    pub volume_meta: Option<String>,
}

/// All for a `restore` job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreSheet {
    /// The wanted backup first, then its parents down to the full one.
    pub chain: Vec<StoredBackup>,
    /// The volume's size when the wanted backup was made.
    pub backup_size_gib: u32,
    /// What to write.
    pub volume: VolumeRef,
    /// The volume was made for this restore: the worker creates it, and it reads as zeros.
    pub volume_is_new: bool,
    /// Bytes of the target, from its start, that are written and durable.
    pub mark: u64,
}

/// All for a `delete` job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteSheet {
    /// The backup to remove.
    pub backup_id: BackupId,
    /// Every attempt of it.
    pub attempts: Vec<AttemptNames>,
    /// Whether the objects go too: no other live record names the same container and prefix.
    pub objects_too: bool,
}

/// All for a `volume` job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSheet {
    /// The volume.
    pub volume: VolumeRef,
    /// What to do with it.
    pub action: VolumeAction,
    /// The snapshots it is about: the one to make, to remove or to fill the new volume from, or all
    /// those that go with the volume.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<SnapshotRef>,
}

/// What a `volume` job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeAction {
    /// Make it: reading as zeros, or as the snapshot that is named.
    Create,
    /// Take over what is already there, and tell its size.
    Manage,
    /// Remove it, its snapshots first. Gone already is success.
    Delete,
    /// Make a snapshot of it. There already is success.
    CreateSnapshot,
    /// Remove a snapshot of it. Gone already is success.
    DeleteSnapshot,
}

/// All for a `clean` job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanSheet {
    /// The backup the attempt belonged to.
    pub backup_id: BackupId,
    /// The attempt's names; nothing else may be touched.
    pub names: AttemptNames,
    /// The volume whose backend may still have the attempt's snapshot.
    pub volume: Option<VolumeRef>,
    /// What may go, decided when the job is claimed.
    pub scope: CleanScope,
}

/// What a `clean` job may remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CleanScope {
    /// A live record shares the prefix: only the snapshot and the scratch place.
    ScratchOnly,
    /// The attempt is a finished backup: also what lies under its prefix and its metadata does not name.
    Strays,
    /// Nothing of the attempt counts: all of it, metadata first.
    Everything,
}

/// How much one execution of a job has done: so far, in its progress, and in all when it reports the job's end.
///
/// What earlier executions of the job did is not in it. `volume` alone is of the whole job, and how much of that is done
/// by all together is told by `done_bytes` of the progress. An execution that only finishes what another made has done nothing.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
pub struct WorkTotals {
    /// Bytes of the volume the job covers; 0 while that is not known yet.
    pub volume: ByteCount,
    /// Bytes read from the volume (a backup) or from the target (a restore).
    pub read: ByteCount,
    /// Bytes stored on the target (a backup) or written to the volume (a restore).
    pub written: ByteCount,
    /// Bytes that needed no reading or writing: holes, zeros, unchanged blocks.
    pub skipped: ByteCount,
}
