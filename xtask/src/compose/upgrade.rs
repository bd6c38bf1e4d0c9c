//! One service after the other gets the next image while jobs run, as docs/operations.md tells it. Then all is taken down and
//! up again.
//!
//! There is one version of the sources here, so both images are of it: what is shown is the way, not that two versions
//! understand each other.

use anyhow::{Context as _, Result};
use reqwest::Method;
use serde_json::{Value, json};

use super::project::{ALL, Container, Project, WORKER, WORKERS};
use super::story::held;
use crate::chaos::held_job;
use crate::demo::api::Api;
use crate::demo::watch;
use crate::say;

/// The next image's tag.
const NEXT: &str = "n";

/// Replaces the api-service, then worker by worker.
pub(super) async fn one_at_a_time(
    project: &mut Project,
    api: &Api,
    volumes: &[String],
) -> Result<()> {
    for image in ["api-service", WORKER] {
        let (old, new) = (
            format!("emberkeep/{image}:{}", project.tag),
            format!("emberkeep/{image}:{NEXT}"),
        );
        project.docker(&["tag", &old, &new]).await?;
    }
    let mut load = Load::of(volumes);
    load.keep_up(api).await?;
    project.tag = NEXT;
    project
        .compose(&["up", "--detach", "--no-deps", "api-service"])
        .await?;
    project.are_healthy(&ALL).await?;
    for job in load.running(api).await? {
        anyhow::ensure!(
            job["generation"] == 1,
            "a job was taken from its worker: {job}"
        );
    }
    say::good("the api-service was replaced, and jobs stayed with their workers");
    let mut stopped_at_work = 0;
    while let Some((old, has_job)) = next_old(project, api, &mut load).await? {
        project.docker(&["stop", old.id()]).await?;
        project.docker(&["rm", old.id()]).await?;
        project.up(&["--no-deps", "--no-recreate", WORKER]).await?;
        project.are_healthy(&ALL).await?;
        stopped_at_work += u32::from(has_job);
        say::good(format_args!(
            "{} was replaced{}",
            old.name(),
            if has_job {
                ", in the middle of a job"
            } else {
                ""
            }
        ));
    }
    anyhow::ensure!(
        stopped_at_work > 0,
        "no worker had a job when it was replaced"
    );
    load.ends_well(api).await?;
    for service in ["api-service", WORKER] {
        for container in project.running(service).await? {
            let image = container.image();
            anyhow::ensure!(
                image.ends_with(&format!(":{NEXT}")),
                "{} still has {image}",
                container.name()
            );
        }
    }
    Ok(())
}

/// A worker with the image of before, one with a job first, and whether it has one.
async fn next_old(
    project: &Project,
    api: &Api,
    load: &mut Load,
) -> Result<Option<(Container, bool)>> {
    let mut old = project.running(WORKER).await?;
    old.retain(|container| !container.image().ends_with(&format!(":{NEXT}")));
    if old.is_empty() {
        return Ok(None);
    }
    load.keep_up(api).await?;
    let jobs = load.running(api).await?;
    let mut old: Vec<_> = old
        .into_iter()
        .map(|container| {
            let worker = container.worker();
            let has_job = jobs.iter().any(|job| job["worker"] == worker.as_str());
            (container, has_job)
        })
        .collect();
    old.sort_by_key(|(_, has_job)| *has_job);
    Ok(old.pop())
}

/// Backups that follow each other, one of each volume at any time.
struct Load {
    volumes: Vec<(String, Option<String>)>,
    all: Vec<String>,
}

impl Load {
    fn of(volumes: &[String]) -> Self {
        Self {
            volumes: volumes
                .iter()
                .map(|volume| (volume.clone(), None))
                .collect(),
            all: Vec::new(),
        }
    }

    /// Begins the next backup of every volume whose last one is over, and waits until a worker has it.
    async fn keep_up(&mut self, api: &Api) -> Result<()> {
        for (volume, last) in &mut self.volumes {
            if let Some(last) = last
                && held_job(api, last).await?.is_some()
            {
                continue;
            }
            api.volume_settles(volume, Some("available")).await?;
            let name = format!("load-{}", self.all.len() + 1);
            let backup = api
                .create_backup(json!({"volume_id": volume, "name": name}))
                .await?;
            held(api, &backup, |_| true).await?;
            self.all.push(backup.clone());
            *last = Some(backup);
        }
        Ok(())
    }

    /// The jobs that are not over.
    async fn running(&self, api: &Api) -> Result<Vec<Value>> {
        let mut jobs = Vec::new();
        for last in self.volumes.iter().filter_map(|(_, last)| last.as_ref()) {
            jobs.extend(held_job(api, last).await?);
        }
        Ok(jobs)
    }

    /// Every one of them became available.
    async fn ends_well(&self, api: &Api) -> Result<()> {
        for backup in &self.all {
            watch::until_available(api, backup, "backing up").await?;
        }
        say::good(format_args!(
            "all {} backups that ran meanwhile are available",
            self.all.len()
        ));
        Ok(())
    }
}

/// Takes everything down with a job waiting, and up again.
pub(super) async fn down_and_up(project: &Project, api: &Api, volume: &str) -> Result<()> {
    let before = backups(api).await?;
    project.compose(&["stop", WORKER]).await?;
    let waiting = api
        .create_backup(json!({"volume_id": volume, "name": "waiting"}))
        .await?;
    let queues = queues(project).await?;
    anyhow::ensure!(!queues.is_empty(), "the broker has no durable queue");
    project.compose(&["down"]).await?;
    anyhow::ensure!(
        project.containers().await?.is_empty(),
        "containers are left"
    );
    say::good("all was taken down, with a job that waits for a worker");

    project
        .compose(&["up", "--detach", "rabbitmq", "postgres"])
        .await?;
    project.are_healthy(&ALL[..2]).await?;
    let kept = self::queues(project).await?;
    anyhow::ensure!(
        kept == queues,
        "the broker's queues are {kept:?}, and were {queues:?}"
    );
    say::good(format_args!(
        "the broker kept its {} durable queues",
        kept.len()
    ));
    project.up(&[]).await?;
    project.are_healthy(&ALL).await?;
    watch::until_available(api, &waiting, "backing up").await?;
    let mut after = backups(api).await?;
    after.retain(|line| !line.contains(&waiting));
    anyhow::ensure!(
        after == before,
        "the backups are {after:#?}, and were {before:#?}"
    );
    say::good(format_args!(
        "up again: {} backups as before, and the one that waited is available",
        before.len()
    ));
    anyhow::ensure!(
        project.running(WORKER).await?.len() == WORKERS,
        "workers are missing"
    );
    Ok(())
}

/// Id and status of every backup, sorted.
async fn backups(api: &Api) -> Result<Vec<String>> {
    let answer = api.call(Method::GET, "backups/detail", Value::Null).await?;
    let backups = answer.body["backups"]
        .as_array()
        .context("a list of backups")?;
    let mut lines: Vec<_> = backups
        .iter()
        .map(|backup| format!("{} {}", backup["id"], backup["status"]))
        .collect();
    lines.sort();
    Ok(lines)
}

/// Names of the broker's queues that outlive it, sorted.
async fn queues(project: &Project) -> Result<Vec<String>> {
    let broker = project.running("rabbitmq").await?;
    let broker = broker.first().context("no broker runs")?;
    let list = [
        "exec",
        broker.id(),
        "rabbitmqctl",
        "--quiet",
        "list_queues",
        "--no-table-headers",
    ];
    let list = project
        .docker(&[&list[..], &["name", "durable", "exclusive"]].concat())
        .await?;
    // Of a quorum queue it does not say whether it is exclusive: none is.
    let is_kept = |line: &&str| line.contains("\ttrue\t") && !line.ends_with("\ttrue");
    let mut names: Vec<_> = list
        .lines()
        .filter(is_kept)
        .filter_map(|line| line.split('\t').next().map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}
