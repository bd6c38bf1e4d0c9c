//! What one backup's job must come to, told without a database: the model that random requests are
//! compared with.

use common::domain::{BackupStatus, ClaimId, JobState};
use common::messages::rpc::FailCause;

use crate::store::AttemptState;

const FAILURES_MAX: u32 = 5;
const ATTEMPTS_MAX: usize = 5;

/// How an execution's lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Lease,
    Released,
    Settled,
}

/// An execution that was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Past {
    pub(super) claim: ClaimId,
    pub(super) generation: u64,
    pub(super) end: Option<End>,
}

/// How a request is answered, as far as the model knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Granted(u64),
    Busy,
    Duplicate,
    Cancelled,
    Held { cancel: bool },
    Recorded(String),
    Attempt(u32),
    Exhausted,
    Committed,
    Passed,
    Queued,
    Settled,
    Fenced,
    Malformed,
    Done,
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) state: JobState,
    pub(super) is_cancelled: bool,
    pub(super) past: Vec<Past>,
    pub(super) failures: u32,
    pub(super) mark: u64,
    pub(super) cancel_requested: bool,
    pub(super) given_up: bool,
    pub(super) attempts: Vec<AttemptState>,
    pub(super) frozen: Vec<Option<String>>,
    /// `None` once nothing is left of it.
    pub(super) backup: Option<BackupStatus>,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            state: JobState::Queued,
            is_cancelled: false,
            past: Vec::new(),
            failures: 0,
            mark: 0,
            cancel_requested: false,
            given_up: false,
            attempts: vec![AttemptState::Live],
            frozen: vec![None],
            backup: Some(BackupStatus::Creating),
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.past.len() as u64
    }

    fn is_leased(&self) -> bool {
        matches!(self.state, JobState::Running | JobState::Committing)
    }

    fn holds(&self, fence: Past) -> bool {
        self.is_leased()
            && self.past.last().is_some_and(|last| {
                (last.claim, last.generation) == (fence.claim, fence.generation)
            })
    }

    fn is_committed(&self) -> bool {
        self.attempts.contains(&AttemptState::Committed)
    }

    fn attempt(&mut self) -> &mut AttemptState {
        self.attempts.last_mut().expect("there is always one")
    }

    fn ends(&mut self, end: End) {
        let last = self.past.last_mut().filter(|last| last.end.is_none());
        if let Some(last) = last {
            last.end = Some(end);
        }
    }

    pub(super) fn claim(&mut self, claim: ClaimId) -> Answer {
        if self.state == JobState::Settled {
            return match self.is_cancelled {
                true => Answer::Cancelled,
                false => Answer::Duplicate,
            };
        }
        if let Some(before) = self.past.iter().find(|past| past.claim == claim) {
            return match self.is_leased() && before.generation == self.generation() {
                true => Answer::Granted(before.generation),
                false => Answer::Busy,
            };
        }
        if self.state != JobState::Queued {
            return Answer::Busy;
        }
        self.state = match self.is_committed() {
            true => JobState::Committing,
            false => JobState::Running,
        };
        self.failures += 1;
        let generation = self.generation() + 1;
        self.past.push(Past {
            claim,
            generation,
            end: None,
        });
        Answer::Granted(generation)
    }

    fn note_mark(&mut self, mark: u64) {
        if mark > self.mark {
            (self.mark, self.failures) = (mark, 0);
        }
    }

    pub(super) fn renew(&mut self, fence: Past, mark: u64) -> Answer {
        if !self.holds(fence) {
            return Answer::Fenced;
        }
        self.note_mark(mark);
        Answer::Held {
            cancel: self.cancel_requested && self.state == JobState::Running,
        }
    }

    pub(super) fn freeze(&mut self, fence: Past, attempt: u32, identity: &str) -> Answer {
        let is_current = attempt as usize == self.attempts.len();
        if !self.holds(fence) || !is_current || *self.attempt() != AttemptState::Live {
            return Answer::Fenced;
        }
        let first = self.frozen.last_mut().expect("there is always one");
        Answer::Recorded(first.get_or_insert_with(|| identity.to_owned()).clone())
    }

    pub(super) fn restart(&mut self, fence: Past, attempt: u32) -> Answer {
        let current = self.attempts.len();
        let asked = attempt as usize;
        if !self.holds(fence) {
            return Answer::Fenced;
        }
        if self.state == JobState::Committing || *self.attempt() == AttemptState::Committed {
            return Answer::Committed;
        }
        if asked > current {
            return Answer::Malformed;
        }
        if asked == current {
            let is_over = *self.attempt() != AttemptState::Live || self.given_up;
            if is_over || current >= ATTEMPTS_MAX {
                return Answer::Exhausted;
            }
            *self.attempt() = AttemptState::Abandoned;
            self.attempts.push(AttemptState::Live);
            self.frozen.push(None);
            self.mark = 0;
        }
        Answer::Attempt(u32::try_from(self.attempts.len()).expect("few"))
    }

    pub(super) fn fail(&mut self, fence: Past, cause: FailCause) -> Answer {
        if !self.holds(fence) {
            return Answer::Fenced;
        }
        match *self.attempt() {
            AttemptState::Committed if cause != FailCause::Lost => return Answer::Committed,
            AttemptState::Committed | AttemptState::Live => {
                *self.attempt() = AttemptState::GivenUp;
            }
            AttemptState::GivenUp | AttemptState::Abandoned | AttemptState::Deleted => {}
        }
        if !self.given_up && self.state == JobState::Committing {
            self.state = JobState::Running;
        }
        self.given_up = true;
        Answer::Done
    }

    pub(super) fn commit(&mut self, fence: Past, attempt: u32) -> Answer {
        if !self.holds(fence) || attempt as usize != self.attempts.len() {
            return Answer::Fenced;
        }
        let is_open = self.state == JobState::Running && !self.cancel_requested && !self.given_up;
        match *self.attempt() {
            AttemptState::Committed => Answer::Passed,
            AttemptState::Live if is_open => {
                self.state = JobState::Committing;
                *self.attempt() = AttemptState::Committed;
                Answer::Passed
            }
            AttemptState::Live | AttemptState::GivenUp => Answer::Cancelled,
            AttemptState::Abandoned | AttemptState::Deleted => Answer::Fenced,
        }
    }

    pub(super) fn release(&mut self, fence: Past, mark: u64, counts: bool) -> Answer {
        if !self.holds(fence) {
            let was_released = self.past.iter().any(|past| {
                (past.claim, past.generation) == (fence.claim, fence.generation)
                    && past.end == Some(End::Released)
            });
            return match was_released {
                true => Answer::Queued,
                false => Answer::Fenced,
            };
        }
        self.note_mark(mark);
        if !counts {
            self.failures = self.failures.saturating_sub(1);
        }
        self.lease_ends(End::Released);
        Answer::Queued
    }

    /// The lease is over, however.
    pub(super) fn lease_ends(&mut self, end: End) {
        if !self.is_leased() {
            return;
        }
        self.ends(end);
        self.state = JobState::Queued;
        if self.is_committed() {
            return;
        }
        if self.cancel_requested {
            self.settle(true);
        } else if self.given_up && self.failures >= 2 * FAILURES_MAX {
            self.settle(false);
        } else if self.failures >= FAILURES_MAX {
            self.given_up = true;
        }
    }

    pub(super) fn finish(&mut self, fence: Past, as_stored: bool, cancelled: bool) -> Answer {
        if !self.holds(fence) {
            let settled_it = self.state == JobState::Settled
                && self.past.last().is_some_and(|last| {
                    (last.claim, last.generation) == (fence.claim, fence.generation)
                        && last.end == Some(End::Settled)
                });
            return match settled_it {
                true => Answer::Settled,
                false => Answer::Fenced,
            };
        }
        if as_stored != (*self.attempt() == AttemptState::Committed) {
            return Answer::Malformed;
        }
        self.settle(cancelled);
        Answer::Settled
    }

    pub(super) fn cancel(&mut self) -> Answer {
        if self.backup != Some(BackupStatus::Creating) || self.is_committed() {
            return Answer::Refused;
        }
        self.cancel_requested = true;
        if self.state == JobState::Queued {
            self.settle(true);
        }
        Answer::Done
    }

    pub(super) fn force_delete(&mut self) -> Answer {
        if self.backup.is_none() {
            return Answer::Refused;
        }
        self.backup = Some(BackupStatus::Deleting);
        if self.state == JobState::Settled {
            self.bury_if_untouched();
        } else if self.state != JobState::Committing && !self.is_committed() {
            self.cancel_requested = true;
            if self.state == JobState::Queued {
                self.settle(true);
            }
        }
        Answer::Done
    }

    fn settle(&mut self, cancelled: bool) {
        self.ends(End::Settled);
        self.state = JobState::Settled;
        self.is_cancelled = cancelled;
        let is_stored = *self.attempt() == AttemptState::Committed;
        if *self.attempt() == AttemptState::Live {
            *self.attempt() = AttemptState::GivenUp;
        }
        match self.backup {
            Some(BackupStatus::Creating) if is_stored => {
                self.backup = Some(BackupStatus::Available);
            }
            Some(BackupStatus::Creating) => self.backup = Some(BackupStatus::Error),
            _ => self.bury_if_untouched(),
        }
    }

    /// What no worker ever had needs none to go.
    fn bury_if_untouched(&mut self) {
        if self.past.is_empty() {
            self.backup = None;
        }
    }
}
