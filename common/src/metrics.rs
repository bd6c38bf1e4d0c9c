//! Metrics: every name, what it counts and its labels, in one table. Prometheus reads them from `/metrics`.
//!
//! **Invariant.** No label is an id, a name that a tenant chose, or anything else without a bound: a label's values are
//! words of ours. Whoever needs one job looks into the logs.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Is now.
    Gauge,
    /// How long something took, in seconds.
    Duration,
}

/// A metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident = $name:literal, $kind:ident, [$($label:literal),*], $help:literal;)+) => {
        $(
            #[doc = $help]
            pub const $constant: &str = $name;
        )+
        /// Every metric of both services.
        pub const ALL: &[Metric] = &[$(Metric {
            name: $name,
            kind: Kind::$kind,
            labels: &[$($label),*],
            help: $help,
        }),+];
    };
}

metrics! {
    BROKER_UP = "emberkeep_broker_up", Gauge, [], "1 while the connection to the broker is up and takes messages.";
    HTTP_REQUESTS = "emberkeep_http_requests_total", Counter, ["method", "route", "status"], "Requests that were answered.";
    HTTP_DURATION = "emberkeep_http_request_duration_seconds", Duration, ["method", "route"], "How long an answer took.";
    JOBS_SETTLED = "emberkeep_jobs_settled_total", Counter, ["kind", "outcome"], "Jobs that came to their end: done, cancelled, failed or skipped.";
    JOB_DURATION = "emberkeep_job_duration_seconds", Duration, ["kind", "outcome"], "From a job's request to its end, waiting included.";
    JOBS_UNSETTLED = "emberkeep_jobs_unsettled", Gauge, ["kind", "state"], "Jobs that wait or run.";
    QUEUE_AGE = "emberkeep_queue_age_seconds", Gauge, ["kind"], "How long the job has waited that waits longest for a worker; 0 when none does.";
    LEASE_ENDS = "emberkeep_lease_ends_total", Counter, ["why"], "Executions whose lease ended before their job: silent (worker lost) or released.";
    OUTBOX = "emberkeep_outbox_messages", Gauge, [], "Messages that wait for the broker.";
    DATABASE_TURN = "emberkeep_database_turn_duration_seconds", Duration, ["part"], "How long a change of rows waited for its turn (waited) and had it (held): changes take turns.";
    WORKER_REQUESTS = "emberkeep_worker_request_duration_seconds", Duration, ["request"], "How long the answer to a worker's request took.";
    WORKERS_ALIVE = "emberkeep_workers_alive", Gauge, [], "Workers that are heard.";
    PUBLISHED_REQUESTS = "emberkeep_published_requests_total", Counter, ["verdict"], "Requests that other services published: accepted (repeats included) or rejected.";
    EXECUTIONS = "emberkeep_executions_total", Counter, ["kind", "outcome"], "Executions that ended on this worker, however.";
    PHASE_DURATION = "emberkeep_phase_duration_seconds", Duration, ["kind", "phase"], "How long a job was in a phase.";
    VOLUME_BYTES = "emberkeep_volume_bytes_total", Counter, ["kind", "what"], "Bytes that jobs have read, stored (a backup) or written (a restore), and skipped because they needed neither.";
    HASHED_BYTES = "emberkeep_hashed_bytes_total", Counter, [], "Bytes of volumes that were digested, block by block.";
    LIMIT_WAIT = "emberkeep_limit_wait_duration_seconds", Duration, ["limit"], "How long a thread of a job waited because of a limit, by the key that sets it.";
    UNTRUE_BLOCKS = "emberkeep_untrue_blocks_total", Counter, [], "Blocks that counted as unchanged by a kept snapshot and were not as the parent has them: each made its backup a full scan.";
    TARGET_UP = "emberkeep_target_up", Gauge, [], "1 while the backup target answers and is the right one.";
    TARGET_DURATION = "emberkeep_target_duration_seconds", Duration, ["operation"], "How long the backup target took for an operation.";
    TARGET_ERRORS = "emberkeep_target_errors_total", Counter, ["operation"], "Operations that the backup target refused.";
    SLOTS = "emberkeep_slots", Gauge, [], "Jobs that this worker takes at once.";
    SLOTS_BUSY = "emberkeep_slots_busy", Gauge, [], "Jobs that it has.";
}

/// Bounds of the buckets of durations, in seconds: from a small file to a large volume.
const BUCKETS: &[f64] = &[
    0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0,
];
/// How often observations are put into their buckets, whether or not anybody reads them.
const UPKEEP: Duration = Duration::from_secs(5);

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Starts to count, for the rest of the process. Without it nothing is counted, and nothing kept.
///
/// # Panics
/// When called twice in one process.
pub fn start() {
    let handle = PrometheusBuilder::new()
        .set_buckets(BUCKETS)
        .and_then(PrometheusBuilder::install_recorder)
        .expect("buckets are given, and no other recorder is installed");
    for metric in ALL {
        match metric.kind {
            Kind::Counter => ::metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => ::metrics::describe_gauge!(metric.name, metric.help),
            Kind::Duration => ::metrics::describe_histogram!(metric.name, metric.help),
        }
    }
    assert!(HANDLE.set(handle).is_ok(), "metrics are started once");
}

/// Keeps memory small while nobody reads; until `stop`.
pub async fn upkeep(stop: CancellationToken) {
    let Some(handle) = HANDLE.get() else { return };
    while stop
        .run_until_cancelled(tokio::time::sleep(UPKEEP))
        .await
        .is_some()
    {
        handle.run_upkeep();
    }
}

/// All of it in Prometheus's text form.
#[must_use]
pub fn rendered() -> String {
    HANDLE
        .get()
        .map(PrometheusHandle::render)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_label_is_an_id() {
        let bounded = [
            "method",
            "route",
            "status",
            "kind",
            "outcome",
            "state",
            "why",
            "verdict",
            "phase",
            "what",
            "operation",
            "part",
            "limit",
            "request",
        ];
        for metric in ALL {
            for label in metric.labels {
                assert!(bounded.contains(label), "{label} of {}", metric.name);
            }
        }
    }

    #[test]
    fn names_say_their_unit_and_kind() {
        for metric in ALL {
            assert!(metric.name.starts_with("emberkeep_"), "{}", metric.name);
            let is_total = metric.name.ends_with("_total");
            assert_eq!(is_total, metric.kind == Kind::Counter, "{}", metric.name);
            if metric.kind == Kind::Duration {
                assert!(
                    metric.name.ends_with("_duration_seconds"),
                    "{}",
                    metric.name
                );
            }
        }
    }
}
