//! `test --compose`: `docker-compose.yml` brought up for real, and what it promises looked at.
//!
//! ```text
//! engine.rs    a Docker engine of our own
//! images.rs    the images ours are built on: pulled, or made here
//! project.rs   the deployment: docker-compose, its containers and volumes
//! checks.rs    the broker's users, the containers' rights
//! story.rs     a volume is backed up, lost and brought back; a worker is killed on the way
//! upgrade.rs   one service after the other gets a new image while jobs run; all is taken down and up again
//! ```

mod checks;
mod engine;
mod images;
mod project;
mod story;
mod upgrade;

use std::path::PathBuf;

use anyhow::Result;

use crate::build::target_dir;
use crate::demo::api::Api;
use crate::files::ScratchDir;
use crate::stage::Stages;
use crate::{python, say};
use engine::Engine;
use project::{ALL, Project};

/// The order in which a user would go through it.
const PLAN: [&str; 10] = [
    "docker",
    "base images",
    "images",
    "up",
    "users and rights",
    "backup and restore",
    "a worker is killed",
    "upgrade",
    "down and up",
    "end",
];

/// Says what will be done to this machine.
///
/// # Errors
/// When it cannot be done to it by this user.
pub fn introduce() -> Result<()> {
    say::line(
        "This builds the images of docker-compose.yml, starts all of it, and lives through its days: a backup, a killed",
    );
    say::line(
        "worker, an upgrade. It does so in a Docker engine of its own, which ends with it; one that runs here is not touched.",
    );
    say::line(
        "Its images stay in your cache (about 4 GiB). Images that cannot be pulled are made from Debian's packages.",
    );
    anyhow::ensure!(
        rustix::process::geteuid().is_root(),
        "a Docker engine needs root: become it, with cargo in its PATH, and type this again"
    );
    Ok(())
}

/// Brings it up, tells the story, takes it down.
///
/// # Errors
/// When any of it does not come true.
pub async fn run(may_install: bool) -> Result<()> {
    let mut stages = Stages::new(PLAN.to_vec());
    let scratch = ScratchDir::new(&target_dir().await?, "compose")?;
    let (engine, program) = stages.run(start(may_install)).await?;
    stages.run(images::ensure(&engine, &scratch)).await?;
    let mut project = Project::new(engine, program, &scratch)?;
    let told = tell(&mut stages, &mut project, &scratch).await;
    match told {
        Ok(()) => stages.run(project.end()).await?,
        Err(error) => {
            project.show_logs().await;
            project.end().await?;
            return Err(error);
        }
    }
    say::heading("All of it came true.");
    Ok(())
}

async fn start(may_install: bool) -> Result<(Engine, PathBuf)> {
    let programs = python::COMPOSE.ensure(may_install).await?;
    let engine = Engine::start(&python::cache().await?).await?;
    let version = engine
        .ask(&["version", "--format", "{{.Server.Version}}"])
        .await?;
    say::good(format_args!(
        "dockerd {} runs, on a socket of its own",
        version.trim()
    ));
    Ok((engine, PathBuf::from(programs).join("docker-compose")))
}

async fn tell(stages: &mut Stages, project: &mut Project, scratch: &ScratchDir) -> Result<()> {
    stages.run(build(project)).await?;
    stages.run(up(project)).await?;
    stages.run(checks::users_and_rights(project)).await?;
    let api = Api::new(&project.endpoint())?;
    let backed_up = story::backup_and_restore(project, &api, scratch.path());
    stages.run(backed_up).await?;
    let volumes = stages.run(story::a_worker_is_killed(project, &api)).await?;
    stages
        .run(upgrade::one_at_a_time(project, &api, &volumes))
        .await?;
    stages
        .run(upgrade::down_and_up(project, &api, &volumes[0]))
        .await
}

/// One image after the other: the second finds the programs built.
async fn build(project: &Project) -> Result<()> {
    for service in ["api-service", "backup-worker", "init-target"] {
        project.compose(&["build", service]).await?;
    }
    Ok(())
}

async fn up(project: &Project) -> Result<()> {
    project.make_secrets().await?;
    project.up(&[]).await?;
    project.are_healthy(&ALL).await?;
    for container in project.containers().await? {
        say::good(format_args!("{}: {}", container.name(), container.state()));
    }
    checks::metrics_answer(project).await
}
