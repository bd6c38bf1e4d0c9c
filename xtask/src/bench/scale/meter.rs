//! What is read off the parts while they work: at a moment, over a step of many jobs, and once a second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::super::processes::{Used, used_by};
use super::figures::{Figures, Metrics};
use super::sums::Costs;
use crate::process::Process;

/// Where the doorbells of backups wait.
pub(super) const BACKUP_QUEUE: &str = "bk.v1.job.backup.nova.local";

/// What the parts use.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    pub(super) api: Used,
    pub(super) broker: Used,
    pub(super) database: Used,
    pub(super) workers: Used,
}

/// A moment: what was used and counted until then.
pub(super) struct Moment {
    pub(super) usage: Usage,
    pub(super) metrics: Metrics,
    pub(super) published: u64,
}

/// What a step of many jobs took.
#[derive(Debug, Clone, Default)]
pub(super) struct Step {
    /// For one job.
    pub(super) costs: Costs,
    /// How long a change waited for its turn on average, in seconds.
    pub(super) waited: f64,
    /// Messages that were published for one job.
    pub(super) messages: f64,
    /// Requests of workers for one job, by their names.
    pub(super) requests: BTreeMap<&'static str, f64>,
}

const REQUESTS: [&str; 8] = [
    "claim", "renew", "frozen", "restart", "commit", "fail", "release", "finish",
];

/// How the queue stands at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    /// Seconds since the first.
    pub(super) at: f64,
    /// Doorbells that the broker has.
    pub(super) queued: u64,
    pub(super) api_bytes: u64,
    pub(super) broker_bytes: u64,
}

/// Looks at queue and memory, once a second.
pub(super) struct Probe {
    pub(super) figures: Arc<Figures>,
    pub(super) api: Option<Process>,
    pub(super) broker: Option<Process>,
}

impl Probe {
    /// Does the work, and looks meanwhile.
    ///
    /// # Errors
    /// When the work fails, or the broker does not answer.
    pub(super) async fn during<T>(
        &self,
        since: Instant,
        samples: &mut Vec<Sample>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let look = async {
            let mut clock = tokio::time::interval(Duration::from_secs(1));
            clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                clock.tick().await;
                let memory = |process: Option<Process>| process.map(used_by).unwrap_or_default();
                samples.push(Sample {
                    at: since.elapsed().as_secs_f64(),
                    queued: self.figures.queue_depth(BACKUP_QUEUE).await?,
                    api_bytes: memory(self.api).pss_bytes,
                    broker_bytes: memory(self.broker).pss_bytes,
                });
            }
        };
        tokio::select! {
            done = work => done,
            failed = look => {
                let failed: Result<std::convert::Infallible> = failed;
                match failed {
                    Ok(never) => match never {},
                    Err(error) => Err(error),
                }
            }
        }
    }
}

impl Moment {
    /// What was used and counted between two moments, for one of `jobs`.
    pub(super) fn step_since(&self, before: &Self, jobs: u32) -> Step {
        let jobs = f64::from(jobs);
        let spent = |used: fn(&Usage) -> &Used| {
            // A worker that was started meanwhile began with nothing.
            (used(&self.usage).cpu_s - used(&before.usage).cpu_s).max(0.0) / jobs
        };
        let more = |name: &str, labels: &[(&str, &str)]| {
            self.metrics.sum(name, labels) - before.metrics.sum(name, labels)
        };
        let turn = "emberkeep_database_turn_duration_seconds";
        let of_turn = |end: &str, part: &str| more(&format!("{turn}_{end}"), &[("part", part)]);
        let turns = of_turn("count", "held");
        let requests = REQUESTS.map(|name| {
            let asked = "emberkeep_worker_request_duration_seconds_count";
            (name, more(asked, &[("request", name)]) / jobs)
        });
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let messages = self.published.saturating_sub(before.published) as f64 / jobs;
        Step {
            costs: Costs {
                api: spent(|usage| &usage.api),
                broker: spent(|usage| &usage.broker),
                database: spent(|usage| &usage.database),
                worker: spent(|usage| &usage.workers),
                turns: turns / jobs,
                held: of_turn("sum", "held") / jobs,
            },
            waited: of_turn("sum", "waited") / turns.max(1.0),
            messages,
            requests: requests.into(),
        }
    }
}
