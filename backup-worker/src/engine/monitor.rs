//! What the engine tells the job that runs it, and what it asks.

use std::fmt::Debug;

use common::messages::sheet::WorkTotals;

/// Why an engine has to stop before its work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The owner asked for it.
    #[error("cancelled by its owner")]
    Cancelled,
    /// The lease is another's now: nothing may be deleted.
    #[error("another execution has the lease")]
    Fenced,
    /// The worker is stopping.
    #[error("the worker is stopping")]
    Draining,
}

/// How far a running engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes of the volume that are done, whether sealed or not.
    pub done_bytes: u64,
    /// Sums so far.
    pub totals: WorkTotals,
}

/// The job's side of an engine's run. Called from the engine's threads.
pub trait Monitor: Debug + Send + Sync {
    /// Asked before each unit of work and each seal.
    ///
    /// # Errors
    /// Why the engine has to stop.
    fn keep_going(&self) -> Result<(), Stop>;

    /// Asked before each write that a successor must not meet: to a restore's target, and of what closes a backup.
    /// Blocks while the lease is in doubt.
    ///
    /// # Errors
    /// Why the engine has to stop.
    fn may_write(&self) -> Result<(), Stop>;

    /// Told at the start, of what earlier executions did, and after each unit of work. `done_bytes` never falls.
    fn advanced(&self, progress: Progress);

    /// Told when all bytes of the volume below `mark` are durable: sealed in segments, or written to the target.
    fn sealed(&self, mark: u64);
}
