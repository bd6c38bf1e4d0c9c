//! A backup's status and how it may change.

use super::spelled;

/// The states of a backup, spelled as the Block Storage API spells them
/// (Cinder: `cinder/objects/fields.py`, `BackupStatus`).
///
/// ```text
///            ┌────────────► error ◄──────────┐
///            │                │              │
/// creating ──┼─► available ◄──┼─► restoring  │ (reset)
///     │      │       │        │              │
///     │ force│       ▼        ▼              │
///     └──────┴──► deleting ──► deleted    error_deleting
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BackupStatus {
    /// A job is writing it.
    Creating,
    /// Whole and durable on the target.
    Available,
    /// A job is reading it into a volume.
    Restoring,
    /// A job is removing it, or will.
    Deleting,
    /// Gone; the row is a tombstone.
    Deleted,
    /// It could not be made or removed; the reason is in `fail_reason`.
    Error,
    /// Cinder's word for a failed delete; can be left by a reset or a forced delete.
    ErrorDeleting,
}

spelled!(BackupStatus, "backup status", {
    Creating = "creating",
    Available = "available",
    Restoring = "restoring",
    Deleting = "deleting",
    Deleted = "deleted",
    Error = "error",
    ErrorDeleting = "error_deleting",
});

impl BackupStatus {
    /// Whether the state machine has an arrow from `self` to `next`.
    #[must_use]
    pub fn can_become(self, next: Self) -> bool {
        use BackupStatus::{
            Available, Creating, Deleted, Deleting, Error, ErrorDeleting, Restoring,
        };
        match self {
            Creating => matches!(next, Available | Error | Deleting), // Deleting by force
            Available => matches!(next, Restoring | Deleting | Error), // Error by an admin's reset
            Restoring => matches!(next, Available | Deleting), // a failed restore harms the volume, not the backup
            Error => matches!(next, Deleting | Available),     // Available by reset, if committed
            ErrorDeleting => matches!(next, Deleting | Available | Error), // left by force or reset
            Deleting => matches!(next, Deleted | Error | ErrorDeleting),
            Deleted => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_backup_stays_deleted() {
        for next in BackupStatus::ALL {
            assert!(!BackupStatus::Deleted.can_become(*next));
        }
    }

    #[test]
    fn every_status_reads_back_as_it_is_written() {
        for status in BackupStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(*status));
        }
    }
}
