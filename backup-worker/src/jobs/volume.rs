//! A volume or a snapshot is made, taken over or removed. Short, and harmless to repeat.
//!
//! What is copied from a snapshot, or into one, is staged under a name of the generation; when the
//! job ends badly all of it goes, so that a record in `error` has nothing behind it.

use common::domain::ByteCount;
use common::messages::rpc::Outcome;
use common::messages::sheet::{VolumeAction, VolumeSheet};

use super::halt::Halt;
use super::{Done, Job};
use crate::engine::Monitor;

pub(super) fn run(job: &Job, sheet: &VolumeSheet) -> Result<Done, Halt> {
    job.lease.may_write()?;
    let size_gib = follow(job, sheet).inspect_err(|halt| {
        if matches!(halt, Halt::Lasting(_)) {
            undo(job, sheet);
        }
    })?;
    Ok(Done::new(Outcome::VolumeDone {
        source: sheet.volume.source.clone(),
        size_gib,
    }))
}

/// The deed; tells the volume's size in GiB.
fn follow(job: &Job, sheet: &VolumeSheet) -> Result<u32, Halt> {
    let VolumeSheet {
        volume,
        action,
        snapshots,
    } = sheet;
    let driver = job.driver(&volume.backend)?;
    match action {
        VolumeAction::Create => match snapshots.first() {
            Some(snapshot) => driver.create_from(volume, snapshot, job.generation)?,
            None => driver.create(volume)?,
        },
        VolumeAction::Manage => return Ok(ByteCount(driver.inspect(volume)?).gib_rounded_up()),
        VolumeAction::CreateSnapshot => {
            for snapshot in snapshots {
                driver.create_snapshot(snapshot, job.generation)?;
            }
        }
        VolumeAction::Delete | VolumeAction::DeleteSnapshot => {
            for snapshot in snapshots {
                driver.delete_snapshot(snapshot)?;
            }
            if *action == VolumeAction::Delete {
                driver.delete(volume)?;
            }
        }
    }
    Ok(volume.size_gib)
}

/// Removes what was to be made from a snapshot or into one; the job ends without it. What cannot be
/// removed now goes with the record, when its owner deletes that.
pub(super) fn undo(job: &Job, sheet: &VolumeSheet) {
    let removed = job.driver(&sheet.volume.backend).and_then(|driver| {
        job.lease.still_ours()?;
        match sheet.action {
            VolumeAction::Create if !sheet.snapshots.is_empty() => driver.delete(&sheet.volume)?,
            VolumeAction::CreateSnapshot => {
                for snapshot in &sheet.snapshots {
                    driver.delete_snapshot(snapshot)?;
                }
            }
            VolumeAction::Create
            | VolumeAction::Manage
            | VolumeAction::Delete
            | VolumeAction::DeleteSnapshot => {}
        }
        Ok(())
    });
    if let Err(Halt::Lasting(trouble)) = removed {
        trouble.log("what is left of a volume or snapshot was not removed");
    }
}
