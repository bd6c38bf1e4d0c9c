//! The demo's story, through containers: a volume is backed up twice, lost, and brought back. Then a worker is killed in
//! the middle of a backup.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::fs::{Gid, Uid};
use serde_json::{Value, json};

use super::project::{ALL, Container, Project, WORKER};
use crate::chaos::{compare, held_job, write_volume};
use crate::demo::api::Api;
use crate::demo::{filesystem, watch};
use crate::say;

/// The backend that `deploy/emberkeep.toml` configures.
const BACKEND: &str = "main";
/// Whom volumes and backups belong to.
const USER: u32 = 10_001;
/// Size of the volume whose worker is killed.
const LARGE_BYTES: u64 = 1 << 30;
/// How long a job may wait for a worker: a lease that nobody renews ends after a minute.
const HOLDER_PATIENCE: Duration = Duration::from_secs(5 * 60);

/// A full backup, an incremental one, the volume's loss, its return.
pub(super) async fn backup_and_restore(project: &Project, api: &Api, scratch: &Path) -> Result<()> {
    let volumes = project.volume("volumes").await?;
    let image = volumes.join("vol-1.raw");
    let contents = filesystem::make(&image, scratch)?;
    say::good(format_args!(
        "a volume of {}: an ext4 with {} files",
        say::bytes(filesystem::VOLUME_BYTES),
        contents.files
    ));
    let volume = take_over(api, &image, "vol-1").await?;
    let full = backup(api, json!({"volume_id": volume, "name": "full"})).await?;
    filesystem::change(&image, scratch)?;
    let request = json!({"volume_id": volume, "name": "incremental", "incremental": true});
    let incremental = backup(api, request).await?;
    let (full, small) = (&full["object_count"], &incremental["object_count"]);
    anyhow::ensure!(
        small.as_u64() < full.as_u64(),
        "the incremental has {small} objects, the full backup {full}"
    );
    let digest = filesystem::sha256(&image)?;
    api.delete_volume(&volume).await?;
    anyhow::ensure!(!image.exists(), "{} is still there", image.display());
    say::good("the volume is lost: its file is gone");

    let id = incremental["id"].as_str().context("a backup has an id")?;
    let (restored, file) = restore(project, api, id).await?;
    let found = filesystem::sha256(&file)?;
    anyhow::ensure!(
        found == digest,
        "the restored volume differs: {found}, not {digest}"
    );
    filesystem::check(&file).context("check the restored file system")?;
    say::good(format_args!(
        "volume {restored} is the same: SHA-256 {digest}, e2fsck finds it clean"
    ));
    Ok(())
}

/// Kills the worker that has a job, in the job's middle; the volumes that are there afterwards.
pub(super) async fn a_worker_is_killed(project: &Project, api: &Api) -> Result<[String; 2]> {
    let volumes = project.volume("volumes").await?;
    let file = volumes.join("large.raw");
    write_volume(&file, LARGE_BYTES)?;
    let volume = take_over(api, &file, "large").await?;
    let backup = api
        .create_backup(json!({"volume_id": volume, "name": "struck"}))
        .await?;
    let before = held(api, &backup, |job| job["mark"].as_u64() > Some(0)).await?;
    let holder = container_of(project, &before).await?;
    project.docker(&["kill", holder.id()]).await?;
    let struck = Instant::now();
    say::good(format_args!(
        "killed {}, which had {} of {} sealed",
        holder.name(),
        say::bytes(before["mark"].as_u64().unwrap_or(0)),
        say::bytes(LARGE_BYTES)
    ));
    let after = held(api, &backup, |job| job["worker"] != before["worker"]).await?;
    say::good(format_args!(
        "{} has it {} s later, generation {}, and goes on from {}",
        container_of(project, &after).await?.name(),
        struck.elapsed().as_secs(),
        after["generation"],
        say::bytes(after["mark"].as_u64().unwrap_or(0))
    ));
    anyhow::ensure!(
        after["mark"].as_u64() >= before["mark"].as_u64(),
        "what was sealed is lost: the mark was {}, and is {}",
        before["mark"],
        after["mark"]
    );
    watch::until_available(api, &backup, "backing up").await?;
    let (restored, copy) = restore(project, api, &backup).await?;
    compare(&file, &copy)?;
    say::good("available; restored, it holds the same bytes");
    project.up(&["--no-deps", "--no-recreate", WORKER]).await?;
    project.are_healthy(&ALL).await?;
    Ok([volume, restored])
}

/// Makes a file of this machine a volume.
async fn take_over(api: &Api, file: &Path, name: &str) -> Result<String> {
    rustix::fs::chown(file, Some(Uid::from_raw(USER)), Some(Gid::from_raw(USER)))
        .with_context(|| format!("give {} away", file.display()))?;
    let source = file
        .file_name()
        .and_then(|name| name.to_str())
        .context("a file has a name")?;
    let volume = api.manage(BACKEND, source, name).await?;
    api.volume_settles(&volume, Some("available")).await?;
    Ok(volume)
}

async fn backup(api: &Api, request: Value) -> Result<Value> {
    let name = request["name"].clone();
    let id = api.create_backup(request).await?;
    let (record, time) = watch::until_available(api, &id, "backing up").await?;
    say::good(format_args!(
        "backup {name} is available after {:.1} s, {} objects",
        time.as_secs_f64(),
        record["object_count"]
    ));
    Ok(record)
}

/// Restores to a new volume; its id and file.
async fn restore(
    project: &Project,
    api: &Api,
    backup: &str,
) -> Result<(String, std::path::PathBuf)> {
    let volume = api.restore(backup, "restored").await?;
    watch::until_available(api, backup, "restoring").await?;
    api.volume_settles(&volume, Some("available")).await?;
    let file = project
        .volume("volumes")
        .await?
        .join(format!("volume-{volume}"));
    Ok((volume, file))
}

/// Waits until a worker has the job of a backup, and the job is as wanted.
pub(super) async fn held(
    api: &Api,
    backup: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let wait = async {
        let mut clock = tokio::time::interval(Duration::from_millis(200));
        loop {
            clock.tick().await;
            match held_job(api, backup).await? {
                Some(job) if job["state"] == "running" && wanted(&job) => return Ok(job),
                Some(_) => {}
                None => anyhow::bail!("the job of backup {backup} is over already"),
            }
        }
    };
    tokio::time::timeout(HOLDER_PATIENCE, wait)
        .await
        .with_context(|| format!("no worker has the job of backup {backup}"))?
}

/// The running container whose worker has a job.
pub(super) async fn container_of(project: &Project, job: &Value) -> Result<Container> {
    let worker = job["worker"]
        .as_str()
        .context("a running job has a worker")?;
    let mut running = project.running(WORKER).await?;
    running.retain(|container| container.worker() == worker);
    running
        .pop()
        .with_context(|| format!("no container runs {worker}"))
}
