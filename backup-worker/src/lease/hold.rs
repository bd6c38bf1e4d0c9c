//! What a worker knows about a lease it holds, and what that allows.
//!
//! Two clocks matter, and they are never compared: the state owner ends a lease by its own, and a
//! restore stops writing by ours. `CLOCK_BOOTTIME` goes on while the machine sleeps, so a worker that
//! wakes up late knows it.
//!
//! ```text
//! renew sent ──────────────────────────────────────► sent + lease: another may have it
//!            may write ──────────────► │ stop margin │
//! ```

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::engine::Stop;

/// How often a wait looks whether the worker is stopping.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Time since the machine started, sleep included.
#[derive(Clone)]
pub(crate) struct BootClock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl BootClock {
    /// `CLOCK_BOOTTIME`.
    pub(crate) fn of_machine() -> Self {
        Self::new(|| {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
            let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
            let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
            Duration::new(seconds, nanos)
        })
    }

    pub(crate) fn new(now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(crate) fn now(&self) -> Duration {
        (self.0)()
    }
}

impl std::fmt::Debug for BootClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BootClock")
    }
}

/// A lease as its holder sees it.
#[derive(Debug)]
pub(crate) struct Hold {
    clock: BootClock,
    /// How long after a good renewal was sent a restore may write.
    write_window: Duration,
    /// The worker is stopping and its jobs must.
    halt: CancellationToken,
    known: Mutex<Known>,
    changed: Condvar,
}

#[derive(Debug)]
struct Known {
    /// When the last request that the state owner answered well was sent.
    good_sent: Duration,
    fenced: bool,
    cancel: bool,
    /// The commit gate is passed: a cancel comes too late.
    committed: bool,
    mark: u64,
    /// The highest mark a renewal has carried.
    mark_told: u64,
}

impl Hold {
    /// A lease that was asked for at `asked_at`, lives `lease` and ends for writers `stop_margin` earlier.
    pub(crate) fn new(
        clock: BootClock,
        asked_at: Duration,
        lease: Duration,
        stop_margin: Duration,
        halt: CancellationToken,
    ) -> Self {
        Self {
            clock,
            write_window: lease.saturating_sub(stop_margin),
            halt,
            known: Mutex::new(Known {
                good_sent: asked_at,
                fenced: false,
                cancel: false,
                committed: false,
                mark: 0,
                mark_told: 0,
            }),
            changed: Condvar::new(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// How long ago the last good request was sent.
    pub(crate) fn age(&self) -> Duration {
        let good_sent = self.known().good_sent;
        self.clock.now().saturating_sub(good_sent)
    }

    /// The state owner answered well to a renewal that was sent at `sent` and carried `mark`.
    pub(crate) fn renewed(&self, sent: Duration, mark: u64, cancel: bool) {
        let mut known = self.known();
        known.good_sent = known.good_sent.max(sent);
        known.mark_told = known.mark_told.max(mark);
        known.cancel |= cancel;
        drop(known);
        self.changed.notify_all();
    }

    /// The state owner said that the lease is another's.
    pub(crate) fn fenced(&self) {
        self.known().fenced = true;
        self.changed.notify_all();
    }

    /// From here a cancel comes too late.
    pub(crate) fn passed_the_gate(&self) {
        self.known().committed = true;
    }

    /// All bytes below `mark` are durable.
    pub(crate) fn sealed(&self, mark: u64) {
        let mut known = self.known();
        known.mark = known.mark.max(mark);
    }

    /// A new attempt begins with the mark of its sheet.
    pub(crate) fn begin_at(&self, mark: u64) {
        let mut known = self.known();
        known.mark = mark;
        known.mark_told = mark;
    }

    pub(crate) fn mark(&self) -> u64 {
        self.known().mark
    }

    pub(crate) fn mark_is_told(&self) -> bool {
        let known = self.known();
        known.mark == known.mark_told
    }

    /// Whether there is a reason to stop.
    pub(crate) fn keep_going(&self) -> Result<(), Stop> {
        self.reason_to_stop(&self.known())
    }

    fn reason_to_stop(&self, known: &Known) -> Result<(), Stop> {
        if known.fenced {
            Err(Stop::Fenced)
        } else if known.cancel && !known.committed {
            Err(Stop::Cancelled)
        } else if self.halt.is_cancelled() {
            Err(Stop::Draining)
        } else {
            Ok(())
        }
    }

    fn in_write_window(&self, known: &Known) -> bool {
        self.clock.now() < known.good_sent + self.write_window
    }

    /// Returns when a write that begins now cannot meet a successor; waits for a good renewal if need be.
    pub(crate) fn may_write(&self) -> Result<(), Stop> {
        self.wait_for_window(|known| self.reason_to_stop(known))
    }

    /// The same for clean-up, which neither a cancel nor a stop holds up, until nobody waits for answers any more.
    pub(crate) fn may_remove(&self, abandon: &CancellationToken) -> Result<(), Stop> {
        self.wait_for_window(|known| {
            if known.fenced {
                Err(Stop::Fenced)
            } else if abandon.is_cancelled() {
                Err(Stop::Draining)
            } else {
                Ok(())
            }
        })
    }

    fn wait_for_window(&self, may_wait: impl Fn(&Known) -> Result<(), Stop>) -> Result<(), Stop> {
        let mut known = self.known();
        loop {
            may_wait(&known)?;
            if self.in_write_window(&known) {
                return Ok(());
            }
            known = self
                .changed
                .wait_timeout(known, LOOK_AGAIN)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// A lease of 60 s with a margin of 5 s, asked for at 100 s, and the clock's hand.
    fn lease_at_100() -> (Arc<Hold>, Arc<AtomicU64>, CancellationToken) {
        let hand = Arc::new(AtomicU64::new(100));
        let halt = CancellationToken::new();
        let read = Arc::clone(&hand);
        let clock = BootClock::new(move || seconds(read.load(Ordering::SeqCst)));
        let hold = Hold::new(clock, seconds(100), seconds(60), seconds(5), halt.clone());
        (Arc::new(hold), hand, halt)
    }

    fn allowed(hold: &Hold) -> bool {
        hold.in_write_window(&hold.known())
    }

    #[test]
    fn no_write_begins_later_than_the_lease_less_the_margin_after_the_last_good_renewal_was_sent() {
        let (hold, hand, _halt) = lease_at_100();
        hand.store(154, Ordering::SeqCst);
        assert!(allowed(&hold));
        hand.store(155, Ordering::SeqCst);
        assert!(!allowed(&hold));
        // Answered at 155, but sent at 130: what counts is when it was sent.
        hold.renewed(seconds(130), 0, false);
        hand.store(184, Ordering::SeqCst);
        assert!(allowed(&hold));
        hand.store(185, Ordering::SeqCst);
        assert!(!allowed(&hold));
    }

    #[test]
    fn a_late_answer_to_an_earlier_renewal_takes_nothing_back() {
        let (hold, hand, _halt) = lease_at_100();
        hold.renewed(seconds(150), 0, false);
        hold.renewed(seconds(120), 0, false);
        hand.store(190, Ordering::SeqCst);
        assert!(allowed(&hold));
    }

    #[test]
    fn a_writer_past_its_deadline_waits_for_a_good_renewal() {
        let (hold, hand, _halt) = lease_at_100();
        hand.store(1000, Ordering::SeqCst); // a laptop that slept
        let writer = std::thread::spawn({
            let hold = Arc::clone(&hold);
            move || hold.may_write()
        });
        assert!(!allowed(&hold));
        hold.renewed(seconds(999), 0, false);
        assert_eq!(writer.join().unwrap(), Ok(()));
    }

    #[test]
    fn a_waiting_writer_ends_when_it_is_fenced_cancelled_or_must_stop() {
        for (end, stop) in [
            ("fenced", Stop::Fenced),
            ("cancelled", Stop::Cancelled),
            ("draining", Stop::Draining),
        ] {
            let (hold, hand, halt) = lease_at_100();
            hand.store(1000, Ordering::SeqCst);
            let writer = std::thread::spawn({
                let hold = Arc::clone(&hold);
                move || hold.may_write()
            });
            match end {
                "fenced" => hold.fenced(),
                "cancelled" => hold.renewed(seconds(0), 0, true),
                _ => halt.cancel(),
            }
            assert_eq!(writer.join().unwrap(), Err(stop));
        }
    }

    #[test]
    fn a_sleeper_removes_nothing_until_it_knows_that_the_lease_is_its_own() {
        let (hold, hand, halt) = lease_at_100();
        let abandon = CancellationToken::new();
        // Neither a cancel nor a stop holds clean-up up.
        hold.renewed(seconds(100), 0, true);
        halt.cancel();
        assert_eq!(hold.may_remove(&abandon), Ok(()));
        for (end, outcome) in [
            ("renewed", Ok(())),
            ("abandoned", Err(Stop::Draining)),
            ("fenced", Err(Stop::Fenced)),
        ] {
            hand.fetch_add(1000, Ordering::SeqCst);
            let sleeper = std::thread::spawn({
                let (hold, abandon) = (Arc::clone(&hold), abandon.clone());
                move || hold.may_remove(&abandon)
            });
            match end {
                "renewed" => hold.renewed(hold.now(), 0, false),
                "fenced" => hold.fenced(),
                _ => abandon.cancel(),
            }
            assert_eq!(sleeper.join().unwrap(), outcome);
        }
    }

    #[test]
    fn fenced_outranks_cancelled_and_a_committed_job_is_not_cancelled() {
        let (hold, _hand, _halt) = lease_at_100();
        hold.renewed(seconds(101), 0, true);
        assert_eq!(hold.keep_going(), Err(Stop::Cancelled));
        hold.passed_the_gate();
        assert_eq!(hold.keep_going(), Ok(()));
        hold.fenced();
        assert_eq!(hold.keep_going(), Err(Stop::Fenced));
    }

    #[test]
    fn a_mark_never_falls_but_with_a_new_attempt() {
        let (hold, _hand, _halt) = lease_at_100();
        hold.sealed(70);
        hold.sealed(60);
        assert_eq!(hold.mark(), 70);
        assert!(!hold.mark_is_told());
        hold.renewed(seconds(101), 70, false);
        assert!(hold.mark_is_told());
        hold.begin_at(0);
        assert_eq!(hold.mark(), 0);
        assert!(hold.mark_is_told());
    }
}
