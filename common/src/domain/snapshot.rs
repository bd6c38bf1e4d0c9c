//! A snapshot's status.

use super::spelled;

/// The states of a snapshot that its owner asked for, spelled as the Block Storage API spells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SnapshotStatus {
    /// A job makes it.
    Creating,
    /// It can be backed up, copied to a volume, deleted.
    Available,
    /// A backup reads it.
    BackingUp,
    /// A job removes it.
    Deleting,
    /// It could not be made.
    Error,
    /// It could not be removed.
    ErrorDeleting,
}

spelled!(SnapshotStatus, "snapshot status", {
    Creating = "creating",
    Available = "available",
    BackingUp = "backing-up",
    Deleting = "deleting",
    Error = "error",
    ErrorDeleting = "error_deleting",
});
