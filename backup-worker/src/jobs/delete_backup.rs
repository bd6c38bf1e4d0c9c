//! A backup is removed from the target.
//!
//! The metadata goes first: a delete that is broken off leaves no backup, only names to remove, and
//! begins again from the start.

use common::messages::rpc::Outcome;
use common::messages::sheet::DeleteSheet;

use super::halt::Halt;
use super::{Done, Job, erase};

pub(super) fn run(job: &Job, sheet: &DeleteSheet) -> Result<Done, Halt> {
    job.lease.phase("cleaning");
    for attempt in &sheet.attempts {
        job.lease.keep_going()?;
        if sheet.objects_too {
            erase::objects(job, attempt)?;
        } else {
            // Another record lives from these objects; the scratch place is this backup's alone.
            erase::scratch(job, attempt)?;
        }
    }
    Ok(Done::new(Outcome::Deleted))
}
