//! Everything jobs share: built once in [`run`](crate::run), handed to each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::broker::{Publisher, RpcClient};
use common::domain::{Clock, Incarnation, Token, WorkerName};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::{EngineLimits, Throttles};
use crate::lease::BootClock;
use crate::priority::Priority;
use crate::running::Running;
use crate::store::BackupStore;
use crate::target::TargetState;
use crate::volume::VolumeDriver;

/// The worker, as its parts see it.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) worker: WorkerName,
    pub(crate) incarnation: Incarnation,
    pub(crate) zone: Token,
    pub(crate) slots: u32,
    /// Volume backends this worker can reach, by name.
    pub(crate) volumes: BTreeMap<Token, Arc<dyn VolumeDriver>>,
    /// Name of the backup target in queue keys.
    pub(crate) target: Token,
    pub(crate) store: Arc<dyn BackupStore>,
    /// What the last look at it saw.
    pub(crate) target_state: TargetState,
    pub(crate) limits: EngineLimits,
    /// How fast jobs may read and store.
    pub(crate) throttles: Throttles,
    /// Of jobs' threads.
    pub(crate) priority: Priority,
    /// How long before the end of its lease a restore stops writing.
    pub(crate) stop_margin: Duration,
    /// How long a claim waits before the state owner counts as down.
    pub(crate) claim_patience: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) rpc: RpcClient,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) boot_clock: BootClock,
    pub(crate) running: Running,
    pub(crate) stopping: Stopping,
    pub(crate) tracker: TaskTracker,
}

/// The stages of stopping; each includes the ones before.
#[derive(Debug, Clone)]
pub(crate) struct Stopping {
    /// No new jobs.
    pub(crate) drain: CancellationToken,
    /// Jobs stop at their next checkpoint and give their leases back.
    pub(crate) halt: CancellationToken,
    /// Nobody waits for answers any more.
    pub(crate) abandon: CancellationToken,
    /// Links and tasks end.
    pub(crate) end: CancellationToken,
}

impl Stopping {
    pub(crate) fn new() -> Self {
        let token = CancellationToken::new;
        Self {
            drain: token(),
            halt: token(),
            abandon: token(),
            end: token(),
        }
    }
}
