//! Rules about snapshots that owners ask for.

use common::domain::{SnapshotStatus, VolumeId, VolumeStatus};

use super::Refusal;

/// A volume can be snapshotted while nothing changes it as a whole; an attached one only `in_use_too`.
pub fn may_snapshot(
    volume: VolumeId,
    status: VolumeStatus,
    in_use_too: bool,
) -> Result<(), Refusal> {
    match status {
        VolumeStatus::Available => Ok(()),
        VolumeStatus::InUse if in_use_too => Ok(()),
        VolumeStatus::Maintenance => Err(Refusal::SnapshotInMaintenance),
        VolumeStatus::Error => Err(Refusal::SnapshotOfBrokenVolume),
        VolumeStatus::InUse
        | VolumeStatus::Creating
        | VolumeStatus::BackingUp
        | VolumeStatus::RestoringBackup
        | VolumeStatus::Deleting
        | VolumeStatus::ErrorRestoring
        | VolumeStatus::ErrorDeleting
        | VolumeStatus::ErrorBackingUp => Err(Refusal::VolumeNotSnapshotable {
            volume,
            allowed: if in_use_too {
                "available, in-use"
            } else {
                "available"
            },
            status,
        }),
    }
}

/// A snapshot can be deleted when it is settled; with force whatever its status.
pub fn may_delete_snapshot(status: SnapshotStatus, force: bool) -> Result<(), Refusal> {
    if force || matches!(status, SnapshotStatus::Available | SnapshotStatus::Error) {
        Ok(())
    } else {
        Err(Refusal::SnapshotNotDeletable)
    }
}

/// Whether a snapshot can go together with its volume: also one that did not go the last time, or its
/// volume could never go without an administrator.
#[must_use]
pub fn may_go_with_volume(status: SnapshotStatus, force: bool) -> bool {
    status == SnapshotStatus::ErrorDeleting || may_delete_snapshot(status, force).is_ok()
}

/// A snapshot is backed up as one of its own volume, when nothing else has it. The volume's status
/// does not matter.
pub fn may_back_up_snapshot(
    volume: VolumeId,
    of: VolumeId,
    status: SnapshotStatus,
) -> Result<(), Refusal> {
    if volume != of {
        return Err(Refusal::SnapshotOfAnotherVolume { volume, of });
    }
    if status != SnapshotStatus::Available {
        return Err(Refusal::SnapshotNotBackupable(status));
    }
    Ok(())
}

/// A volume is filled from a whole snapshot, and has room for it.
pub fn may_fill_from(
    status: SnapshotStatus,
    snapshot_gib: u32,
    volume_gib: u32,
) -> Result<(), Refusal> {
    if status != SnapshotStatus::Available {
        return Err(Refusal::SnapshotNotAvailable(status));
    }
    if volume_gib < snapshot_gib {
        return Err(Refusal::SmallerThanSnapshot {
            volume_gib,
            snapshot_gib,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_volume_at_rest_is_snapshotted() {
        let volume = VolumeId::new();
        for status in VolumeStatus::ALL {
            let rests = *status == VolumeStatus::Available;
            assert_eq!(may_snapshot(volume, *status, false).is_ok(), rests);
            let or_attached = rests || *status == VolumeStatus::InUse;
            assert_eq!(may_snapshot(volume, *status, true).is_ok(), or_attached);
        }
    }

    #[test]
    fn a_snapshot_that_something_has_is_neither_deleted_nor_read_again() {
        let volume = VolumeId::new();
        for status in SnapshotStatus::ALL {
            let deletable = matches!(status, SnapshotStatus::Available | SnapshotStatus::Error);
            assert_eq!(may_delete_snapshot(*status, false).is_ok(), deletable);
            assert_eq!(may_delete_snapshot(*status, true), Ok(()));
            let whole = *status == SnapshotStatus::Available;
            let backed_up = may_back_up_snapshot(volume, volume, *status);
            assert_eq!(backed_up.is_ok(), whole);
            assert_eq!(may_fill_from(*status, 1, 1).is_ok(), whole);
        }
        assert!(may_back_up_snapshot(volume, VolumeId::new(), SnapshotStatus::Available).is_err());
        assert!(may_fill_from(SnapshotStatus::Available, 2, 1).is_err());
    }
}
