//! Limits of bytes a second: how fast jobs read, and how fast they store.
//!
//! ```text
//! a thread with n bytes to move ──► its job's limit ──► its worker's limit ──► it moves them
//!                                    waits               waits last: that one is the host's
//! ```
//!
//! A limit hands out moments. Each thread that comes is told the one from which it may go on, in the order of coming, and
//! waits for it here. Bytes count before they are moved; stored bytes that come out of a reader count as they come.
//!
//! **Invariants.** In any time t no more than rate × t bytes pass a limit, and beside them what it lets pass at once: one
//! second's worth, or what a single thread moves in one go if that is more. A wait ends when the job has to stop: what the
//! thread has in hand passes then, and the engine stops where it asks next. Nobody waits here between the leave to write to
//! a restore's target and the write.

use std::fmt::Debug;
use std::io::{self, Read};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use common::metrics::LIMIT_WAIT;

use super::Monitor;

/// A limit that was not used lets so much time's worth pass at once.
const BURST: Duration = Duration::from_secs(1);
/// How often who waits looks whether the job has to stop.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The limits of a worker, and of each of its jobs.
#[derive(Debug, Clone, Default)]
pub struct Throttles {
    worker: Throttle,
    job_read: ByteSize,
    job_store: ByteSize,
}

impl Throttles {
    /// What a worker's configuration allows.
    #[must_use]
    pub fn new(worker: &common::config::Worker) -> Self {
        Self {
            worker: Throttle {
                read: limit("read_rate", worker.read_rate),
                store: limit("store_rate", worker.store_rate),
            },
            job_read: worker.job_read_rate,
            job_store: worker.job_store_rate,
        }
    }

    /// The limits of one more job.
    #[must_use]
    pub fn for_job(&self) -> Throttle {
        let with = |mut job: Vec<_>, worker: &[Arc<Limit>]| {
            job.extend_from_slice(worker);
            job
        };
        Throttle {
            read: with(limit("job_read_rate", self.job_read), &self.worker.read),
            store: with(limit("job_store_rate", self.job_store), &self.worker.store),
        }
    }
}

/// The limit of this key, if there is one.
fn limit(key: &'static str, rate: ByteSize) -> Vec<Arc<Limit>> {
    let rate = NonZeroU64::new(rate.as_u64());
    let limit = rate.map(|rate| Arc::new(Limit::new(key, rate, Arc::new(OfMachine::default()))));
    limit.into_iter().collect()
}

/// The limits of one job, in the order in which they are asked. By default there are none.
#[derive(Debug, Clone, Default)]
pub struct Throttle {
    read: Vec<Arc<Limit>>,
    store: Vec<Arc<Limit>>,
}

impl Throttle {
    /// What the engine's threads ask.
    pub(super) fn pace<'a>(&'a self, monitor: &'a dyn Monitor) -> Pace<'a> {
        Pace {
            throttle: self,
            monitor,
        }
    }
}

/// A job's limits, and the job, which may have to stop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace<'a> {
    throttle: &'a Throttle,
    monitor: &'a dyn Monitor,
}

impl<'a> Pace<'a> {
    /// Returns when so many bytes may be read, or the job has to stop.
    pub(super) fn read(self, bytes: u64) {
        for limit in &self.throttle.read {
            limit.pass(bytes, self.monitor);
        }
    }

    /// Returns when so many bytes may be stored, or the job has to stop.
    pub(super) fn store(self, bytes: u64) {
        for limit in &self.throttle.store {
            limit.pass(bytes, self.monitor);
        }
    }

    /// A reader whose bytes count as read.
    pub(super) fn reader<R: Read>(self, inner: R) -> PacedReader<'a, R> {
        PacedReader { pace: self, inner }
    }
}

/// See [`Pace::reader`].
#[derive(Debug)]
pub(super) struct PacedReader<'a, R> {
    pace: Pace<'a>,
    inner: R,
}

impl<R: Read> Read for PacedReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.pace.read(got as u64);
        Ok(got)
    }
}

/// The time that a limit is about.
trait Time: Debug + Send + Sync {
    /// Since some moment.
    fn now(&self) -> Duration;
    /// Lets some of it pass.
    fn pause(&self, at_most: Duration);
}

#[derive(Debug)]
struct OfMachine(Instant);

impl Default for OfMachine {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Time for OfMachine {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn pause(&self, at_most: Duration) {
        std::thread::sleep(at_most);
    }
}

/// One rate, shared by all who are to keep it together.
#[derive(Debug)]
struct Limit {
    /// Its name in the configuration.
    key: &'static str,
    bytes_per_second: NonZeroU64,
    time: Arc<dyn Time>,
    /// Everything that came so far is worth the time until then.
    taken_until: Mutex<Duration>,
}

impl Limit {
    fn new(key: &'static str, bytes_per_second: NonZeroU64, time: Arc<dyn Time>) -> Self {
        Self {
            key,
            bytes_per_second,
            time,
            taken_until: Mutex::new(Duration::ZERO),
        }
    }

    /// Returns when so many bytes may pass, or the job has to stop.
    fn pass(&self, bytes: u64, monitor: &dyn Monitor) {
        let came_at = self.time.now();
        let passes_at = self.take(bytes, came_at);
        if passes_at <= came_at {
            return;
        }
        let mut now = came_at;
        while now < passes_at && monitor.keep_going().is_ok() {
            self.time.pause((passes_at - now).min(LOOK_AGAIN));
            now = self.time.now();
        }
        let waited = now.saturating_sub(came_at);
        metrics::histogram!(LIMIT_WAIT, "limit" => self.key).record(waited);
    }

    /// The moment from which so many bytes may pass that came now.
    fn take(&self, bytes: u64, now: Duration) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000;
        let nanos = nanos.div_ceil(self.bytes_per_second.get().into());
        let worth = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut taken_until = self
            .taken_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *taken_until = (*taken_until).max(now).saturating_add(worth);
        taken_until.saturating_sub(BURST)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use proptest::prelude::*;

    use super::*;
    use crate::engine::Stop;
    use crate::engine::testing::TestMonitor;

    /// Time that moves only when somebody pauses, or not even then.
    #[derive(Debug, Default)]
    struct FakeTime {
        nanos: AtomicU64,
        stands_still: bool,
    }

    impl FakeTime {
        fn standing_still() -> Arc<Self> {
            Arc::new(Self {
                stands_still: true,
                ..Self::default()
            })
        }
    }

    impl Time for FakeTime {
        fn now(&self) -> Duration {
            Duration::from_nanos(self.nanos.load(Ordering::SeqCst))
        }

        fn pause(&self, at_most: Duration) {
            if !self.stands_still {
                let nanos = u64::try_from(at_most.as_nanos()).unwrap();
                self.nanos.fetch_add(nanos, Ordering::SeqCst);
            }
        }
    }

    fn a_limit(rate: u64, time: &Arc<FakeTime>) -> Arc<Limit> {
        let rate = NonZeroU64::new(rate).unwrap();
        Arc::new(Limit::new(
            "a_rate",
            rate,
            Arc::clone(time) as Arc<dyn Time>,
        ))
    }

    impl Throttle {
        /// One that lets all pass at once, up to a gigabyte, and counts it.
        pub(in crate::engine) fn counting() -> Self {
            let limit = || vec![a_limit(1_000_000_000, &FakeTime::standing_still())];
            Self {
                read: limit(),
                store: limit(),
            }
        }

        /// Bytes that passed one that counts: read, and stored.
        pub(in crate::engine) fn counted(&self) -> (u64, u64) {
            let bytes = |limits: &[Arc<Limit>]| {
                let until = *limits[0].taken_until.lock().unwrap();
                u64::try_from(until.as_nanos()).unwrap()
            };
            (bytes(&self.read), bytes(&self.store))
        }

        /// One that lets nothing pass but a stop.
        pub(in crate::engine) fn closed() -> Self {
            let limit = || vec![a_limit(1, &FakeTime::standing_still())];
            Self {
                read: limit(),
                store: limit(),
            }
        }

        /// One that takes its time, and what tells how much that was.
        pub(in crate::engine) fn slow() -> (Self, impl Fn() -> Duration + Clone + use<>) {
            let time = Arc::new(FakeTime::default());
            let throttle = Self {
                read: vec![a_limit(100, &time)],
                store: vec![a_limit(100, &time)],
            };
            (throttle, move || time.now())
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_seconds_worth_passes_at_once_and_the_rest_takes_its_time() {
        let time = Arc::new(FakeTime::default());
        let limit = a_limit(1000, &time);
        let monitor = TestMonitor::new();
        let passes = |bytes, at| {
            limit.pass(bytes, &*monitor);
            assert_eq!(time.now(), at);
        };
        passes(600, Duration::ZERO);
        passes(400, Duration::ZERO);
        passes(500, SECOND / 2);
        passes(3000, SECOND * 7 / 2);
        time.pause(SECOND * 20);
        passes(1000, SECOND * 47 / 2);
        passes(1, SECOND * 47 / 2 + SECOND / 1000);
    }

    #[test]
    fn a_stop_ends_a_wait_and_its_bytes_count_all_the_same() {
        for stop in [Stop::Cancelled, Stop::Fenced, Stop::Draining] {
            let time = FakeTime::standing_still();
            let limit = a_limit(1, &time);
            limit.pass(1000, &*TestMonitor::stopping_at(3, stop));
            assert_eq!(limit.take(0, Duration::ZERO), Duration::from_secs(999));
        }
    }

    #[test]
    fn jobs_share_their_workers_limit_and_each_has_one_of_its_own() {
        let worker = common::config::Worker {
            read_rate: ByteSize::mib(7),
            job_read_rate: ByteSize::mib(3),
            store_rate: ByteSize::mib(5),
            ..common::config::Worker::default()
        };
        let throttles = Throttles::new(&worker);
        let (one, other) = (throttles.for_job(), throttles.for_job());
        let rates = |limits: &[Arc<Limit>]| -> Vec<(&str, u64)> {
            let rate = |limit: &Arc<Limit>| (limit.key, limit.bytes_per_second.get() >> 20);
            limits.iter().map(rate).collect()
        };
        // Its own first, so that the worker's is kept at the very moment.
        assert_eq!(rates(&one.read), [("job_read_rate", 3), ("read_rate", 7)]);
        assert_eq!(rates(&one.store), [("store_rate", 5)]);
        assert!(!Arc::ptr_eq(&one.read[0], &other.read[0]));
        assert!(Arc::ptr_eq(&one.read[1], &other.read[1]));
        assert!(Arc::ptr_eq(&one.store[0], &other.store[0]));
    }

    #[test]
    fn threads_that_share_a_limit_keep_it_together() {
        let time = Arc::new(FakeTime::default());
        let limit = a_limit(1000, &time);
        let monitor = TestMonitor::new();
        std::thread::scope(|scope| {
            for thread in 1..=4 {
                let (limit, monitor) = (&limit, &monitor);
                scope.spawn(move || {
                    for _ in 0..200 {
                        limit.pass(thread * 7, &**monitor);
                    }
                });
            }
        });
        let all = 200 * (7 + 14 + 21 + 28);
        let took = time.now();
        assert!(took >= Duration::from_millis(all - 1000), "{took:?}");
    }

    proptest! {
        #[test]
        fn no_time_lets_more_pass_than_its_rate_and_one_burst(
            rate in 1_u64..5_000_000,
            steps in prop::collection::vec((0_u64..3_000, 0_u64..9_000_000), 1..40),
        ) {
            let time = Arc::new(FakeTime::default());
            let limit = a_limit(rate, &time);
            let monitor = TestMonitor::new();
            let mut passed = Vec::new();
            for (pause, bytes) in steps {
                time.pause(Duration::from_millis(pause));
                limit.pass(bytes, &*monitor);
                passed.push((time.now().as_nanos(), u128::from(bytes)));
            }
            for (first, (from, most)) in passed.iter().enumerate() {
                let burst = u128::from(rate).max(*most);
                let mut sum = 0;
                for (to, bytes) in &passed[first..] {
                    sum += bytes;
                    let allowed = u128::from(rate) * (to - from) + burst * 1_000_000_000;
                    prop_assert!(sum * 1_000_000_000 <= allowed);
                }
            }
        }
    }
}
