//! The deployment under test: the sources as they are in this tree, laid out beside it, and `docker-compose.yml` brought up
//! from there. So the logins that `deploy/make-secrets.sh` makes are not the user's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::process::Command;

use super::engine::Engine;
use crate::files::{self, ScratchDir};
use crate::stage::{answer, succeed};
use crate::{build, say};

/// Compose's name for all of it.
const NAME: &str = "emberkeep-test";

/// Beside the file of users. Builds use this machine's network, since the engine's leads nowhere. Jobs are to last long
/// enough to be struck in their middle, and there are more backups than a project has by default.
const OVERRIDE: &str = "\
services:
  init-target: { build: { network: host } }
  api-service:
    build: { network: host }
    environment: { EMBERKEEP__BACKUP__COMPRESSION: zlib, EMBERKEEP__QUOTA__BACKUPS: '-1' }
  backup-worker:
    build: { network: host }
    environment: { EMBERKEEP__BACKUP__COMPRESSION: zlib }
";

/// How long services may take until they are healthy.
const HEALTHY_PATIENCE: Duration = Duration::from_secs(180);

/// The services and how many containers of each.
pub(super) const ALL: [(&str, usize); 4] = [
    ("rabbitmq", 1),
    ("postgres", 1),
    ("api-service", 1),
    (WORKER, WORKERS),
];
pub(super) const WORKER: &str = "backup-worker";
pub(super) const WORKERS: usize = 3;

/// The deployment.
#[derive(Debug)]
pub(super) struct Project {
    engine: Engine,
    program: PathBuf,
    source: PathBuf,
    api_port: u16,
    management_port: u16,
    /// Of the images that are started next.
    pub(super) tag: &'static str,
}

impl Project {
    /// Lays it out. Nothing is started.
    pub(super) fn new(engine: Engine, program: PathBuf, scratch: &ScratchDir) -> Result<Self> {
        let source = scratch.path().join("source");
        let workspace = build::workspace();
        let ignored = std::fs::read_to_string(workspace.join(".dockerignore"))
            .context("read .dockerignore")?;
        let ignored: Vec<&str> = ignored.lines().collect();
        copy(&workspace, &source, Path::new(""), &ignored)?;
        std::fs::write(source.join("compose.test.yml"), OVERRIDE).context("write an override")?;
        let [api_port, management_port] = files::free_high_ports()?;
        Ok(Self {
            engine,
            program,
            source,
            api_port,
            management_port,
            tag: "n-1",
        })
    }

    /// Where the API is.
    pub(super) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.api_port)
    }

    /// Where the broker's management API is.
    pub(super) fn management(&self) -> String {
        format!("http://127.0.0.1:{}", self.management_port)
    }

    /// A file of the layout.
    pub(super) fn read(&self, path: &str) -> Result<String> {
        std::fs::read_to_string(self.source.join(path)).with_context(|| format!("read {path}"))
    }

    /// Makes the logins, as a user does.
    pub(super) async fn make_secrets(&self) -> Result<()> {
        let mut command = Command::new("deploy/make-secrets.sh");
        command.current_dir(&self.source);
        succeed(command).await
    }

    /// Runs `docker-compose` with its output shown.
    pub(super) async fn compose(&self, arguments: &[&str]) -> Result<()> {
        say::shown(format_args!("docker-compose {}", arguments.join(" ")));
        succeed(self.command(arguments)).await
    }

    /// `docker-compose up -d` with all workers.
    pub(super) async fn up(&self, more: &[&str]) -> Result<()> {
        let scale = format!("{WORKER}={WORKERS}");
        self.compose(&[&["up", "--detach", "--scale", &scale], more].concat())
            .await
    }

    /// What a `docker` command says.
    pub(super) async fn docker(&self, arguments: &[&str]) -> Result<String> {
        self.engine.ask(arguments).await
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.engine.prepare(Command::new(&self.program));
        command
            .args(["--project-name", NAME, "--progress", "quiet"])
            .args(["--file", "docker-compose.yml", "--file", "compose.test.yml"])
            .args(arguments)
            .current_dir(&self.source)
            .env("API", format!("127.0.0.1:{}", self.api_port))
            .env(
                "RABBITMQ_MANAGEMENT",
                format!("127.0.0.1:{}", self.management_port),
            )
            .env("EMBERKEEP_TAG", self.tag)
            .env_remove("BACKUPS")
            .env_remove("VOLUMES")
            .env_remove("COMPOSE_FILE")
            .env_remove("COMPOSE_PROFILES");
        command
    }

    /// Where a named volume's files are on this machine.
    pub(super) async fn volume(&self, name: &str) -> Result<PathBuf> {
        let name = format!("{NAME}_{name}");
        let place = self
            .docker(&["volume", "inspect", "--format", "{{.Mountpoint}}", &name])
            .await?;
        Ok(PathBuf::from(place.trim()))
    }

    /// All containers of the deployment, running or not.
    pub(super) async fn containers(&self) -> Result<Vec<Container>> {
        let ids = self
            .docker(&["ps", "--all", "--quiet", "--no-trunc"])
            .await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<&str> = ids.lines().collect();
        let found = self.docker(&[&["inspect"], &ids[..]].concat()).await?;
        let found: Vec<Value> =
            serde_json::from_str(&found).context("understand docker inspect")?;
        Ok(found.into_iter().map(Container).collect())
    }

    /// The running containers of a service.
    pub(super) async fn running(&self, service: &str) -> Result<Vec<Container>> {
        let mut all = self.containers().await?;
        all.retain(|container| container.service() == service && container.runs());
        Ok(all)
    }

    /// Waits until so many containers of each of these services are healthy.
    pub(super) async fn are_healthy(&self, wanted: &[(&str, usize)]) -> Result<()> {
        let wait = async {
            let mut clock = tokio::time::interval(Duration::from_millis(500));
            loop {
                clock.tick().await;
                let all = self.containers().await?;
                let are = wanted.iter().all(|(service, count)| {
                    let healthy =
                        |found: &&Container| found.service() == *service && found.is_healthy();
                    all.iter().filter(healthy).count() == *count
                });
                if are {
                    return Ok(());
                }
            }
        };
        let waited = tokio::time::timeout(HEALTHY_PATIENCE, wait).await;
        waited.unwrap_or_else(|_| {
            let wanted: Vec<_> = wanted
                .iter()
                .map(|(name, count)| format!("{count} {name}"))
                .collect();
            anyhow::bail!("these do not all become healthy: {}", wanted.join(", "))
        })
    }

    /// What the services said last, for a test that went wrong.
    pub(super) async fn show_logs(&self) {
        let _ = self.compose(&["ps", "--all"]).await;
        let logs = self.command(&["logs", "--no-color", "--tail", "12"]);
        match answer(logs).await {
            Ok(logs) => say::shown(logs),
            Err(error) => say::line(format_args!("no logs are to be had: {error:#}")),
        }
    }

    /// Removes everything, and ends the engine.
    pub(super) async fn end(self) -> Result<()> {
        self.compose(&["down", "--volumes", "--timeout", "5"])
            .await?;
        self.engine.stop().await
    }
}

/// What Docker tells of a container.
#[derive(Debug)]
pub(super) struct Container(pub(super) Value);

impl Container {
    pub(super) fn id(&self) -> &str {
        self.text("/Id")
    }

    /// Its service in `docker-compose.yml`.
    pub(super) fn service(&self) -> &str {
        self.text("/Config/Labels/com.docker.compose.service")
    }

    /// `emberkeep-test-backup-worker-1`.
    pub(super) fn name(&self) -> &str {
        self.text("/Name").trim_start_matches('/')
    }

    /// The image it was made from, as it was named.
    pub(super) fn image(&self) -> &str {
        self.text("/Config/Image")
    }

    /// The name of the worker in it.
    pub(super) fn worker(&self) -> String {
        format!("worker-{}", self.text("/Config/Hostname"))
    }

    /// In a word or two, for people.
    pub(super) fn state(&self) -> String {
        match self.text("/State/Health/Status") {
            "" => format!(
                "{} ({})",
                self.text("/State/Status"),
                self.0["State"]["ExitCode"]
            ),
            health => health.to_owned(),
        }
    }

    pub(super) fn runs(&self) -> bool {
        self.0["State"]["Running"] == true
    }

    fn is_healthy(&self) -> bool {
        self.runs() && self.text("/State/Health/Status") == "healthy"
    }

    fn text(&self, pointer: &str) -> &str {
        let value = self.0.pointer(pointer);
        value.and_then(Value::as_str).unwrap_or_default()
    }
}

/// Copies a folder, without what Docker ignores. Modes are kept: what they are is part of what Docker knows a file by.
fn copy(from: &Path, to: &Path, below: &Path, ignored: &[&str]) -> Result<()> {
    let modes = from.metadata().map(|from| from.permissions());
    std::fs::create_dir_all(to)
        .and_then(|()| std::fs::set_permissions(to, modes?))
        .with_context(|| format!("make {}", to.display()))?;
    let entries = std::fs::read_dir(from).with_context(|| format!("list {}", from.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("list {}", from.display()))?;
        let name = below.join(entry.file_name());
        if ignored.iter().any(|ignored| Path::new(ignored) == name) {
            continue;
        }
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &copied, &name, ignored)?;
        } else {
            std::fs::copy(&path, &copied).with_context(|| format!("copy {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_docker_ignores_is_not_laid_out_and_programs_stay_programs() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::create_dir_all(from.join("deploy/secrets")).unwrap();
        std::fs::create_dir_all(from.join("target")).unwrap();
        std::fs::create_dir_all(from.join("deploy/target")).unwrap();
        let program = from.join("deploy/target/run.sh");
        std::fs::write(&program, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        copy(&from, &to, Path::new(""), &["target", "deploy/secrets"]).unwrap();
        assert!(!to.join("target").exists() && !to.join("deploy/secrets").exists());
        let copied = to.join("deploy/target/run.sh").metadata().unwrap();
        assert_eq!(copied.permissions().mode() & 0o777, 0o755);
    }
}
