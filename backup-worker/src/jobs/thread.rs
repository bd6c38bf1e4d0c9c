//! A job's own thread: started, watched, and its end written to the log.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use common::messages::rpc::ReleaseReason;
use common::messages::sheet::Sheet;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Ending, Job, ending};
use crate::progress::ReportedJob;

/// Runs the job on a thread of its own, and returns when that has ended.
pub(crate) async fn run_on_thread(job: Job, sheet: Sheet, reported: ReportedJob) {
    let began = Instant::now();
    let (tell, told) = oneshot::channel();
    let span = tracing::info_span!(
        "job",
        job.id = %reported.job_id,
        job.kind = %reported.kind,
        generation = reported.generation,
    );
    let thread = std::thread::Builder::new()
        .name(format!("{}-job", reported.kind))
        .spawn(move || {
            let _in_span = span.entered();
            let _ = tell.send(run_caught(&job, sheet));
        });
    let end = match thread {
        Ok(_detached) => told.await.unwrap_or_else(|_| ending("crashed", None)),
        // The lease was dropped with the job: it ends by itself, and another worker comes in.
        Err(error) => ending("not_started", Some(error.to_string())),
    };
    log_end(&reported, &end, began);
}

/// Code that panics loses its job, not the worker: the lease goes back at once, and counts as a failure.
fn run_caught(job: &Job, sheet: Sheet) -> Ending {
    catch_unwind(AssertUnwindSafe(|| super::run(job, sheet))).unwrap_or_else(|panic| {
        let message = message_of(&*panic);
        tracing::error!(error = message, "the job's thread panicked");
        let sentence = "The backup service met an error of its own.".to_owned();
        let pause = super::pause_after(job.generation);
        let released = catch_unwind(AssertUnwindSafe(|| {
            job.lease.release(ReleaseReason::Crashed, sentence, pause)
        }));
        if !matches!(released, Ok(Ok(()))) {
            tracing::warn!("the lease was not given back; it will end by itself");
        }
        ending("crashed", Some(message))
    })
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without words".to_owned()
    }
}

/// The one line about this execution, with the same ids as the api-service's.
fn log_end(job: &ReportedJob, end: &Ending, began: Instant) {
    let text = |id: Option<String>| id.unwrap_or_default();
    tracing::info!(
        job.id = %job.job_id,
        job.kind = %job.kind,
        backup.id = text(job.backup_id.map(|id| id.to_string())),
        volume.id = text(job.volume_id.map(|id| id.to_string())),
        generation = job.generation,
        outcome = end.outcome,
        reason = end.trouble.as_deref().unwrap_or_default(),
        seconds = began.elapsed().as_secs_f64(),
        "job ended here"
    );
}
