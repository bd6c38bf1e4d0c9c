//! A job's own thread: started, watched, and its end written to the log.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use common::domain::TraceParent;
use common::messages::rpc::ReleaseReason;
use common::messages::sheet::Sheet;
use common::metrics::EXECUTIONS;
use common::step;
use common::telemetry::traces;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{Span, field};

use super::{Ending, Job, ending};
use crate::progress::ReportedJob;

/// Runs the job on a thread of its own, and returns when that has ended. `place` is its place in a trace.
pub(crate) async fn run_on_thread(
    job: Job,
    sheet: Sheet,
    reported: ReportedJob,
    place: Option<TraceParent>,
) {
    let began = Instant::now();
    let (tell, told) = oneshot::channel();
    let traced = traced(&reported, place);
    let place = traces::place_of(&traced).or(place);
    let trace_id = place.map(|place| place.trace());
    let span = tracing::info_span!(
        "job",
        job.id = %reported.job_id,
        job.kind = %reported.kind,
        generation = reported.generation,
        trace.id = trace_id.as_deref(),
    );
    let thread = std::thread::Builder::new()
        .name(format!("{}-job", reported.kind))
        .spawn(move || {
            let _in_span = span.entered();
            let traced = traced.entered();
            let end = run_caught(&job, sheet);
            traced.record("outcome", end.outcome);
            if end.trouble.is_some() {
                traced.record("otel.status_code", "error");
            }
            drop(traced);
            drop(job); // its lease is not renewed any more when the slot is free
            let _ = tell.send(end);
        });
    let end = match thread {
        Ok(_detached) => told.await.unwrap_or_else(|_| ending("crashed", None)),
        // The lease was dropped with the job: it ends by itself, and another worker comes in.
        Err(error) => ending("not_started", Some(error.to_string())),
    };
    log_end(&reported, &end, began, trace_id.as_deref());
}

/// The execution as a span: a child of its message, or the root of a trace where nobody began one.
fn traced(job: &ReportedJob, place: Option<TraceParent>) -> Span {
    let text = |id: Option<String>| id.unwrap_or_default();
    let span = step!(
        "job",
        otel.name = %format_args!("{} job", job.kind),
        otel.kind = "consumer",
        otel.status_code = field::Empty,
        job.id = %job.job_id,
        backup.id = text(job.backup_id.map(|id| id.to_string())),
        volume.id = text(job.volume_id.map(|id| id.to_string())),
        generation = job.generation,
        outcome = field::Empty,
    );
    traces::follow(&span, place);
    span
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
fn log_end(job: &ReportedJob, end: &Ending, began: Instant, trace_id: Option<&str>) {
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
        trace.id = trace_id,
        "job ended here"
    );
    let labels = [("kind", job.kind.as_str()), ("outcome", end.outcome)];
    metrics::counter!(EXECUTIONS, &labels).increment(1);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use common::domain::{ClaimId, JobId, JobKind, VolumeId, VolumeSource};
    use common::messages::rpc::Fence;
    use common::messages::sheet::{SnapshotRef, VolumeAction, VolumeRef, VolumeSheet};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::jobs::tests::{backend, environment};
    use crate::lease::{Hold, Lease, LeaseParts, StateOwner};
    use crate::progress;
    use crate::store::posix::PosixStore;
    use crate::volume::{BackedUp, FrozenVolume, TargetVolume, VolumeDriver, VolumeError};

    /// A driver with a bug.
    #[derive(Debug)]
    struct Panics;

    impl VolumeDriver for Panics {
        fn create(&self, _: &VolumeRef) -> Result<(), VolumeError> {
            panic!("a bug")
        }
        fn create_from(&self, _: &VolumeRef, _: &SnapshotRef, _: u64) -> Result<(), VolumeError> {
            panic!("a bug")
        }
        fn inspect(&self, _: &VolumeRef) -> Result<u64, VolumeError> {
            panic!("a bug")
        }
        fn delete(&self, _: &VolumeRef) -> Result<(), VolumeError> {
            panic!("a bug")
        }
        fn freeze(
            &self,
            _: &VolumeRef,
            _: &str,
            _: u64,
            _: bool,
        ) -> Result<Box<dyn FrozenVolume>, VolumeError> {
            panic!("a bug")
        }
        fn reopen(
            &self,
            _: &VolumeRef,
            _: &str,
            _: &str,
        ) -> Result<Option<Box<dyn FrozenVolume>>, VolumeError> {
            panic!("a bug")
        }
        fn retire_snapshot(
            &self,
            _: &VolumeRef,
            _: &str,
            _: &BackedUp<'_>,
        ) -> Result<(), VolumeError> {
            panic!("a bug")
        }
        fn remove_snapshot(&self, _: &VolumeRef, _: &str) -> Result<(), VolumeError> {
            panic!("a bug")
        }
        fn create_snapshot(&self, _: &SnapshotRef, _: u64) -> Result<(), VolumeError> {
            panic!("a bug")
        }
        fn open_snapshot(&self, _: &SnapshotRef) -> Result<Box<dyn FrozenVolume>, VolumeError> {
            panic!("a bug")
        }
        fn delete_snapshot(&self, _: &SnapshotRef) -> Result<(), VolumeError> {
            panic!("a bug")
        }
        fn restores_differing(&self) -> bool {
            panic!("a bug")
        }
        fn open_target(&self, _: &VolumeRef) -> Result<Box<dyn TargetVolume>, VolumeError> {
            panic!("a bug")
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_job_that_panics_costs_its_lease_and_not_the_worker() {
        let env = Arc::new(environment(
            Arc::new(Panics),
            Arc::new(PosixStore::new("/nowhere", None)),
            1,
        ));
        env.stopping.abandon.cancel(); // nobody waits for a broker that is not there
        let fence = Fence {
            job_id: JobId::new(),
            generation: 1,
            claim_id: ClaimId::new(),
        };
        let minute = Duration::from_secs(60);
        let hold = Hold::new(
            env.boot_clock.clone(),
            env.boot_clock.now(),
            minute,
            Duration::ZERO,
            env.stopping.halt.clone(),
        );
        let renewing = CancellationToken::new();
        let job = Job {
            env: Arc::clone(&env),
            lease: Lease::new(LeaseParts {
                fence,
                owner: StateOwner::Broker(env.rpc.clone()),
                hold: Arc::new(hold),
                wire: Arc::default(),
                renew_soon: Arc::default(),
                abandon: env.stopping.abandon.clone(),
                reporter: progress::channel(JobKind::Volume, 0).0,
                renewing: renewing.clone().drop_guard(),
            }),
            generation: 1,
            give_up: None,
            lease_time: minute,
        };
        let volume = VolumeRef {
            volume_id: VolumeId::new(),
            backend: backend(),
            source: VolumeSource::new("v").unwrap(),
            size_gib: 1,
        };
        let sheet = Sheet::Volume(VolumeSheet {
            volume,
            action: VolumeAction::Create,
            snapshots: vec![],
        });
        let thread = std::thread::spawn(move || run_caught(&job, sheet));
        let end = thread.join().expect("the panic is caught");
        assert_eq!(end, ending("crashed", Some("a bug".to_owned())));
        assert!(renewing.is_cancelled(), "nobody renews the lease any more");
        env.stopping.end.cancel();
    }
}
