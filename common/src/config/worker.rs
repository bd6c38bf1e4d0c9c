//! `[worker]`: the worker itself.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as friendly;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::domain::Token;

/// So any job fits: a chunk of 50 MiB and the object made of it, and what is beside them.
const MEMORY_BUDGET_MIN: bytesize::ByteSize = bytesize::ByteSize::mib(160);

/// A rate below this is a slip of the pen: the largest chunk has 50 MiB and would take longer than a lease.
const RATE_MIN: bytesize::ByteSize = bytesize::ByteSize::mib(1);

/// As nice as a thread can be.
const NICE_MAX: u8 = 19;

/// How a worker works.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Worker {
    /// Unique among live workers; a second live one of the same name exits.
    pub name: Token,
    /// Where it is.
    pub zone: Token,
    /// Jobs at once. With two or more, one is kept for restores.
    pub slots: u32,
    /// Engine threads of one job; 0 takes one for each core. A restore has one more.
    pub engine_threads: u32,
    /// Most memory that one job takes. All of a worker's jobs together take `slots` times as much.
    pub memory_budget: bytesize::ByteSize,
    /// Bytes a second that all jobs together read; 0 is no limit. See `docs/operations.md` for what counts.
    pub read_rate: bytesize::ByteSize,
    /// Bytes a second that all jobs together store; 0 is no limit.
    pub store_rate: bytesize::ByteSize,
    /// Bytes a second that one job reads; 0 is no limit.
    pub job_read_rate: bytesize::ByteSize,
    /// Bytes a second that one job stores; 0 is no limit.
    pub job_store_rate: bytesize::ByteSize,
    /// Niceness of jobs' threads, up to 19; 0 leaves them as the process is, and none is ever made less nice than that.
    pub nice: u8,
    /// Their place where the host's disks are shared out.
    pub io_priority: IoPriority,
    /// How often it says that it is alive.
    #[serde(with = "friendly")]
    pub heartbeat: Duration,
    /// How long jobs may go on after a stop signal before they are released.
    #[serde(with = "friendly")]
    pub drain_timeout: Duration,
    /// Most bytes read of a volume for a batch before it is sealed; what need not be read counts a sixteenth.
    pub seal_size: bytesize::ByteSize,
    /// Longest time before a batch is sealed.
    #[serde(with = "friendly")]
    pub seal_after: Duration,
    /// Address of `/healthz`, `/readyz` and `/metrics`; none by default.
    pub listen: Option<SocketAddr>,
}

/// A place where disks are shared out, by I/O schedulers that know of places. None is ever higher than the process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IoPriority {
    /// The one of the process.
    Unchanged,
    /// Behind all others, and still in turn with them.
    Low,
    /// Only while nobody else wants the disk.
    Idle,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            name: Token::new("worker").expect("`worker` is a token"),
            zone: Token::new("nova").expect("`nova` is a token"),
            slots: 4,
            engine_threads: 0,
            memory_budget: bytesize::ByteSize::mib(256),
            read_rate: bytesize::ByteSize::b(0),
            store_rate: bytesize::ByteSize::b(0),
            job_read_rate: bytesize::ByteSize::b(0),
            job_store_rate: bytesize::ByteSize::b(0),
            nice: 10,
            io_priority: IoPriority::Low,
            heartbeat: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(20),
            seal_size: bytesize::ByteSize::mib(64),
            seal_after: Duration::from_secs(5),
            listen: None,
        }
    }
}

impl Worker {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.slots == 0 {
            return Err(ConfigError::invalid("worker.slots", "must be at least 1"));
        }
        if self.memory_budget < MEMORY_BUDGET_MIN {
            return Err(ConfigError::invalid(
                "worker.memory_budget",
                "must be at least 160 MiB, which a job with the largest objects takes",
            ));
        }
        for (key, rate) in [
            ("worker.read_rate", self.read_rate),
            ("worker.store_rate", self.store_rate),
            ("worker.job_read_rate", self.job_read_rate),
            ("worker.job_store_rate", self.job_store_rate),
        ] {
            check_rate(rate).map_err(|why| ConfigError::invalid(key, why))?;
        }
        if self.nice > NICE_MAX {
            return Err(ConfigError::invalid("worker.nice", "must be at most 19"));
        }
        Ok(())
    }
}

/// Whether a limit of so many bytes a second makes sense.
///
/// # Errors
/// The rule, if not.
pub fn check_rate(rate: bytesize::ByteSize) -> Result<(), &'static str> {
    if rate.as_u64() == 0 || rate >= RATE_MIN {
        Ok(())
    } else {
        Err("must be at least 1 MiB (a second), or 0 for no limit")
    }
}
