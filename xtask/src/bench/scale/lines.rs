//! When jobs began and ended, from the lines that each worker writes of them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::super::clock;

/// An execution of a job, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ran {
    pub(super) began: f64,
    pub(super) ended: f64,
}

/// The line about an execution that ended, as the worker logs it in JSON.
#[derive(Debug, Deserialize)]
struct Line {
    timestamp: String,
    message: String,
    #[serde(rename = "backup.id", default)]
    backup: String,
    #[serde(rename = "volume.id", default)]
    volume: String,
    #[serde(default)]
    outcome: String,
    #[serde(default)]
    seconds: f64,
}

/// What is known of the backups and volume jobs that ended well on the workers whose logs lie in this folder: the first
/// execution of each, by the backup's id, or the volume's.
///
/// # Errors
/// When a log cannot be read.
pub(super) fn executions(logs: &Path) -> Result<BTreeMap<String, Ran>> {
    let mut all = BTreeMap::new();
    for entry in logs.read_dir().context("list the logs")? {
        let path = entry.context("list the logs")?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if !name.is_some_and(|name| name.starts_with("backup-worker")) {
            continue;
        }
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        for (id, ran) in text.lines().filter_map(execution) {
            let first = all.entry(id).or_insert(ran);
            if ran.began < first.began {
                *first = ran;
            }
        }
    }
    Ok(all)
}

fn execution(line: &str) -> Option<(String, Ran)> {
    let line: Line = serde_json::from_str(line).ok()?;
    if line.message != "job ended here" {
        return None;
    }
    let id = match line.outcome.as_str() {
        "backed_up" => line.backup,
        "volume_done" => line.volume,
        _ => return None,
    };
    let ended = clock::read(&line.timestamp)?;
    let began = ended - line.seconds;
    Some((id, Ran { began, ended }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_jobs_that_ended_well_on_a_worker_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let line = |outcome: &str, second: u32| {
            format!(
                r#"{{"timestamp":"1970-01-01T00:00:{second:02}.5Z","level":"INFO","job.id":"j","backup.id":"b-{outcome}","volume.id":"v-{outcome}","generation":1,"outcome":"{outcome}","reason":"","seconds":0.25,"message":"job ended here"}}"#
            )
        };
        let log = [
            line("backed_up", 8),
            line("backed_up", 7),
            line("volume_done", 9),
            line("fenced", 9),
            line("cleaned", 9),
            "not a line of ours".to_owned(),
        ];
        std::fs::write(folder.path().join("backup-worker-1.log"), log.join("\n")).unwrap();
        let other = line("backed_up", 1);
        std::fs::write(folder.path().join("api-service.log"), other).unwrap();
        let found = executions(folder.path()).unwrap();
        let ran = |began, ended| Ran { began, ended };
        let expected = [
            ("b-backed_up".to_owned(), ran(7.25, 7.5)),
            ("v-volume_done".to_owned(), ran(9.25, 9.5)),
        ];
        assert_eq!(found, expected.into());
    }
}
