//! A command's stages, one after the other, with their times and a last word on all of them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::say;

/// Stages known by name from the start, so that one that fails leaves a list of what was not run.
#[derive(Debug)]
pub struct Stages {
    planned: Vec<&'static str>,
    done: Vec<(&'static str, Duration, bool)>,
}

impl Stages {
    /// None run yet.
    #[must_use]
    pub fn new(planned: Vec<&'static str>) -> Self {
        Self {
            planned,
            done: Vec::new(),
        }
    }

    /// Runs the next stage.
    ///
    /// # Errors
    /// When it fails; the summary was printed then.
    pub async fn run<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let name = *self
            .planned
            .get(self.done.len())
            .context("more stages than planned")?;
        say::heading(format_args!("== {name}"));
        let start = Instant::now();
        let result = work.await;
        self.done.push((name, start.elapsed(), result.is_ok()));
        if result.is_err() || self.done.len() == self.planned.len() {
            self.summarise();
        }
        result.with_context(|| format!("stage `{name}` failed"))
    }

    fn summarise(&self) {
        say::heading("== stages");
        for (index, name) in self.planned.iter().enumerate() {
            match self.done.get(index) {
                Some((_, time, passed)) => say::line(format_args!(
                    "  {:<6} {:>5} s  {name}",
                    if *passed { "ok" } else { "FAILED" },
                    time.as_secs()
                )),
                None => say::line(format_args!("  {:<6} {:>5}    {name}", "not run", "")),
            }
        }
        let total: Duration = self.done.iter().map(|(_, time, _)| *time).sum();
        say::line(format_args!("  {:<6} {:>5} s  in all", "", total.as_secs()));
    }
}

/// Runs a command with its output shown.
///
/// # Errors
/// When it cannot be started or does not succeed.
pub async fn succeed(mut command: Command) -> Result<()> {
    let shown = shown(&command);
    let status = command
        .status()
        .await
        .with_context(|| format!("start `{shown}`"))?;
    anyhow::ensure!(status.success(), "`{shown}` failed ({status})");
    Ok(())
}

/// Runs a command and returns what it says on standard output.
///
/// # Errors
/// When it cannot be started or does not succeed; with what it said on standard error.
pub async fn answer(mut command: Command) -> Result<String> {
    let shown = shown(&command);
    let output = command
        .output()
        .await
        .with_context(|| format!("start `{shown}`"))?;
    anyhow::ensure!(
        output.status.success(),
        "`{shown}` failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8(output.stdout).with_context(|| format!("read what `{shown}` says"))
}

/// A command as one would type it.
#[must_use]
pub fn shown(command: &Command) -> String {
    let command = command.as_std();
    let program = std::path::Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(program)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
