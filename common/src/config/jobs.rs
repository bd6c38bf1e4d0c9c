//! `[jobs]`: timers and limits of the job protocol. Both binaries read it; leases decide with the
//! state owner's clock alone.

use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as friendly;
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Timers (`60s`, `500ms`, `1h`) and limits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jobs {
    /// How long a lease lives without a renewal.
    #[serde(with = "friendly")]
    pub lease: Duration,
    /// How often a worker renews, give or take a fifth.
    #[serde(with = "friendly")]
    pub renew: Duration,
    /// How long before the end of its lease a restore stops writing; default a twelfth of the lease.
    #[serde(
        default,
        with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional"
    )]
    pub stop_margin: Option<Duration>,
    /// Executions without progress before a job is given up.
    pub failures_max: u32,
    /// Attempts of one backup.
    pub attempts_max: u32,
    /// How long a job may be without progress, and a snapshot may be kept for it.
    #[serde(with = "friendly")]
    pub snapshot_max_age: Duration,
    /// How long a job waits for a live worker.
    #[serde(with = "friendly")]
    pub queue_deadline: Duration,
    /// How long a job that is being given up waits for a worker to clean up.
    #[serde(with = "friendly")]
    pub give_up_deadline: Duration,
    /// How often the reaper and the reconciler look.
    #[serde(with = "friendly")]
    pub sweep: Duration,
    /// How long a published job waits before its message is published again, doubling.
    #[serde(with = "friendly")]
    pub republish_after: Duration,
    /// How long without a heartbeat a worker counts as alive.
    #[serde(with = "friendly")]
    pub worker_down_after: Duration,
    /// Outbox rows that wait for the broker before the API answers 503.
    pub outbox_high_water: u32,
    /// How long a settled job is kept, and a deleted record as a tombstone.
    #[serde(with = "friendly")]
    pub tombstone_age: Duration,
}

impl Default for Jobs {
    fn default() -> Self {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        Self {
            lease: Duration::from_secs(60),
            renew: Duration::from_secs(15),
            stop_margin: None,
            failures_max: 5,
            attempts_max: 5,
            snapshot_max_age: Duration::from_secs(24 * HOUR),
            queue_deadline: Duration::from_secs(HOUR),
            give_up_deadline: Duration::from_secs(10 * MINUTE),
            sweep: Duration::from_secs(5),
            republish_after: Duration::from_secs(10 * MINUTE),
            worker_down_after: Duration::from_secs(30),
            outbox_high_water: 10_000,
            tombstone_age: Duration::from_secs(30 * 24 * HOUR),
        }
    }
}

impl Jobs {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.renew.is_zero() || self.renew * 3 > self.lease {
            return Err(ConfigError::invalid(
                "jobs.renew",
                "must be positive and at most a third of jobs.lease",
            ));
        }
        if self.stop_margin() >= self.lease {
            return Err(ConfigError::invalid(
                "jobs.stop_margin",
                "must be below jobs.lease",
            ));
        }
        if self.sweep.is_zero() {
            return Err(ConfigError::invalid("jobs.sweep", "must be positive"));
        }
        Ok(())
    }

    /// How long before the end of its lease a restore stops writing.
    #[must_use]
    pub fn stop_margin(&self) -> Duration {
        self.stop_margin.unwrap_or(self.lease / 12)
    }
}
