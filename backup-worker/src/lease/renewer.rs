//! Keeps a lease alive: a task per lease, on the runtime.

use std::sync::Arc;
use std::time::Duration;

use common::broker::{AskError, RpcClient};
use common::messages::rpc::{Fence, Renew, Renewed};
use common::telemetry::error_chain;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Hold;

/// A new mark is told at most this often.
const MARK_INTERVAL: Duration = Duration::from_secs(1);

/// When to renew.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RenewTimes {
    /// How often, give or take a fifth.
    pub(crate) every: Duration,
    /// How long one renewal waits for its answer before another is sent.
    pub(crate) patience: Duration,
}

impl RenewTimes {
    /// As the grant has it.
    pub(crate) fn new(renew: Duration, lease: Duration) -> Self {
        Self {
            every: renew,
            patience: renew.max(lease / 3),
        }
    }

    /// Many workers that began together do not renew together.
    fn next(self) -> Duration {
        self.every.mul_f64(rand::random_range(0.8..1.2))
    }

    fn between_marks(self) -> Duration {
        MARK_INTERVAL.min(self.every / 5)
    }
}

/// Renews until `over`, or until the lease is another's. Soon after `soon`, else by the clock.
pub(crate) async fn renew_until(
    over: CancellationToken,
    rpc: RpcClient,
    fence: Fence,
    hold: Arc<Hold>,
    wire: Arc<tokio::sync::Mutex<()>>,
    soon: Arc<Notify>,
    times: RenewTimes,
) {
    // A claim that was long under way left little of the lease.
    let mut wait = times.next().saturating_sub(hold.age());
    loop {
        let waited = async {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = soon.notified() => {}
            }
        };
        if over.run_until_cancelled(waited).await.is_none() {
            return;
        }
        let renewal = renew(&rpc, fence, &hold, &wire, times.patience);
        match over.run_until_cancelled(renewal).await {
            None => return,
            Some(true) => {}
            Some(false) => {
                hold.fenced();
                return;
            }
        }
        let pause = tokio::time::sleep(times.between_marks());
        if over.run_until_cancelled(pause).await.is_none() {
            return;
        }
        wait = times.next().saturating_sub(times.between_marks());
    }
}

/// Asks until there is an answer; `false` when it is that the lease is another's.
async fn renew(
    rpc: &RpcClient,
    fence: Fence,
    hold: &Hold,
    wire: &tokio::sync::Mutex<()>,
    patience: Duration,
) -> bool {
    loop {
        let outcome = {
            let _wire = wire.lock().await;
            let mark = hold.mark();
            let sent = hold.now();
            let answer = rpc.ask_within(Renew { fence, mark }, patience).await;
            // Before the wire is free: behind it a new attempt may begin, of which this mark is not.
            if let Ok(Renewed::Held { cancel }) = answer {
                hold.renewed(sent, mark, cancel);
            }
            answer
        };
        match outcome {
            Ok(Renewed::Held { .. }) => return true,
            Ok(Renewed::Fenced) => return false,
            // The work goes on: only the state owner ends a lease, and it counts no time in which it was deaf.
            Err(AskError::TimedOut(why)) => {
                tracing::warn!(job.id = %fence.job_id, why, "the lease could not be renewed yet");
            }
            Err(error) => {
                let error = error_chain(&error);
                tracing::warn!(job.id = %fence.job_id, error, "the lease could not be renewed yet");
                tokio::time::sleep(patience).await;
            }
        }
    }
}
