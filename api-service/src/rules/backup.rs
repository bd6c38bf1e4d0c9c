//! Rules about backups, in the order in which the API checks them.

use common::domain::{BackupId, BackupStatus, VolumeStatus};
use jiff::Timestamp;

use super::Refusal;

/// A volume can be backed up when nothing else has it; an attached one only by force.
pub fn may_back_up(status: VolumeStatus, force: bool) -> Result<(), Refusal> {
    match status {
        VolumeStatus::Available => Ok(()),
        VolumeStatus::InUse if force => Ok(()),
        VolumeStatus::InUse => Err(Refusal::InUseNeedsForce),
        VolumeStatus::Creating
        | VolumeStatus::BackingUp
        | VolumeStatus::RestoringBackup
        | VolumeStatus::Deleting
        | VolumeStatus::Error
        | VolumeStatus::ErrorRestoring
        | VolumeStatus::ErrorDeleting
        | VolumeStatus::ErrorBackingUp
        | VolumeStatus::Maintenance => Err(Refusal::VolumeNotBackupable(status)),
    }
}

/// An earlier backup of the same volume, as far as the choice of a parent needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentCandidate {
    /// Its id.
    pub id: BackupId,
    /// Where it stands.
    pub status: BackupStatus,
    /// The moment its data describes.
    pub data_timestamp: Timestamp,
}

/// The parent of an incremental: the newest available backup of the volume; for one that reads a
/// snapshot, of those that describe an earlier time than that was taken (`before`).
pub fn pick_parent(
    candidates: &[ParentCandidate],
    before: Option<Timestamp>,
) -> Result<BackupId, Refusal> {
    candidates
        .iter()
        .filter(|candidate| candidate.status == BackupStatus::Available)
        .filter(|candidate| before.is_none_or(|before| candidate.data_timestamp < before))
        .max_by_key(|candidate| (candidate.data_timestamp, candidate.id))
        .map(|candidate| candidate.id)
        .ok_or(Refusal::NoParent)
}

/// Only a whole backup can be restored.
pub fn may_restore(status: BackupStatus) -> Result<(), Refusal> {
    if status == BackupStatus::Available {
        Ok(())
    } else {
        Err(Refusal::BackupNotAvailable)
    }
}

/// A restore target is free, and holds all of the backup.
pub fn may_restore_to(
    status: VolumeStatus,
    volume_gib: u32,
    backup_gib: u32,
) -> Result<(), Refusal> {
    if status != VolumeStatus::Available {
        return Err(Refusal::TargetNotAvailable);
    }
    if volume_gib < backup_gib {
        return Err(Refusal::TargetTooSmall {
            volume_gib,
            backup_gib,
        });
    }
    Ok(())
}

/// A plain delete: of a settled backup that nothing builds on.
pub fn may_delete(status: BackupStatus, dependents: u64) -> Result<(), Refusal> {
    if !matches!(status, BackupStatus::Available | BackupStatus::Error) {
        return Err(Refusal::BackupNotDeletable);
    }
    may_force_delete(dependents)
}

/// A forced delete: of any backup that nothing builds on.
pub fn may_force_delete(dependents: u64) -> Result<(), Refusal> {
    if dependents > 0 {
        return Err(Refusal::HasDependents);
    }
    Ok(())
}

/// Something runs that a cancel can stop: a restore, or a creation before its commit.
pub fn may_cancel(status: BackupStatus, committed: bool) -> Result<(), Refusal> {
    match status {
        BackupStatus::Creating if committed => Err(Refusal::TooLateToCancel),
        BackupStatus::Creating | BackupStatus::Restoring => Ok(()),
        BackupStatus::Available
        | BackupStatus::Deleting
        | BackupStatus::Deleted
        | BackupStatus::Error
        | BackupStatus::ErrorDeleting => Err(Refusal::NothingToCancel(status)),
    }
}

/// What an administrator's reset comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// The running job is cancelled.
    Cancel,
    /// The status is set.
    To(BackupStatus),
}

/// How a reset is to be taken, by where the backup stands.
pub fn reset_of(status: BackupStatus, to: BackupStatus) -> Result<Reset, Refusal> {
    match status {
        BackupStatus::Creating | BackupStatus::Restoring => Ok(Reset::Cancel),
        BackupStatus::Deleting | BackupStatus::Deleted => Err(Refusal::ResetWhileDeleting),
        BackupStatus::Available | BackupStatus::Error | BackupStatus::ErrorDeleting => {
            Ok(Reset::To(to))
        }
    }
}

/// `available` needs whole data; `error` is always true enough.
pub fn may_reset(to: BackupStatus, committed: bool, delete_began: bool) -> Result<(), Refusal> {
    if to == BackupStatus::Available && (!committed || delete_began) {
        return Err(Refusal::NothingToReset);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn force_helps_an_in_use_volume_and_no_other() {
        assert_eq!(may_back_up(VolumeStatus::Available, false), Ok(()));
        assert_eq!(may_back_up(VolumeStatus::InUse, true), Ok(()));
        assert_eq!(
            may_back_up(VolumeStatus::InUse, false),
            Err(Refusal::InUseNeedsForce)
        );
        for status in VolumeStatus::ALL {
            if !matches!(status, VolumeStatus::Available | VolumeStatus::InUse) {
                assert_eq!(
                    may_back_up(*status, true),
                    Err(Refusal::VolumeNotBackupable(*status))
                );
            }
        }
    }

    #[test]
    fn the_parent_is_the_newest_available_backup() {
        let candidate = |status, seconds| ParentCandidate {
            id: BackupId::new(),
            status,
            data_timestamp: Timestamp::from_second(seconds).unwrap(),
        };
        let old = candidate(BackupStatus::Available, 1);
        let new = candidate(BackupStatus::Available, 2);
        let broken = candidate(BackupStatus::Error, 3);
        let all = [old.clone(), new.clone(), broken.clone()];
        assert_eq!(pick_parent(&all, None), Ok(new.id));
        assert_eq!(pick_parent(&[broken], None), Err(Refusal::NoParent));
        assert_eq!(pick_parent(&[], None), Err(Refusal::NoParent));
        let before =
            |candidate: &ParentCandidate| pick_parent(&all, Some(candidate.data_timestamp));
        assert_eq!(before(&new), Ok(old.id), "earlier than the snapshot");
        assert_eq!(before(&old), Err(Refusal::NoParent));
    }

    #[test]
    fn a_backup_with_dependents_is_not_even_deleted_by_force() {
        assert_eq!(
            may_delete(BackupStatus::Available, 1),
            Err(Refusal::HasDependents)
        );
        assert_eq!(may_force_delete(1), Err(Refusal::HasDependents));
        assert_eq!(may_delete(BackupStatus::Error, 0), Ok(()));
        assert_eq!(
            may_delete(BackupStatus::Creating, 0),
            Err(Refusal::BackupNotDeletable)
        );
    }

    #[test]
    fn a_committed_creation_cannot_be_cancelled() {
        assert_eq!(may_cancel(BackupStatus::Creating, false), Ok(()));
        assert_eq!(
            may_cancel(BackupStatus::Creating, true),
            Err(Refusal::TooLateToCancel)
        );
        assert_eq!(may_cancel(BackupStatus::Restoring, true), Ok(()));
        assert!(may_cancel(BackupStatus::Available, true).is_err());
    }

    #[test]
    fn a_reset_to_available_needs_whole_data() {
        assert_eq!(may_reset(BackupStatus::Available, true, false), Ok(()));
        assert!(may_reset(BackupStatus::Available, false, false).is_err());
        assert!(may_reset(BackupStatus::Available, true, true).is_err());
        assert_eq!(may_reset(BackupStatus::Error, false, true), Ok(()));
        assert_eq!(
            reset_of(BackupStatus::Deleting, BackupStatus::Error),
            Err(Refusal::ResetWhileDeleting)
        );
    }
}
