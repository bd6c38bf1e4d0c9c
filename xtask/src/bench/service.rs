//! The same volume through the whole service: broker, api-service and one worker, asked over HTTP as any client would.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use super::clock;
use super::image;
use super::peer::Step;
use super::processes::{forget_peak, peak_bytes, used_by};
use super::rounds::{equal, warm};
use super::usage::{Usage, median, seconds};
use crate::build::Binaries;
use crate::demo::api::Api;
use crate::process::Process;
use crate::stack::{Broker, Options, Stack};

/// Where the stack has its volumes.
const BACKEND: &str = "local";
/// How often it is looked. Each look takes time of the cores that are measured, and none is needed for the time: that
/// is in the record.
const LOOK: Duration = Duration::from_millis(100);
/// How long a backup or a restore may take.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// What was measured, in each round.
#[derive(Debug, Default)]
pub(super) struct Service {
    full: Vec<Usage>,
    incremental: Vec<Usage>,
    restore: Vec<Usage>,
}

impl Service {
    /// The median of a step, in seconds.
    pub(super) fn wall(&self, step: Step) -> Option<f64> {
        let used = match step {
            Step::Full => &self.full,
            Step::Incremental => &self.incremental,
            Step::Restore => &self.restore,
            Step::Prepare | Step::Unchanged => return None,
        };
        Some(median(used.iter().map(|usage| usage.wall_s)))
    }

    /// The table of the report.
    pub(super) fn section(&self) -> String {
        let mut text = format!(
            "## Through the whole service\n\n\
             The ext4 volume in a running stack of RabbitMQ, api-service (SQLite) and one worker, all on these cores, with the configuration as it comes (lz4): from just\n\
             before the request to the moment at which the record became `available`: its own `updated_at`, which the\n\
             transaction that settles it writes, for the restore the later one of backup and volume. CPU and RSS are the worker's until that was seen; it was looked every {} ms.\n\n\
             | | wall | worker's CPU | worker's RSS |\n|---|---|---|---|\n",
            LOOK.as_millis(),
        );
        for (what, used) in [
            ("full backup", &self.full),
            ("1 % changed", &self.incremental),
            ("restore to a new volume", &self.restore),
        ] {
            let of = |value: fn(&Usage) -> f64| median(used.iter().map(value));
            #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
            let memory = of(|usage| usage.rss_bytes as f64);
            text.push_str(&format!(
                "| {what} | {} | {} | {:.0} MB |\n",
                seconds(of(|usage| usage.wall_s)),
                seconds(of(|usage| usage.cpu_s)),
                memory / 1e6,
            ));
        }
        text
    }
}

/// Starts a stack below this folder and lets it do everything in each round.
///
/// # Errors
/// When a part does not come up, a job fails, or a restored volume is another one.
pub(super) async fn measured(
    dir: &Path,
    binaries: Binaries,
    original: &Path,
    rounds: u32,
    seed: u64,
) -> Result<Service> {
    let resources = ["backups", "backup_gigabytes", "volumes", "gigabytes"];
    let quota = |resource| (format!("quota.{resource}"), "1000000".to_owned());
    let options = Options {
        dir: dir.to_owned(),
        workers: 1,
        listen: None,
        settings: resources.map(quota).into(),
        broker: Broker::Private,
    };
    let stack = Stack::up(options, binaries).await?;
    let worker = stack.process("backup-worker-1");
    let client = Client {
        api: Api::new(&stack.state().endpoint)?,
        backups: stack.state().backups_path.clone(),
        worker: worker.context("the stack has a worker")?,
    };
    let volumes = stack.state().volumes_path.clone();
    let mut service = Service::default();
    for round in 1..=rounds {
        let round = client.round(&volumes, original, round, seed, &mut service);
        round.await?;
    }
    stack.down().await?;
    std::fs::remove_dir_all(dir).context("remove a stack")?;
    Ok(service)
}

struct Client {
    api: Api,
    /// Where the worker stores.
    backups: PathBuf,
    worker: Process,
}

impl Client {
    async fn round(
        &self,
        volumes: &Path,
        original: &Path,
        round: u32,
        seed: u64,
        service: &mut Service,
    ) -> Result<()> {
        let name = format!("volume-{round}.raw");
        let source = volumes.join(&name);
        image::copy(original, &source)?;
        // Volumes have whole GiB, and so does what is restored.
        let file = File::options().write(true).open(&source);
        let file = file.with_context(|| format!("open {name}"))?;
        let length = file.metadata().context("look at a volume")?.len();
        file.set_len(length.next_multiple_of(1 << 30))
            .context("make a volume longer")?;
        let volume = self.api.manage(BACKEND, &name, &name).await?;
        self.api.volume_settles(&volume, Some("available")).await?;

        warm(&source)?;
        let (_, usage) = self.backup(json!({"volume_id": volume})).await?;
        service.full.push(usage);
        image::overwrite(&source, seed)?;
        warm(&source)?;
        let request = json!({"volume_id": volume, "incremental": true});
        let (backup, usage) = self.backup(request).await?;
        service.incremental.push(usage);
        let record = self.api.backup(&backup).await?;
        anyhow::ensure!(
            record["is_incremental"] == true,
            "a backup that was asked to be incremental is not"
        );

        warm(&self.backups)?;
        rustix::fs::sync();
        forget_peak(self.worker)?;
        let (cpu_s, start_s) = (used_by(self.worker).cpu_s, clock::now());
        let restored = self.api.restore(&backup, "restored").await?;
        let backup_s = self.until_available("backup", &backup).await?;
        let volume_s = self.until_available("volume", &restored).await?;
        let usage = self.usage(backup_s.max(volume_s) - start_s, cpu_s)?;
        service.restore.push(usage);

        let file = volumes.join(format!("volume-{restored}"));
        anyhow::ensure!(
            equal(&source, &file)?,
            "the restored volume is another one than {name}"
        );
        for volume in [&restored, &volume] {
            self.api.delete_volume(volume).await?;
        }
        Ok(())
    }

    /// A backup from request to `available`; its id.
    async fn backup(&self, request: Value) -> Result<(String, Usage)> {
        rustix::fs::sync();
        forget_peak(self.worker)?;
        let (cpu_s, start_s) = (used_by(self.worker).cpu_s, clock::now());
        let id = self.api.create_backup(request).await?;
        let end_s = self.until_available("backup", &id).await?;
        let usage = self.usage(end_s - start_s, cpu_s)?;
        Ok((id, usage))
    }

    fn usage(&self, wall_s: f64, cpu_s: f64) -> Result<Usage> {
        Ok(Usage {
            wall_s,
            cpu_s: used_by(self.worker).cpu_s - cpu_s,
            rss_bytes: peak_bytes(self.worker)?,
        })
    }

    /// Looks until a backup or volume is `available`, and tells when it came to be, in seconds since 1970.
    async fn until_available(&self, kind: &str, id: &str) -> Result<f64> {
        let path = format!("{kind}s/{id}");
        let look = async {
            let mut ticks = tokio::time::interval(LOOK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let answer = self.api.call(Method::GET, &path, Value::Null).await?;
                if let Some(end_s) = available_since(kind, &answer.body[kind])? {
                    return Ok(end_s);
                }
            }
        };
        tokio::time::timeout(PATIENCE, look)
            .await
            .with_context(|| format!("a {kind} does not become available"))?
    }
}

/// When a record became `available`, by the api-service's clock, which is this program's too; `None` while it is not.
fn available_since(kind: &str, record: &Value) -> Result<Option<f64>> {
    let status = record["status"].as_str().unwrap_or("gone");
    if status != "available" {
        anyhow::ensure!(
            !status.starts_with("error") && status != "gone",
            "a {kind} came to `{status}`: {record}"
        );
        return Ok(None);
    }
    let updated = record["updated_at"].as_str().and_then(clock::read);
    let updated = updated.with_context(|| format!("a {kind} does not say when: {record}"))?;
    Ok(Some(updated))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_tells_to_the_microsecond_since_when_it_is_available() {
        let since = |status: &str, updated_at: Value| {
            let record = json!({"status": status, "updated_at": updated_at});
            available_since("backup", &record).ok()
        };
        let moment = json!("2026-11-27T13:14:15.250000");
        assert_eq!(
            since("available", moment.clone()),
            Some(Some(1_795_785_255.25))
        );
        assert_eq!(since("restoring", moment.clone()), Some(None));
        assert_eq!(since("creating", Value::Null), Some(None));
        assert_eq!(since("error_restoring", moment), None);
        assert_eq!(since("available", Value::Null), None);
        assert!(available_since("backup", &Value::Null).is_err());
    }
}
