//! Rules about records that come from elsewhere.

use common::domain::{BackupId, BackupStatus};

use super::Refusal;

/// The class path that our exports name: Cinder's driver for the very tree that a posix target is.
pub const EXPORTED_SERVICE: &str = "cinder.backup.drivers.posix.PosixBackupDriver";

/// Cinder's drivers whose trees a posix target can hold: they differ in how the directory got there.
const SERVED: [&str; 3] = [
    EXPORTED_SERVICE,
    "cinder.backup.drivers.nfs.NFSBackupDriver",
    "cinder.backup.drivers.glusterfs.GlusterfsBackupDriver",
];

/// Whether the data of such a record can be read here. Old records name only the module, so that the
/// beginning of a class path is enough (Cinder: `backup/manager.py`, `_is_our_backup`'s rule).
#[must_use]
pub fn serves(service: &str) -> bool {
    !service.is_empty() && SERVED.iter().any(|class| class.starts_with(service))
}

/// Only a whole backup has a record worth giving away.
pub fn may_export(status: BackupStatus) -> Result<(), Refusal> {
    if status == BackupStatus::Available {
        Ok(())
    } else {
        Err(Refusal::NotExportable)
    }
}

/// What the rows say about a record that is to be taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImportFacts {
    /// A live backup has the id.
    pub id_is_taken: bool,
    /// The data it names is being made or removed by another backup.
    pub data_in_motion: bool,
    /// Its parent, if that is being deleted.
    pub deleting_parent: Option<BackupId>,
    /// The chain of its parents comes back to it.
    pub is_its_own_ancestor: bool,
}

/// Whether a record may be taken in.
pub fn may_import(facts: ImportFacts) -> Result<(), Refusal> {
    if facts.id_is_taken {
        return Err(Refusal::BackupExists);
    }
    if facts.data_in_motion {
        return Err(Refusal::DataInMotion);
    }
    if let Some(parent) = facts.deleting_parent {
        return Err(Refusal::ParentDeleting(parent));
    }
    if facts.is_its_own_ancestor {
        return Err(Refusal::ParentLoop);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_drivers_with_the_same_tree_are_served() {
        for service in [
            EXPORTED_SERVICE,
            "cinder.backup.drivers.posix",
            "cinder.backup.drivers.nfs.NFSBackupDriver",
            "cinder",
        ] {
            assert!(serves(service), "{service}");
        }
        for service in [
            "",
            "cinder.backup.drivers.s3.S3BackupDriver",
            "cinder.backup.drivers.posix.PosixBackupDriverX",
            "my.driver",
        ] {
            assert!(!serves(service), "{service}");
        }
    }
}
