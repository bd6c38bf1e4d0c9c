//! `jobs`: who holds what.

use std::io::Write;

use serde_json::json;

use super::table::{self, or_dash, time};
use crate::cli::AsJson;
use crate::store::{HeldJob, Store};

const HEADS: [&str; 11] = [
    "JOB", "KIND", "STATE", "BACKUP", "VOLUME", "WORKER", "SINCE", "GEN", "MARK", "FAILURES",
    "NOTE",
];

pub(super) async fn show(store: &Store, form: AsJson, out: &mut impl Write) -> anyhow::Result<()> {
    let jobs = store.held_jobs(None, u64::MAX).await?;
    if form.json {
        return super::print_json(&json!({"jobs": jobs}), out);
    }
    let rows: Vec<_> = jobs.iter().map(cells).collect();
    super::print(&table::lines(HEADS, &rows), out)
}

fn cells(job: &HeldJob) -> [String; 11] {
    let mut notes = Vec::new();
    if job.cancel_requested {
        notes.push("cancel requested".to_owned());
    }
    if let Some(next) = job.next_at {
        notes.push(format!("not before {}", time(next)));
    }
    if let Some(reason) = job.reason() {
        notes.push(reason.to_owned());
    }
    [
        job.id.to_string(),
        job.kind.to_string(),
        job.state.to_string(),
        or_dash(job.backup_id),
        or_dash(job.volume_id),
        or_dash(job.worker.as_ref()),
        time(job.since),
        job.generation.to_string(),
        job.mark.to_string(),
        job.failures.to_string(),
        notes.join("; "),
    ]
}
