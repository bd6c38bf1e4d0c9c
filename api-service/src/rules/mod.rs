//! What may be done, as pure functions over values: no row, no connection, no clock.
//!
//! A rule answers `Ok` or a [`Refusal`] that carries what its sentence needs. HTTP turns refusals
//! into status codes; the claim path asks the same rules.

mod backup;
mod give_up;
mod import;
mod quota;
mod snapshot;
mod volume;

pub use backup::{
    ParentCandidate, Reset, may_back_up, may_cancel, may_delete, may_force_delete, may_reset,
    may_restore, may_restore_to, pick_parent, reset_of,
};
pub use give_up::{LastTries, Trials, ends_without_worker, why_give_up};
pub use import::{EXPORTED_SERVICE, ImportFacts, may_export, may_import, serves};
pub use quota::{QuotaLimit, QuotaUse, Usage, may_add_backup, may_add_snapshot, may_add_volume};
pub use snapshot::{
    may_back_up_snapshot, may_delete_snapshot, may_fill_from, may_go_with_volume, may_snapshot,
};
pub use volume::{may_attach, may_delete_volume, may_detach};

use common::domain::{BackupId, BackupStatus, SnapshotStatus, VolumeId, VolumeStatus};

/// Why something may not be done: one variant for each sentence of the API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The volume is in no state to be backed up; `force` does not help.
    #[error(
        "Volume to be backed up must be available or in-use, but the current status is \"{0}\"."
    )]
    VolumeNotBackupable(VolumeStatus),
    /// Attached, and `force` was not given.
    #[error("Backing up an in-use volume must use the force flag.")]
    InUseNeedsForce,
    /// The project has all the backups it may have.
    #[error("Maximum number of backups allowed ({limit}) exceeded")]
    BackupQuota {
        /// The limit.
        limit: i64,
    },
    /// The project's backups would be too large together.
    #[error(
        "Requested backup exceeds allowed Backup gigabytes quota. Requested {requested}G, quota is {limit}G and {used}G has been consumed."
    )]
    BackupGigabytesQuota {
        /// What was asked for, in GiB.
        requested: i64,
        /// The limit.
        limit: i64,
        /// What is there already.
        used: i64,
    },
    /// The project has all the volumes it may have.
    #[error("Maximum number of volumes allowed ({limit}) exceeded for quota 'volumes'.")]
    VolumeQuota {
        /// The limit.
        limit: i64,
    },
    /// The project's volumes would be too large together.
    #[error(
        "Requested volume or snapshot exceeds allowed gigabytes quota. Requested {requested}G, quota is {limit}G and {used}G has been consumed."
    )]
    GigabytesQuota {
        /// What was asked for, in GiB.
        requested: i64,
        /// The limit.
        limit: i64,
        /// What is there already.
        used: i64,
    },
    /// The project has all the snapshots it may have.
    #[error("Maximum number of snapshots allowed ({limit}) exceeded")]
    SnapshotQuota {
        /// The limit.
        limit: i64,
    },
    /// An incremental needs an available backup of the same volume.
    #[error("No backups available to do an incremental backup.")]
    NoParent,
    /// Only an available backup can be restored.
    #[error("Backup status must be available")]
    BackupNotAvailable,
    /// A restore target must be free.
    #[error("Volume to be restored to must be available")]
    TargetNotAvailable,
    /// A restore target must not be smaller than the backup.
    #[error("volume size {volume_gib} is too small to restore backup of size {backup_gib}.")]
    TargetTooSmall {
        /// The target's size.
        volume_gib: u32,
        /// The backup's.
        backup_gib: u32,
    },
    /// Only a settled backup can be deleted.
    #[error("Backup status must be available or error")]
    BackupNotDeletable,
    /// Increments build on it.
    #[error("Incremental backups exist for this backup.")]
    HasDependents,
    /// Nothing runs that could be cancelled.
    #[error(
        "Backup status must be creating or restoring to be cancelled, but the current status is \"{0}\"."
    )]
    NothingToCancel(BackupStatus),
    /// The commit gate was passed first.
    #[error("The backup is complete and being finished; it can no longer be cancelled.")]
    TooLateToCancel,
    /// A status that is being left already.
    #[error("Backup status must not be deleting to be reset")]
    ResetWhileDeleting,
    /// `available` is a promise about stored data; there is none.
    #[error("The backup has no complete data and cannot be reset to available.")]
    NothingToReset,
    /// Only an available backup has a record to give away.
    #[error("Backup status must be available and not error.")]
    NotExportable,
    /// A live backup has the id of the record.
    #[error("Backup already exists in database.")]
    BackupExists,
    /// The data of the record is another backup's that is being made or removed.
    #[error("another backup that is being created, deleted or cleaned up names the same data.")]
    DataInMotion,
    /// The record builds on a backup that goes away.
    #[error("backup {0}, which it builds on, is being deleted.")]
    ParentDeleting(BackupId),
    /// The record would be its own ancestor.
    #[error("the chain of its parents leads back to itself.")]
    ParentLoop,
    /// A backup of the chain was not imported.
    #[error("backup {0}, which it builds on, is not here; import its record first.")]
    ParentMissing(BackupId),
    /// There is nobody who could serve the record's driver, or any other.
    #[error("Service {0} could not be found.")]
    NoServiceFor(String),
    /// No worker was ever seen in the zone.
    #[error("Service cinder-backup could not be found.")]
    NoService,
    /// A job has the backup or volume.
    #[error("another operation on it is not finished")]
    Busy,
    /// A volume in this state cannot be deleted.
    #[error(
        "Volume status must be available or error or error_restoring or error_deleting and must not be attached, but the current status is \"{0}\"."
    )]
    VolumeNotDeletable(VolumeStatus),
    /// A volume stays as long as it has snapshots.
    #[error(
        "Volume status must be available or error or error_restoring or error_extending or error_managing and must not be migrating, attached, belong to a group, have snapshots, awaiting a transfer, or be disassociated from snapshots after volume transfer."
    )]
    VolumeHasSnapshots,
    /// The volume is kept from all use.
    #[error("The snapshot cannot be created when the volume is in maintenance mode.")]
    SnapshotInMaintenance,
    /// The volume has no data worth a snapshot.
    #[error("The snapshot cannot be created when the volume is in error status.")]
    SnapshotOfBrokenVolume,
    /// The volume is in no state to be snapshotted.
    #[error("Volume {volume} status must be {allowed}, but current status is: {status}.")]
    VolumeNotSnapshotable {
        /// The volume.
        volume: VolumeId,
        /// What it must be.
        allowed: &'static str,
        /// What it is.
        status: VolumeStatus,
    },
    /// Something has the snapshot.
    #[error("Snapshot status must be available or error and must not be part of a group.")]
    SnapshotNotDeletable,
    /// Only a whole snapshot can be backed up.
    #[error("Snapshot to be backed up must be available, but the current status is \"{0}\".")]
    SnapshotNotBackupable(SnapshotStatus),
    /// The snapshot is not of the volume that was named with it.
    #[error("Volume {volume} does not match with snapshot.volume_id {of}.")]
    SnapshotOfAnotherVolume {
        /// The volume that was named.
        volume: VolumeId,
        /// Whose snapshot it is.
        of: VolumeId,
    },
    /// Only a whole snapshot can fill a volume.
    #[error(
        "Originating snapshot status must be one of 'available' values, but the current status is \"{0}\"."
    )]
    SnapshotNotAvailable(SnapshotStatus),
    /// A volume must hold all of the snapshot it is filled from.
    #[error(
        "Volume size '{volume_gib}'GB cannot be smaller than the snapshot size {snapshot_gib}GB. They must be >= original snapshot size."
    )]
    SmallerThanSnapshot {
        /// What was asked for.
        volume_gib: u32,
        /// What the snapshot has.
        snapshot_gib: u32,
    },
    /// Only a free volume can be attached.
    #[error("Volume status must be available to be attached, but the current status is \"{0}\".")]
    VolumeNotAttachable(VolumeStatus),
    /// Only an attached volume can be detached.
    #[error("Volume status must be in-use to be detached, but the current status is \"{0}\".")]
    VolumeNotDetachable(VolumeStatus),
    /// Another record is about the same data.
    #[error("`{backend}/{reference}` is managed already")]
    AlreadyManaged {
        /// The backend.
        backend: String,
        /// The place below its root.
        reference: String,
    },
    /// No such backend is configured, or none was named and there is more than one.
    #[error("no volume backend `{0}` is configured")]
    NoSuchBackend(String),
}
