//! A volume is made, taken over or removed. Short, and harmless to repeat.

use common::domain::ByteCount;
use common::messages::rpc::Outcome;
use common::messages::sheet::{VolumeAction, VolumeSheet};

use super::halt::Halt;
use super::{Done, Job};
use crate::engine::Monitor;

pub(super) fn run(job: &Job, sheet: VolumeSheet) -> Result<Done, Halt> {
    let VolumeSheet { volume, action } = sheet;
    let driver = job.driver(&volume.backend)?;
    job.lease.may_write()?;
    let size_gib = match action {
        VolumeAction::Create => {
            driver.create(&volume)?;
            volume.size_gib
        }
        VolumeAction::Manage => ByteCount(driver.inspect(&volume)?).gib_rounded_up(),
        VolumeAction::Delete => {
            driver.delete(&volume)?;
            volume.size_gib
        }
    };
    Ok(Done::new(Outcome::VolumeDone {
        source: volume.source,
        size_gib,
    }))
}
