//! What an attempt left behind is removed: as much as the sheet allows, and by its names alone.

use common::messages::rpc::Outcome;
use common::messages::sheet::{CleanScope, CleanSheet};

use super::halt::Halt;
use super::{Done, Job, erase};

pub(super) fn run(job: &Job, sheet: &CleanSheet) -> Result<Done, Halt> {
    job.lease.phase("cleaning");
    common::failpoint!("clean.begin");
    job.lease.keep_going()?;
    let names = &sheet.names;
    match sheet.scope {
        CleanScope::Everything => erase::objects(job, names)?,
        CleanScope::Strays => {
            erase::strays(job, names)?;
            erase::scratch(job, names)?;
        }
        CleanScope::ScratchOnly => erase::scratch(job, names)?,
    }
    erase::snapshot(job, sheet.volume.as_ref(), names)?;
    Ok(Done::new(Outcome::Cleaned))
}
