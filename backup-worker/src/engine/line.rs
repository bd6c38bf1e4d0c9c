//! The line of work: units are handed out in order, to any thread that asks, and never further
//! ahead of what is collected than a fixed number, so that a slow unit cannot make the rest pile up.

use std::fmt::Debug;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::EngineError;

/// Makes the units of work, in order. Asked by one thread at a time.
pub(super) trait Units: Send {
    /// One unit; its buffers are reused.
    type Unit: Default;

    /// Fills `unit` with the next one; `false` when there is none.
    fn next(&mut self, unit: &mut Self::Unit) -> Result<bool, EngineError>;
}

/// A line in front of [`Units`].
pub(super) struct Line<U> {
    state: Mutex<State<U>>,
    moved: Condvar,
    ahead_max: u64,
}

struct State<U> {
    units: U,
    taken: u64,
    collected: u64,
    halted: bool,
}

impl<U: Units> Line<U> {
    /// A line that lets at most `ahead_max` units be taken and not yet collected.
    pub(super) fn new(units: U, ahead_max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                units,
                taken: 0,
                collected: 0,
                halted: false,
            }),
            moved: Condvar::new(),
            ahead_max: ahead_max.max(1) as u64,
        }
    }

    /// How many units may be taken and not yet collected.
    pub(super) fn ahead_max(&self) -> usize {
        usize::try_from(self.ahead_max).unwrap_or(usize::MAX)
    }

    /// Takes the next unit into `unit` and tells its number, counted from 0; `None` when there is
    /// none, or when the line is halted. While too many are taken and not collected, `settle` is asked to bring
    /// about what it can, without any lock, and when it says that it did nothing the others' work is waited for.
    pub(super) fn take(
        &self,
        unit: &mut U::Unit,
        mut settle: impl FnMut() -> bool,
    ) -> Result<Option<u64>, EngineError> {
        let mut state = self.lock();
        while !state.halted && self.is_too_far(&state) {
            drop(state);
            let has_settled = settle();
            state = self.lock();
            if !has_settled && !state.halted && self.is_too_far(&state) {
                let woken = self.moved.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
            }
        }
        if state.halted || !state.units.next(unit)? {
            return Ok(None);
        }
        let number = state.taken;
        state.taken += 1;
        Ok(Some(number))
    }

    fn is_too_far(&self, state: &State<U>) -> bool {
        state.taken - state.collected >= self.ahead_max
    }

    /// Says that every unit below `count` is collected.
    pub(super) fn collected(&self, count: u64) {
        self.lock().collected = count;
        self.moved.notify_all();
    }

    /// Lets nobody take any more.
    pub(super) fn halt(&self) {
        self.lock().halted = true;
        self.moved.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<U>> {
        // A panic while holding it ends the whole crew; until then the numbers are good enough to wait on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<U> Debug for Line<U> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line")
            .field("ahead_max", &self.ahead_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    struct UpTo(u64);

    impl Units for UpTo {
        type Unit = u64;

        fn next(&mut self, unit: &mut u64) -> Result<bool, EngineError> {
            *unit += 1;
            self.0 = self.0.saturating_sub(1);
            Ok(self.0 > 0)
        }
    }

    #[test]
    fn nobody_gets_further_ahead_than_allowed() {
        let line = Line::new(UpTo(10), 2);
        let mut unit = 0;
        assert_eq!(line.take(&mut unit, || false).unwrap(), Some(0));
        assert_eq!(line.take(&mut unit, || false).unwrap(), Some(1));
        let is_collected = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let third = scope.spawn(|| {
                let number = line.take(&mut 0, || false).unwrap();
                (number, is_collected.load(Ordering::SeqCst))
            });
            is_collected.store(true, Ordering::SeqCst);
            line.collected(1);
            assert_eq!(third.join().unwrap(), (Some(2), true));
        });
    }

    #[test]
    fn a_halt_wakes_who_waits() {
        let line = Line::new(UpTo(10), 1);
        let mut unit = 0;
        assert_eq!(line.take(&mut unit, || false).unwrap(), Some(0));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| line.take(&mut 0, || false).unwrap());
            line.halt();
            assert_eq!(waiting.join().unwrap(), None);
        });
    }
}
