//! Rules about volumes.

use common::domain::VolumeStatus;

use super::Refusal;

/// A volume can be deleted when it is settled and nobody has it; with force whatever its status.
pub fn may_delete_volume(status: VolumeStatus, attached: bool, force: bool) -> Result<(), Refusal> {
    let settled = force
        || matches!(
            status,
            VolumeStatus::Available
                | VolumeStatus::Error
                | VolumeStatus::ErrorRestoring
                | VolumeStatus::ErrorDeleting
                | VolumeStatus::ErrorBackingUp
        );
    if settled && !attached {
        Ok(())
    } else {
        Err(Refusal::VolumeNotDeletable(status))
    }
}

/// A volume is attached to one place at a time.
pub fn may_attach(status: VolumeStatus) -> Result<(), Refusal> {
    if status == VolumeStatus::Available {
        Ok(())
    } else {
        Err(Refusal::VolumeNotAttachable(status))
    }
}

/// Only what is attached, and not being backed up, comes off.
pub fn may_detach(status: VolumeStatus) -> Result<(), Refusal> {
    if status == VolumeStatus::InUse {
        Ok(())
    } else {
        Err(Refusal::VolumeNotDetachable(status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_working_or_attached_volume_is_not_deleted() {
        assert_eq!(
            may_delete_volume(VolumeStatus::ErrorRestoring, false, false),
            Ok(())
        );
        assert!(may_delete_volume(VolumeStatus::BackingUp, false, false).is_err());
        assert!(may_delete_volume(VolumeStatus::InUse, true, false).is_err());
        assert!(may_delete_volume(VolumeStatus::Available, true, false).is_err());
        assert!(may_delete_volume(VolumeStatus::Available, true, true).is_err());
        assert_eq!(
            may_delete_volume(VolumeStatus::Maintenance, false, true),
            Ok(())
        );
    }
}
