//! The jobs this worker has now: its slots, and which job is in which.
//!
//! One slot is kept for restores when there are two or more: whoever waits for lost data does not
//! queue behind a night's backups.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::domain::JobId;
use tokio::sync::watch;

use crate::lease::Hold;

/// What waits for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// May take any slot.
    Restores,
    /// Leaves the last slot to restores.
    Others,
}

/// All slots.
#[derive(Debug, Clone)]
pub(crate) struct Running(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    slots: usize,
    taken: Mutex<Taken>,
    /// Counts the slots that were ever given back.
    given_back: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Taken {
    restores: usize,
    others: usize,
    jobs: HashMap<JobId, (u64, Arc<Hold>)>,
}

/// A taken slot; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    running: Running,
    lane: Lane,
    job: Option<(JobId, u64)>,
}

impl Running {
    pub(crate) fn new(slots: u32) -> Self {
        Self(Arc::new(Inner {
            slots: usize::try_from(slots).unwrap_or(usize::MAX),
            taken: Mutex::default(),
            given_back: watch::Sender::new(0),
        }))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn free_in(&self, taken: &Taken, lane: Lane) -> usize {
        let slots = self.0.slots;
        let free = slots.saturating_sub(taken.restores + taken.others);
        match lane {
            Lane::Restores => free,
            Lane::Others if slots >= 2 => free.min((slots - 1).saturating_sub(taken.others)),
            Lane::Others => free,
        }
    }

    /// Slots the lane could take now.
    pub(crate) fn free(&self, lane: Lane) -> usize {
        self.free_in(&self.taken(), lane)
    }

    /// Takes a slot if the lane may.
    pub(crate) fn take(&self, lane: Lane) -> Option<Slot> {
        let mut taken = self.taken();
        if self.free_in(&taken, lane) == 0 {
            return None;
        }
        match lane {
            Lane::Restores => taken.restores += 1,
            Lane::Others => taken.others += 1,
        }
        drop(taken);
        Some(Slot {
            running: self.clone(),
            lane,
            job: None,
        })
    }

    /// Changes when a slot is given back.
    pub(crate) fn given_back(&self) -> watch::Receiver<u64> {
        self.0.given_back.subscribe()
    }

    /// The jobs that run now.
    pub(crate) fn jobs(&self) -> Vec<JobId> {
        self.taken().jobs.keys().copied().collect()
    }

    /// Waits until no job runs.
    pub(crate) async fn all_ended(&self) {
        let mut given_back = self.given_back();
        loop {
            let busy = {
                let taken = self.taken();
                taken.restores + taken.others > 0
            };
            if !busy || given_back.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Slot {
    /// A job was granted for this slot. An earlier execution of it that still runs here has lost its lease,
    /// whether it knows or not; now it knows.
    pub(crate) fn occupy(&mut self, job: JobId, generation: u64, hold: Arc<Hold>) {
        let before = self.running.taken().jobs.insert(job, (generation, hold));
        self.job = Some((job, generation));
        if let Some((older, hold)) = before
            && older < generation
        {
            hold.fenced();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.running.taken();
        match self.lane {
            Lane::Restores => taken.restores -= 1,
            Lane::Others => taken.others -= 1,
        }
        if let Some((job, generation)) = self.job
            && taken
                .jobs
                .get(&job)
                .is_some_and(|(now, _)| *now == generation)
        {
            taken.jobs.remove(&job);
        }
        drop(taken);
        self.running.0.given_back.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::engine::Stop;
    use crate::lease::BootClock;

    fn hold() -> Arc<Hold> {
        let clock = BootClock::new(|| Duration::ZERO);
        let minute = Duration::from_secs(60);
        let halt = CancellationToken::new();
        Arc::new(Hold::new(
            clock,
            Duration::ZERO,
            minute,
            Duration::ZERO,
            halt,
        ))
    }

    #[test]
    fn the_last_slot_is_kept_for_a_restore() {
        let running = Running::new(3);
        let first = running.take(Lane::Others).unwrap();
        let _second = running.take(Lane::Others).unwrap();
        assert!(running.take(Lane::Others).is_none());
        let restore = running.take(Lane::Restores).unwrap();
        assert!(running.take(Lane::Restores).is_none());
        drop(first);
        assert_eq!(running.free(Lane::Restores), 1);
        assert_eq!(running.free(Lane::Others), 1);
        drop(restore);
        assert_eq!(running.free(Lane::Restores), 2);
        assert_eq!(running.free(Lane::Others), 1);
    }

    #[test]
    fn restores_may_take_every_slot() {
        let running = Running::new(2);
        let _one = running.take(Lane::Restores).unwrap();
        let _two = running.take(Lane::Restores).unwrap();
        assert_eq!(running.free(Lane::Others), 0);
    }

    #[test]
    fn a_single_slot_is_for_anyone() {
        let running = Running::new(1);
        let slot = running.take(Lane::Others).unwrap();
        assert!(running.take(Lane::Restores).is_none());
        drop(slot);
        assert!(running.take(Lane::Restores).is_some());
    }

    #[test]
    fn a_newer_execution_here_tells_the_older_one_that_it_is_fenced() {
        let running = Running::new(2);
        let job = JobId::new();
        let (old, new) = (hold(), hold());
        let mut first = running.take(Lane::Restores).unwrap();
        first.occupy(job, 1, Arc::clone(&old));
        let mut second = running.take(Lane::Restores).unwrap();
        second.occupy(job, 2, Arc::clone(&new));
        assert_eq!(old.keep_going(), Err(Stop::Fenced));
        assert_eq!(new.keep_going(), Ok(()));
        drop(first);
        assert_eq!(
            running.jobs(),
            [job],
            "the end of the older one forgets nothing"
        );
        drop(second);
        assert_eq!(running.jobs(), []);
    }
}
