//! A granted lease: what a job's thread asks the state owner, and what keeps the lease alive meanwhile.
//!
//! * [`hold`]: what is known of the lease, and what that allows
//! * [`renewer`]: the task that renews it
//!
//! The methods here block the job's own thread until the state owner has answered: every request is
//! idempotent and repeated through outages. They give up only when the whole worker does.

mod hold;
mod renewer;

use std::sync::Arc;
use std::time::Duration;

use common::broker::{AskError, RpcClient};
use common::messages::rpc::{
    Ask, Commit, Committed, Fail, FailCause, Failed, Fence, Finish, Finished, FrozenAnswer,
    FrozenReport, Outcome, Release, ReleaseReason, Released, Renew, Renewed, Restart, Restarted,
};
use common::messages::sheet::{Frozen, WorkTotals};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use hold::{BootClock, Hold};
pub(crate) use renewer::{RenewTimes, renew_until};

use crate::engine::{Monitor, Progress, Stop};
use crate::progress::Reporter;

/// Why a request got no answer that lets the job go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaseError {
    /// The lease is another's now.
    #[error("another execution has the lease")]
    Fenced,
    /// There was no answer, and will be none in this run of the worker.
    #[error("the state owner did not answer")]
    Unanswered(#[source] AskError),
}

/// Whom a lease asks.
#[derive(Debug, Clone)]
pub(crate) enum StateOwner {
    /// The api-service, over the broker.
    Broker(RpcClient),
    /// A test that watches one job.
    #[cfg(test)]
    Scripted(Arc<dyn Answers>),
}

/// Answers for the state owner in a test.
#[cfg(test)]
pub(crate) trait Answers: std::fmt::Debug + Send + Sync {
    fn answer(&self, request: common::messages::rpc::Request) -> serde_json::Value;
}

/// The job thread's end of a lease. Cheap to clone; the renewer ends with the last clone.
#[derive(Debug, Clone)]
pub(crate) struct Lease(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    fence: Fence,
    owner: StateOwner,
    runtime: Handle,
    hold: Arc<Hold>,
    /// Held while a request that carries the mark, or changes what the mark means, is under way.
    wire: Arc<tokio::sync::Mutex<()>>,
    renew_soon: Arc<Notify>,
    /// The worker ends without waiting for answers any more.
    abandon: CancellationToken,
    reporter: Reporter,
    _renewing: DropGuard,
}

/// What a lease is made of.
#[derive(Debug)]
pub(crate) struct LeaseParts {
    pub(crate) fence: Fence,
    pub(crate) owner: StateOwner,
    pub(crate) hold: Arc<Hold>,
    pub(crate) wire: Arc<tokio::sync::Mutex<()>>,
    pub(crate) renew_soon: Arc<Notify>,
    pub(crate) abandon: CancellationToken,
    pub(crate) reporter: Reporter,
    /// Ends the renewer when the lease is dropped.
    pub(crate) renewing: DropGuard,
}

impl Lease {
    /// To be called on the runtime; the methods are for the job's thread.
    pub(crate) fn new(parts: LeaseParts) -> Self {
        Self(Arc::new(Inner {
            fence: parts.fence,
            owner: parts.owner,
            runtime: Handle::current(),
            hold: parts.hold,
            wire: parts.wire,
            renew_soon: parts.renew_soon,
            abandon: parts.abandon,
            reporter: parts.reporter,
            _renewing: parts.renewing,
        }))
    }

    /// Shows what the job is doing.
    pub(crate) fn phase(&self, phase: &'static str) {
        self.0.reporter.phase(phase);
    }

    /// Whether the job may go on.
    pub(crate) fn keep_going(&self) -> Result<(), Stop> {
        self.0.hold.keep_going()
    }

    /// For clean-up, which neither a cancel nor a stop holds up: returns when it is beyond doubt that the lease is ours.
    pub(crate) fn still_ours(&self) -> Result<(), LeaseError> {
        match self.0.hold.may_remove(&self.0.abandon) {
            Ok(()) => Ok(()),
            Err(Stop::Fenced) => Err(LeaseError::Fenced),
            Err(Stop::Draining | Stop::Cancelled) => Err(LeaseError::Unanswered(AskError::GivenUp)),
        }
    }

    /// From here a cancel comes too late.
    pub(crate) fn passed_the_gate(&self) {
        self.0.hold.passed_the_gate();
    }

    /// Reports the snapshot's identity; the first report of the attempt comes back.
    pub(crate) fn frozen(&self, attempt: u32, frozen: Frozen) -> Result<Frozen, LeaseError> {
        let fence = self.0.fence;
        let report = FrozenReport {
            fence,
            attempt,
            frozen,
        };
        match common::durable!("worker.frozen", self.ask(report))? {
            FrozenAnswer::Recorded(first) => Ok(first),
            FrozenAnswer::Fenced => Err(self.fenced()),
        }
    }

    /// Gives the attempt's data up.
    pub(crate) fn restart(&self, attempt: u32, reason: String) -> Result<Restarted, LeaseError> {
        let fence = self.0.fence;
        let wire = self.0.runtime.block_on(self.0.wire.lock());
        let ask = Restart {
            fence,
            attempt,
            reason,
        };
        let answer = common::durable!("worker.restart", self.ask(ask))?;
        if answer == Restarted::Fenced {
            return Err(self.fenced());
        }
        // No renewal under way carries the mark of the attempt that is given up.
        self.0.hold.begin_at(0);
        drop(wire);
        Ok(answer)
    }

    /// Says that the attempt ends without a backup.
    pub(crate) fn fail(&self, cause: FailCause, reason: String) -> Result<Failed, LeaseError> {
        let fence = self.0.fence;
        let ask = Fail {
            fence,
            cause,
            reason,
        };
        let answer = common::durable!("worker.fail", self.ask(ask))?;
        match answer {
            Failed::Recorded | Failed::Committed => Ok(answer),
            Failed::Fenced => Err(self.fenced()),
        }
    }

    /// Passes the commit gate. The state owner knows the last mark before that.
    pub(crate) fn commit(&self, attempt: u32) -> Result<Committed, LeaseError> {
        let fence = self.0.fence;
        if !self.0.hold.mark_is_told() {
            let mark = self.0.hold.mark();
            let sent = self.0.hold.now();
            match self.ask(Renew { fence, mark })? {
                Renewed::Held { cancel } => self.0.hold.renewed(sent, mark, cancel),
                Renewed::Fenced => return Err(self.fenced()),
            }
        }
        if common::faults::planted("skip_commit_gate") {
            return Ok(Committed::Passed);
        }
        match common::durable!("worker.commit", self.ask(Commit { fence, attempt }))? {
            Committed::Fenced => Err(self.fenced()),
            answer => Ok(answer),
        }
    }

    /// Gives the lease back, for a later execution.
    pub(crate) fn release(
        &self,
        why: ReleaseReason,
        message: String,
        retry_after: Duration,
    ) -> Result<(), LeaseError> {
        let release = Release {
            fence: self.0.fence,
            why,
            message,
            mark: self.0.hold.mark(),
            retry_after_ms: u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX),
        };
        match common::durable!("worker.release", self.ask(release))? {
            Released::Queued => Ok(()),
            Released::Fenced => Err(self.fenced()),
        }
    }

    /// Reports the end.
    pub(crate) fn finish(&self, outcome: Outcome, totals: WorkTotals) -> Result<(), LeaseError> {
        let fence = self.0.fence;
        let ask = Finish {
            fence,
            outcome,
            totals,
        };
        let answer = common::durable!("worker.finish", self.ask(ask))?;
        match answer {
            Finished::Settled => Ok(()),
            Finished::Fenced => Err(self.fenced()),
        }
    }

    fn ask<A: Ask>(&self, ask: A) -> Result<A::Answer, LeaseError> {
        let inner = &self.0;
        match &inner.owner {
            StateOwner::Broker(rpc) => inner
                .runtime
                .block_on(rpc.ask(ask, &inner.abandon))
                .map_err(LeaseError::Unanswered),
            #[cfg(test)]
            StateOwner::Scripted(answer) => {
                let answer = answer.answer(ask.into());
                Ok(serde_json::from_value(answer).expect("an answer of the right kind"))
            }
        }
    }

    fn fenced(&self) -> LeaseError {
        self.0.hold.fenced();
        LeaseError::Fenced
    }
}

impl Monitor for Lease {
    fn keep_going(&self) -> Result<(), Stop> {
        self.0.hold.keep_going()
    }

    fn may_write(&self) -> Result<(), Stop> {
        self.0.hold.may_write()
    }

    fn advanced(&self, progress: Progress) {
        self.0.reporter.advanced(progress);
    }

    fn sealed(&self, mark: u64) {
        self.0.hold.sealed(mark);
        self.0.renew_soon.notify_one();
    }
}
