//! Running one measured command: its wall time, processor time and peak memory.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use wait4::Wait4 as _;

use crate::files;

/// What one run took.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Usage {
    /// From start to end, in seconds.
    pub(super) wall_s: f64,
    /// User and system time of the process and those it waited for, in seconds.
    pub(super) cpu_s: f64,
    /// Most memory one of these processes held at a time. Not below what this program has itself, as a
    /// new process is a copy of it for a moment.
    pub(super) rss_bytes: u64,
}

/// Runs a command to its end. Standard output goes to `output` if there is one; errors go to `log`, whose end is shown
/// if the command fails. It is ended when the returned future is dropped.
///
/// # Errors
/// When it cannot be started or fails.
pub(super) async fn measure(
    mut command: Command,
    output: Option<&Path>,
    log: &Path,
) -> Result<Usage> {
    let shown = format!("{command:?}");
    let create =
        |path: &Path| File::create(path).with_context(|| format!("make {}", path.display()));
    let errors = create(log)?;
    let printed = match output {
        Some(output) => create(output)?,
        None => errors.try_clone().context("share a log")?,
    };
    command.stdin(Stdio::null()).stdout(printed).stderr(errors);
    let start = Instant::now();
    let child = command.spawn().with_context(|| format!("start {shown}"))?;
    let mut guard = KillOnDrop(Some(Pid::from_child(&child)));
    let ended =
        tokio::task::spawn_blocking(move || child.wait4().map(|used| (used, start.elapsed())));
    let (used, wall) = ended
        .await
        .context("wait for a command")?
        .context("wait for a command")?;
    guard.0 = None;
    anyhow::ensure!(
        used.status.success(),
        "{shown} failed ({}):\n{}",
        used.status,
        files::tail(log, 20)
    );
    Ok(Usage {
        wall_s: wall.as_secs_f64(),
        cpu_s: (used.rusage.utime + used.rusage.stime).as_secs_f64(),
        rss_bytes: used.rusage.maxrss,
    })
}

/// Ends a child that nobody waits for any more.
struct KillOnDrop(Option<Pid>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// The middle one; of an even number the mean of the middle two. 0 of none.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

/// Bytes in all files below a directory, or of a file.
///
/// # Errors
/// When one cannot be read.
pub(super) fn stored_bytes(path: &Path) -> Result<u64> {
    let sum = || -> std::io::Result<u64> {
        let metadata = path.symlink_metadata()?;
        if !metadata.is_dir() {
            return Ok(metadata.len());
        }
        let mut sum = 0;
        for entry in path.read_dir()? {
            sum += stored_bytes(&entry?.path()).map_err(std::io::Error::other)?;
        }
        Ok(sum)
    };
    sum().with_context(|| format!("count the bytes of {}", path.display()))
}

/// A duration in seconds, for people.
pub(super) fn seconds(value: f64) -> String {
    if value < 9.95 {
        format!("{value:.2}")
    } else {
        format!("{:.0}", Duration::from_secs_f64(value).as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert_eq!(median([].into_iter()), 0.0);
    }

    #[tokio::test]
    async fn a_command_that_fails_tells_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such volume >&2; exit 3"]);
        let error = measure(command, None, &folder.path().join("log"))
            .await
            .unwrap_err();
        assert!(format!("{error:#}").contains("no such volume"), "{error:#}");
    }

    #[tokio::test]
    async fn memory_and_processor_time_are_those_of_the_command() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"]);
        let usage = measure(command, None, &folder.path().join("log"))
            .await
            .unwrap();
        assert!(usage.cpu_s > 0.0 && usage.rss_bytes > 100_000, "{usage:?}");
    }
}
