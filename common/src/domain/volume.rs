//! A volume's status.

use super::spelled;

/// The states of a volume that backups meet, spelled as the Block Storage API spells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VolumeStatus {
    /// A job makes it.
    Creating,
    /// Free for any use.
    Available,
    /// Attached; a backup of it needs `force`.
    InUse,
    /// Being backed up; its status before is kept beside and comes back.
    BackingUp,
    /// A restore writes into it.
    RestoringBackup,
    /// A job removes it.
    Deleting,
    /// Not usable: it could not be made, or a restore into it was cancelled.
    Error,
    /// A restore into it failed; it holds a mixture.
    ErrorRestoring,
    /// It could not be removed.
    ErrorDeleting,
    /// Set by an administrator's reset only.
    ErrorBackingUp,
    /// Set by an administrator's reset only.
    Maintenance,
}

spelled!(VolumeStatus, "volume status", {
    Creating = "creating",
    Available = "available",
    InUse = "in-use",
    BackingUp = "backing-up",
    RestoringBackup = "restoring-backup",
    Deleting = "deleting",
    Error = "error",
    ErrorRestoring = "error_restoring",
    ErrorDeleting = "error_deleting",
    ErrorBackingUp = "error_backing-up",
    Maintenance = "maintenance",
});
