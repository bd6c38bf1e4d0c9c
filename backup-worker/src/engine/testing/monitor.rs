//! A job for an engine under test.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::engine::{Monitor, Progress, Stop};

/// A job that notes what it hears, and says stop at its n-th call if it is told to.
#[derive(Debug, Default)]
pub(in crate::engine) struct TestMonitor {
    calls: AtomicU64,
    stop_at: Option<(u64, Stop)>,
    pub(in crate::engine) marks: Mutex<Vec<u64>>,
    pub(in crate::engine) first: Mutex<Option<Progress>>,
    pub(in crate::engine) last: Mutex<Progress>,
}

impl TestMonitor {
    pub(in crate::engine) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(in crate::engine) fn stopping_at(call: u64, stop: Stop) -> Arc<Self> {
        Arc::new(Self {
            stop_at: Some((call, stop)),
            ..Self::default()
        })
    }

    pub(in crate::engine) fn mark(&self) -> u64 {
        self.marks.lock().unwrap().last().copied().unwrap_or(0)
    }

    fn ask(&self) -> Result<(), Stop> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        match self.stop_at {
            Some((at, stop)) if call >= at => Err(stop),
            _ => Ok(()),
        }
    }
}

impl Monitor for TestMonitor {
    fn keep_going(&self) -> Result<(), Stop> {
        self.ask()
    }

    fn may_write(&self) -> Result<(), Stop> {
        self.ask()
    }

    fn advanced(&self, progress: Progress) {
        self.first.lock().unwrap().get_or_insert(progress);
        let last = std::mem::replace(&mut *self.last.lock().unwrap(), progress);
        assert!(last.done_bytes <= progress.done_bytes, "progress grows");
    }

    fn sealed(&self, mark: u64) {
        let mut marks = self.marks.lock().unwrap();
        assert!(marks.last().is_none_or(|last| *last < mark), "marks grow");
        marks.push(mark);
    }
}
