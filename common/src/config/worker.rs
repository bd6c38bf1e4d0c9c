//! `[worker]`: the worker itself.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as friendly;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::domain::Token;

/// So any job fits: a chunk of 50 MiB and the object made of it, and what is beside them.
const MEMORY_BUDGET_MIN: bytesize::ByteSize = bytesize::ByteSize::mib(160);

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
    /// How often it says that it is alive.
    #[serde(with = "friendly")]
    pub heartbeat: Duration,
    /// How long jobs may go on after a stop signal before they are released.
    #[serde(with = "friendly")]
    pub drain_timeout: Duration,
    /// Most bytes of a volume in a batch before it is sealed.
    pub seal_size: bytesize::ByteSize,
    /// Longest time before a batch is sealed.
    #[serde(with = "friendly")]
    pub seal_after: Duration,
    /// Address of `/healthz`, `/readyz` and `/metrics`; none by default.
    pub listen: Option<SocketAddr>,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            name: Token::new("worker").expect("`worker` is a token"),
            zone: Token::new("nova").expect("`nova` is a token"),
            slots: 4,
            engine_threads: 0,
            memory_budget: bytesize::ByteSize::mib(256),
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
        Ok(())
    }
}
