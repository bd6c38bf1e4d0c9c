//! Jobs: one file, one story each. The numbers in the stories are the steps of the protocol in
//! `ARCHITECTURE.md`.
//!
//! ```text
//! granted ──► run ──► create_backup │ restore_backup │ delete_backup │ volume │ clean
//!                          │ Ok(Done)                         │ Err(Suspended)
//!                          ▼                                  ▼
//!                     finish ● settled              release ● queued again, or nothing: fenced
//! ```
//!
//! A job's thread ends in one of these two ways and in no other. What a job may delete is decided by
//! the state owner before it deletes: by `fail`, or by the sheet of a `delete` or `clean` job. Who is
//! fenced deletes nothing.

mod clean;
mod create_backup;
mod delete_backup;
pub(crate) mod erase;
mod halt;
mod restore_backup;
#[cfg(test)]
mod tests;
mod thread;
mod volume;

use std::sync::Arc;
use std::time::Duration;

use common::domain::Token;
use common::messages::rpc::{Outcome, ReleaseReason};
use common::messages::sheet::{Sheet, WorkTotals};

use crate::environment::Environment;
use crate::lease::{Lease, LeaseError};
use crate::volume::VolumeDriver;
use halt::{Halt, Suspended, Trouble};

pub(crate) use thread::run_on_thread;

/// Longest pause after errors that may pass.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// The pause after the first.
const PAUSE_FIRST: Duration = Duration::from_secs(2);

/// A granted job.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) env: Arc<Environment>,
    pub(crate) lease: Lease,
    pub(crate) generation: u64,
    /// The job is to be given up: why.
    pub(crate) give_up: Option<String>,
    /// How long its lease lives without a renewal.
    pub(crate) lease_time: Duration,
}

/// The end of a job that is over.
#[derive(Debug)]
struct Done {
    outcome: Outcome,
    totals: WorkTotals,
}

impl Done {
    fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            totals: WorkTotals::default(),
        }
    }

    fn failed(reason: String) -> Self {
        Self::new(Outcome::Failed { reason })
    }
}

/// How a job's thread ended, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ending {
    /// One word.
    outcome: &'static str,
    /// What went wrong, in full.
    trouble: Option<String>,
}

impl Job {
    fn driver(&self, backend: &Token) -> Result<&dyn VolumeDriver, Halt> {
        match self.env.volumes.get(backend) {
            Some(driver) => Ok(&**driver),
            None => Err(Halt::Lasting(Trouble::new(
                "The volume's backend is not known to the backup service.",
                format!("no volume backend `{backend}` is configured"),
            ))),
        }
    }
}

/// Does the job and tells the state owner how it ended. The calling thread is the job's own: it takes the jobs' place on the host.
fn run(job: &Job, sheet: Sheet) -> Ending {
    job.env.priority.take_place();
    let end = follow(job, sheet).and_then(|done| {
        let outcome = word_of(&done.outcome);
        let trouble = match &done.outcome {
            Outcome::Failed { reason } => Some(reason.clone()),
            _ => None,
        };
        job.lease.finish(done.outcome, done.totals)?;
        Ok(Ending { outcome, trouble })
    });
    end.unwrap_or_else(|suspended| give_back(job, suspended))
}

/// Follows the sheet to the end of the job, or to where it has to be left for a later execution.
fn follow(job: &Job, sheet: Sheet) -> Result<Done, Suspended> {
    if !matches!(sheet, Sheet::Volume(_))
        && let Some(why) = job.env.target_state.hangs()
    {
        // Nobody could stop it once it waits in the kernel; and another worker's target may answer.
        let sentence = "The backup target does not answer.";
        let detail = format!("the backup target: {why}");
        return Err(Suspended::Passing(Trouble::new(sentence, detail)));
    }
    if let Sheet::Backup(sheet) = sheet {
        // A backup has things to remove before it may end.
        return create_backup::run(job, *sheet);
    }
    if let Some(reason) = &job.give_up {
        if let Sheet::Volume(sheet) = &sheet {
            volume::undo(job, sheet);
        }
        return Ok(Done::failed(reason.clone()));
    }
    let end = match sheet {
        Sheet::Restore(sheet) => restore_backup::run(job, &sheet),
        Sheet::Delete(sheet) => delete_backup::run(job, &sheet),
        Sheet::Volume(sheet) => volume::run(job, &sheet),
        Sheet::Clean(sheet) => clean::run(job, &sheet),
        Sheet::Backup(_) => unreachable!("handled above"),
    };
    match end {
        Ok(done) => Ok(done),
        Err(Halt::Cancelled) => Ok(Done::new(Outcome::Cancelled)),
        Err(Halt::Lasting(trouble)) => {
            trouble.log("the job fails");
            Ok(Done::failed(trouble.sentence))
        }
        Err(Halt::Suspended(suspended)) => Err(suspended),
    }
}

/// Gives the lease back, unless it is another's.
fn give_back(job: &Job, suspended: Suspended) -> Ending {
    let (outcome, why, message, pause) = match suspended {
        Suspended::Fenced => return ending("fenced", None),
        Suspended::Unanswered => return ending("unanswered", None),
        Suspended::Draining => (
            "drained",
            ReleaseReason::Drain,
            Trouble::plain("The backup service was stopped."),
            Duration::ZERO,
        ),
        Suspended::TargetHeld => (
            "target_held",
            ReleaseReason::TargetHeld,
            Trouble::plain("The volume is locked by another writer."),
            job.lease_time,
        ),
        Suspended::Passing(trouble) => (
            "released",
            ReleaseReason::Passing,
            trouble,
            pause_after(job.generation),
        ),
    };
    match job.lease.release(why, message.sentence, pause) {
        Ok(()) => ending(outcome, Some(message.detail)),
        Err(LeaseError::Fenced) => ending("fenced", Some(message.detail)),
        Err(LeaseError::Unanswered(_)) => ending("unanswered", Some(message.detail)),
    }
}

fn ending(outcome: &'static str, trouble: Option<String>) -> Ending {
    Ending { outcome, trouble }
}

/// Longer after each execution, with jitter, so that jobs that met the same full disk do not come back together.
fn pause_after(generation: u64) -> Duration {
    let doublings = u32::try_from(generation.saturating_sub(1))
        .unwrap_or(u32::MAX)
        .min(16);
    let pause = PAUSE_FIRST.saturating_mul(1 << doublings).min(PAUSE_MAX);
    pause.mul_f64(rand::random_range(0.5..1.0))
}

fn word_of(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::BackedUp { .. } => "backed_up",
        Outcome::Restored { .. } => "restored",
        Outcome::Deleted => "deleted",
        Outcome::VolumeDone { .. } => "volume_done",
        Outcome::Cleaned => "cleaned",
        Outcome::Cancelled => "cancelled",
        Outcome::Failed { .. } => "failed",
    }
}
