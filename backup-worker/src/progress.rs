//! How far a job is: told by its threads at any rate, published at most once a second.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::broker::{Outgoing, Publisher, topology};
use common::domain::{BackupId, Clock, JobId, JobKind, Token, VolumeId, WorkerName};
use common::messages::events::{CloudEvent, JOB_PROGRESS, ProgressData};
use common::messages::sheet::WorkTotals;
use common::metrics::{PHASE_DURATION, VOLUME_BYTES};
use metrics::{counter, histogram};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::engine::Progress;

/// Shortest time between two events of a job.
const INTERVAL: Duration = Duration::from_secs(1);
/// An event nobody has read by then is of no use.
const LIVES: Duration = Duration::from_secs(60);
/// The rate is that of this much time.
const RATE_OVER: Duration = Duration::from_secs(10);

/// The phase every job begins in.
const FIRST_PHASE: &str = "starting";

/// The threads' end: remembers the newest state, never waits.
#[derive(Debug, Clone)]
pub(crate) struct Reporter(Arc<Told>);

#[derive(Debug)]
struct Told {
    state: watch::Sender<State>,
    measure: Mutex<Measure>,
}

/// What of a job has not been counted yet.
#[derive(Debug)]
struct Measure {
    kind: JobKind,
    phase: &'static str,
    since: Instant,
    counted: WorkTotals,
}

impl Measure {
    fn end_phase(&mut self, next: &'static str) {
        let labels = [("kind", self.kind.as_str()), ("phase", self.phase)];
        histogram!(PHASE_DURATION, &labels).record(self.since.elapsed());
        self.phase = next;
        self.since = Instant::now();
    }

    /// Counts what came since the last time; a new attempt begins at zero again.
    fn count(&mut self, totals: WorkTotals) {
        let before = std::mem::replace(&mut self.counted, totals);
        for (what, now, then) in [
            ("read", totals.read, before.read),
            ("written", totals.written, before.written),
            ("skipped", totals.skipped, before.skipped),
        ] {
            let labels = [("kind", self.kind.as_str()), ("what", what)];
            counter!(VOLUME_BYTES, &labels).increment(now.0.saturating_sub(then.0));
        }
    }
}

impl Drop for Measure {
    fn drop(&mut self) {
        self.end_phase("");
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    phase: &'static str,
    progress: Progress,
}

/// The publishing end.
#[derive(Debug)]
pub(crate) struct Reports(watch::Receiver<State>);

/// Whose progress it is.
#[derive(Debug, Clone)]
pub(crate) struct ReportedJob {
    pub(crate) job_id: JobId,
    pub(crate) kind: JobKind,
    pub(crate) backup_id: Option<BackupId>,
    pub(crate) volume_id: Option<VolumeId>,
    pub(crate) generation: u64,
    pub(crate) zone: Token,
    pub(crate) worker: WorkerName,
}

/// The two ends for one job, of which `done_bytes` of the volume were done by earlier executions.
pub(crate) fn channel(kind: JobKind, done_bytes: u64) -> (Reporter, Reports) {
    let state = State {
        phase: FIRST_PHASE,
        progress: Progress {
            done_bytes,
            ..Progress::default()
        },
    };
    let (sender, receiver) = watch::channel(state);
    let measure = Mutex::new(Measure {
        kind,
        phase: FIRST_PHASE,
        since: Instant::now(),
        counted: WorkTotals::default(),
    });
    let told = Told {
        state: sender,
        measure,
    };
    (Reporter(Arc::new(told)), Reports(receiver))
}

impl Reporter {
    /// The job does something else now.
    pub(crate) fn phase(&self, phase: &'static str) {
        self.measure().end_phase(phase);
        self.0.state.send_modify(|state| state.phase = phase);
    }

    /// The job is further.
    pub(crate) fn advanced(&self, progress: Progress) {
        self.measure().count(progress.totals);
        self.0.state.send_modify(|state| state.progress = progress);
    }

    fn measure(&self) -> MutexGuard<'_, Measure> {
        let measure = &self.0.measure;
        measure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Publishes until the last [`Reporter`] is gone. An event that cannot be published is skipped: the
/// next one says more.
pub(crate) async fn publish(
    mut reports: Reports,
    job: ReportedJob,
    publisher: Arc<Publisher>,
    clock: Arc<dyn Clock>,
) {
    let mut speed = Speedometer::default();
    let mut sequence = 0;
    while reports.0.changed().await.is_ok() {
        let state = *reports.0.borrow_and_update();
        let Progress { done_bytes, totals } = state.progress;
        let rate = speed.rate_at(Instant::now(), done_bytes);
        sequence += 1;
        let data = ProgressData {
            job_id: job.job_id,
            kind: job.kind,
            backup_id: job.backup_id,
            volume_id: job.volume_id,
            generation: job.generation,
            sequence,
            phase: state.phase.to_owned(),
            done_bytes,
            totals,
            rate_bytes_per_second: rate,
            remaining_seconds: remaining(totals.volume.0, done_bytes, rate),
        };
        let source = format!("/backup-worker/{}", job.worker);
        let subject = job.job_id.to_string();
        let event = CloudEvent::new(source, JOB_PROGRESS, subject, clock.now(), data);
        let key = topology::progress_key(job.kind, &job.zone);
        if let Ok(event) = Outgoing::event(&event, key, Some(LIVES)) {
            publisher.publish(event).await;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Seconds to the end at this rate.
fn remaining(total: u64, done: u64, rate: u64) -> Option<u64> {
    (rate > 0 && total > 0).then(|| total.saturating_sub(done).div_ceil(rate))
}

/// Bytes per second over the last while.
#[derive(Debug, Default)]
struct Speedometer {
    seen: VecDeque<(Instant, u64)>,
}

impl Speedometer {
    fn rate_at(&mut self, now: Instant, done: u64) -> u64 {
        // A new attempt begins at zero again.
        if self.seen.back().is_some_and(|(_, before)| *before > done) {
            self.seen.clear();
        }
        self.seen.push_back((now, done));
        while self.seen.len() > 2 && now - self.seen[1].0 >= RATE_OVER {
            self.seen.pop_front();
        }
        let (since, from) = self.seen[0];
        let elapsed_ms = u64::try_from((now - since).as_millis()).unwrap_or(u64::MAX);
        (done - from)
            .saturating_mul(1000)
            .checked_div(elapsed_ms)
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_ten_seconds() {
        let start = Instant::now();
        let mut speed = Speedometer::default();
        assert_eq!(speed.rate_at(start, 0), 0);
        for second in 1..=20 {
            // Slow for ten seconds, then ten times as fast.
            let done = if second <= 10 {
                second * 100
            } else {
                1000 + (second - 10) * 1000
            };
            let rate = speed.rate_at(start + Duration::from_secs(second), done);
            assert!((100..=1000).contains(&rate), "{rate} after {second} s");
        }
        assert_eq!(speed.rate_at(start + Duration::from_secs(21), 12_000), 1000);
    }

    #[test]
    fn a_job_that_goes_on_has_not_done_at_once_what_others_did() {
        let (reporter, reports) = channel(JobKind::Backup, 5 << 30);
        let done = || reports.0.borrow().progress.done_bytes;
        let start = Instant::now();
        let mut speed = Speedometer::default();
        speed.rate_at(start, done());
        reporter.advanced(Progress {
            done_bytes: (5 << 30) + 4096,
            ..Progress::default()
        });
        let rate = speed.rate_at(start + Duration::from_secs(1), done());
        assert_eq!(rate, 4096);
    }

    #[test]
    fn a_new_attempt_begins_to_count_anew() {
        let start = Instant::now();
        let mut speed = Speedometer::default();
        speed.rate_at(start, 5000);
        assert_eq!(speed.rate_at(start + Duration::from_secs(1), 0), 0);
        assert_eq!(speed.rate_at(start + Duration::from_secs(2), 10), 10);
    }

    #[test]
    fn the_rest_is_estimated_only_when_there_is_a_rate() {
        assert_eq!(remaining(1000, 400, 100), Some(6));
        assert_eq!(remaining(1000, 400, 0), None);
        assert_eq!(remaining(1000, 1200, 100), Some(0));
    }
}
