//! What is only remembered: the last progress of each running job, and which workers are alive.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::domain::{Incarnation, JobId, JobKind, QueueKey, WorkerName};
use common::messages::events::{ProgressData, WorkerData};
use tokio::sync::watch;

/// The last progress of every job that runs, for those who ask and those who follow. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ProgressBoard(Arc<Mutex<HashMap<JobId, watch::Sender<Option<ProgressData>>>>>);

impl ProgressBoard {
    fn jobs(&self) -> MutexGuard<'_, HashMap<JobId, watch::Sender<Option<ProgressData>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last progress of a job; `None` when none has come yet.
    #[must_use]
    pub fn latest(&self, job: JobId) -> Option<ProgressData> {
        self.jobs().get(&job)?.borrow().clone()
    }

    /// Follows a job's progress, now and on. The stream closes when the job settles: look whether it
    /// has not *after* this call, and call [`settled`](Self::settled) if it has.
    #[must_use]
    pub fn follow(&self, job: JobId) -> watch::Receiver<Option<ProgressData>> {
        self.jobs()
            .entry(job)
            .or_insert_with(|| watch::Sender::new(None))
            .subscribe()
    }

    /// Notes progress, unless a later word of the job is known already.
    pub fn note(&self, progress: ProgressData) {
        let mut jobs = self.jobs();
        let sender = jobs
            .entry(progress.job_id)
            .or_insert_with(|| watch::Sender::new(None));
        sender.send_if_modified(|last| {
            let age = |progress: &ProgressData| (progress.generation, progress.sequence);
            let is_news = last.as_ref().is_none_or(|last| age(last) < age(&progress));
            if is_news {
                *last = Some(progress);
            }
            is_news
        });
    }

    /// Forgets a job that is over; its followers' streams close.
    pub fn settled(&self, job: JobId) {
        self.jobs().remove(&job);
    }

    /// Closes every stream: nobody will hear more from this process.
    pub fn close(&self) {
        self.jobs().clear();
    }

    /// Jobs that are remembered.
    #[must_use]
    pub fn remembered(&self) -> Vec<JobId> {
        self.jobs().keys().copied().collect()
    }
}

/// What a worker's sign of life amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nothing new.
    Known,
    /// A run of it that was not known: leases of its smaller incarnations are over.
    Started,
    /// What it can reach has changed.
    Changed,
    /// A run that a greater one has replaced; it counts for nothing.
    Stale,
}

#[derive(Debug)]
struct Live {
    data: WorkerData,
    heard: Instant,
}

#[derive(Debug)]
struct Hall {
    workers: BTreeMap<WorkerName, Live>,
    /// Runs that stopped on purpose; a late heartbeat of one does not bring it back.
    stopped: BTreeMap<WorkerName, Incarnation>,
    /// Since when nothing can be heard. Time stands still then, so that no worker is taken for dead
    /// because the state owner was deaf.
    deaf_since: Option<Instant>,
    down_after: Duration,
}

/// Which workers are alive. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LiveWorkers(Arc<Mutex<Hall>>);

impl LiveWorkers {
    /// Knows nobody yet, and is deaf until told otherwise.
    #[must_use]
    pub fn new(down_after: Duration) -> Self {
        Self(Arc::new(Mutex::new(Hall {
            workers: BTreeMap::new(),
            stopped: BTreeMap::new(),
            deaf_since: Some(Instant::now()),
            down_after,
        })))
    }

    fn hall(&self) -> MutexGuard<'_, Hall> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The workers that are alive, by name.
    #[must_use]
    pub fn alive(&self) -> Vec<WorkerData> {
        let hall = self.hall();
        let now = hall.deaf_since.unwrap_or_else(Instant::now);
        hall.workers
            .values()
            .filter(|live| now.duration_since(live.heard) < hall.down_after)
            .map(|live| live.data.clone())
            .collect()
    }

    /// Whether a live worker takes jobs from this queue.
    #[must_use]
    pub fn serve(&self, queue: &QueueKey) -> bool {
        self.alive().iter().any(|worker| {
            let reach = match queue.kind {
                JobKind::Backup | JobKind::Restore | JobKind::Volume => {
                    worker.volume_backends.contains(&queue.backend)
                }
                JobKind::Delete => worker.targets.contains(&queue.backend),
                JobKind::Clean => {
                    worker.volume_backends.contains(&queue.backend)
                        || worker.targets.contains(&queue.backend)
                }
            };
            worker.zone == queue.zone && reach
        })
    }

    /// Notes a sign of life.
    pub(crate) fn heard(&self, data: WorkerData) -> Seen {
        let mut hall = self.hall();
        if hall.stopped.get(&data.worker) >= Some(&data.incarnation) {
            return Seen::Stale;
        }
        let heard = hall.deaf_since.unwrap_or_else(Instant::now);
        let seen = match hall.workers.get(&data.worker) {
            None => Seen::Started,
            Some(live) if live.data.incarnation > data.incarnation => return Seen::Stale,
            Some(live) if live.data.incarnation < data.incarnation => Seen::Started,
            Some(live) if reach(&live.data) != reach(&data) => Seen::Changed,
            Some(_) => Seen::Known,
        };
        hall.workers
            .insert(data.worker.clone(), Live { data, heard });
        seen
    }

    /// Notes that a worker went on purpose.
    pub(crate) fn stopped(&self, data: &WorkerData) {
        let mut hall = self.hall();
        if hall
            .workers
            .get(&data.worker)
            .is_some_and(|live| live.data.incarnation <= data.incarnation)
        {
            hall.workers.remove(&data.worker);
        }
        hall.stopped.insert(data.worker.clone(), data.incarnation);
    }

    /// Whether nothing can be heard at present.
    pub(crate) fn are_unheard(&self) -> bool {
        self.hall().deaf_since.is_some()
    }

    /// Nothing can be heard from now on.
    pub(crate) fn goes_deaf(&self) {
        let mut hall = self.hall();
        hall.deaf_since.get_or_insert_with(Instant::now);
    }

    /// Everything is heard again: the time of silence does not count.
    pub(crate) fn hears(&self) {
        let mut hall = self.hall();
        if let Some(since) = hall.deaf_since.take() {
            let missed = since.elapsed();
            for live in hall.workers.values_mut() {
                live.heard += missed;
            }
        }
    }
}

fn reach(
    data: &WorkerData,
) -> (
    &common::domain::Token,
    &[common::domain::Token],
    &[common::domain::Token],
) {
    (&data.zone, &data.volume_backends, &data.targets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::domain::Token;

    fn worker(incarnation: Incarnation) -> WorkerData {
        let token = |text: &str| Token::new(text).unwrap();
        WorkerData {
            worker: "w".into(),
            incarnation,
            zone: token("nova"),
            volume_backends: vec![token("fast")],
            targets: vec![token("default")],
            slots: 4,
            running: vec![],
            version: "0".to_owned(),
        }
    }

    #[test]
    fn a_greater_incarnation_replaces_a_smaller_and_not_the_other_way_round() {
        let live = LiveWorkers::new(Duration::from_secs(30));
        live.hears();
        let (old, new) = (Incarnation::new(), Incarnation::new());
        assert_eq!(live.heard(worker(old)), Seen::Started);
        assert_eq!(live.heard(worker(old)), Seen::Known);
        assert_eq!(live.heard(worker(new)), Seen::Started);
        assert_eq!(live.heard(worker(old)), Seen::Stale);
        live.stopped(&worker(new));
        assert_eq!(live.heard(worker(new)), Seen::Stale);
        assert!(live.alive().is_empty());
    }

    #[test]
    fn silence_while_deaf_kills_nobody() {
        let live = LiveWorkers::new(Duration::from_millis(20));
        live.hears();
        live.heard(worker(Incarnation::new()));
        live.goes_deaf();
        std::thread::sleep(Duration::from_millis(40));
        assert_eq!(live.alive().len(), 1);
        live.hears();
        assert_eq!(live.alive().len(), 1);
        std::thread::sleep(Duration::from_millis(40));
        assert!(live.alive().is_empty());
    }

    #[test]
    fn followers_see_the_latest_and_the_end() {
        let board = ProgressBoard::default();
        let job = JobId::new();
        let mut follower = board.follow(job);
        let progress = |sequence| ProgressData {
            job_id: job,
            kind: JobKind::Backup,
            backup_id: None,
            volume_id: None,
            generation: 1,
            sequence,
            phase: "transfer".to_owned(),
            done_bytes: sequence,
            totals: common::messages::sheet::WorkTotals::default(),
            rate_bytes_per_second: 0,
            remaining_seconds: None,
        };
        board.note(progress(2));
        board.note(progress(1));
        assert_eq!(board.latest(job).unwrap().sequence, 2);
        assert_eq!(follower.borrow_and_update().as_ref().unwrap().sequence, 2);
        board.settled(job);
        assert!(follower.has_changed().is_err());
        assert!(board.latest(job).is_none());
    }
}
