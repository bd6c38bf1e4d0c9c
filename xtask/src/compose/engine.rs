//! A Docker engine of our own: its socket, images, networks and containers are nobody else's, so that one that runs on this
//! machine is not touched. It sets no firewall rules, and what runs in it reaches nothing outside.
//!
//! ```text
//! CACHE/docker/                        images and layers, kept for the next time
//! /run/emberkeep-docker-HASH/          the socket, and what lives only while it runs; the hash is the cache's
//! ```

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::mount::UnmountFlags;
use rustix::process::Signal;
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use crate::files;
use crate::process::Process;
use crate::stage::answer;

/// How long it may take to start.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// How long it may take to stop: containers have their own time for that.
const STOP_PATIENCE: Duration = Duration::from_secs(90);

/// A running engine. It is ended when this is dropped, with all containers in it.
#[derive(Debug)]
pub(super) struct Engine {
    docker: PathBuf,
    run: PathBuf,
    daemon: Process,
    /// Goes with the file.
    _lock: File,
}

impl Engine {
    /// Starts it, and removes what an earlier one that was killed has left in it.
    ///
    /// # Errors
    /// When it is in use, or does not come up.
    pub(super) async fn start(cache: &Path) -> Result<Self> {
        let data = cache.join("docker");
        files::make_private_dir(&data)?;
        let lock = File::create(cache.join("docker.lock")).context("make a lock")?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                anyhow::bail!("another `cargo xtask test --compose` runs")
            }
            Err(TryLockError::Error(error)) => return Err(error).context("take the lock"),
        }
        // The same place each time: so the daemon finds containers that outlived a killed one, and ends them.
        let name = hex::encode(&Sha256::digest(data.as_os_str().as_encoded_bytes())[..4]);
        let run = PathBuf::from(format!("/run/emberkeep-docker-{name}"));
        files::make_private_dir(&run)?;
        let daemon = launch(&data, &run)?;
        let engine = Self {
            docker: files::find_program("docker").context("`docker` is not installed")?,
            run,
            daemon,
            _lock: lock,
        };
        engine.wait_until_up().await?;
        engine.clear().await?;
        Ok(engine)
    }

    /// A `docker` command of this engine.
    pub(super) fn docker(&self, arguments: &[&str]) -> Command {
        let mut command = self.prepare(Command::new(&self.docker));
        command.args(arguments);
        command
    }

    /// What a `docker` command says.
    pub(super) async fn ask(&self, arguments: &[&str]) -> Result<String> {
        answer(self.docker(arguments)).await
    }

    /// Lets a command speak to this engine and no other, and know nothing of the user's settings and plug-ins.
    pub(super) fn prepare(&self, mut command: Command) -> Command {
        command
            .env("DOCKER_HOST", format!("unix://{}", self.socket().display()))
            .env("DOCKER_CONFIG", self.run.join("config"))
            .env("DOCKER_BUILDKIT", "0")
            .env_remove("DOCKER_CONTEXT")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Ends it in good order.
    pub(super) async fn stop(self) -> Result<()> {
        self.clear().await?;
        self.daemon
            .stop(STOP_PATIENCE)
            .await
            .context("stop dockerd")?;
        Ok(())
    }

    fn socket(&self) -> PathBuf {
        self.run.join("docker.sock")
    }

    async fn wait_until_up(&self) -> Result<()> {
        let up = async {
            let mut clock = tokio::time::interval(Duration::from_millis(200));
            loop {
                clock.tick().await;
                let asked = self.ask(&["version", "--format", "{{.Server.Version}}"]);
                if asked.await.is_ok() {
                    return;
                }
            }
        };
        let log = self.run.join("dockerd.log");
        tokio::select! {
            up = tokio::time::timeout(START_PATIENCE, up) => up.context("dockerd takes too long to start"),
            () = self.daemon.gone() => Err(anyhow::anyhow!("dockerd ended while it was starting")),
        }
        .with_context(|| format!("see {}, which ends:\n{}", log.display(), files::tail(&log, 8)))
    }

    /// Removes all containers, their networks and volumes.
    async fn clear(&self) -> Result<()> {
        let containers = self.ask(&["ps", "--all", "--quiet"]).await?;
        let containers: Vec<&str> = containers.lines().collect();
        if !containers.is_empty() {
            let remove = [&["rm", "--force", "--volumes"], &containers[..]].concat();
            self.ask(&remove).await?;
        }
        let volumes = self.ask(&["volume", "ls", "--quiet"]).await?;
        let volumes: Vec<&str> = volumes.lines().collect();
        if !volumes.is_empty() {
            let remove = [&["volume", "rm", "--force"], &volumes[..]].concat();
            self.ask(&remove).await?;
        }
        self.ask(&["network", "prune", "--force"]).await.map(|_| ())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.daemon.is_alive() {
            // Nobody waits for containers to end in good order here.
            let mut kill = std::process::Command::new("sh");
            kill.args(["-c", "\"$0\" kill $(\"$0\" ps --quiet)"])
                .arg(&self.docker)
                .env("DOCKER_HOST", format!("unix://{}", self.socket().display()))
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let _ = kill.status();
            let _ = self.daemon.signal(Signal::TERM);
            for _ in 0..300 {
                if !self.daemon.is_alive() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            self.daemon.kill_now();
        }
        // Network namespaces stay mounted after it.
        let namespaces = std::fs::read_dir(self.run.join("exec/netns"));
        for namespace in namespaces.into_iter().flatten().flatten() {
            let _ = rustix::mount::unmount(namespace.path(), UnmountFlags::DETACH);
        }
        let _ = std::fs::remove_dir_all(&self.run);
    }
}

/// Starts the daemon; it is asked to end when the thread that starts it does.
fn launch(data: &Path, run: &Path) -> Result<Process> {
    let dockerd = files::find_program("dockerd").context("`dockerd` is not installed")?;
    let at = |option: &str, path: PathBuf| format!("--{option}={}", path.display());
    let arguments = [
        "--pdeathsig=TERM".to_owned(),
        dockerd.display().to_string(),
        format!("--host=unix://{}", run.join("docker.sock").display()),
        at("data-root", data.to_owned()),
        at("exec-root", run.join("exec")),
        at("pidfile", run.join("dockerd.pid")),
        // A containerd that runs already may be used, never another's containers in it.
        "--containerd-namespace=emberkeep-xtask".to_owned(),
        "--containerd-plugins-namespace=emberkeep-xtask-plugins".to_owned(),
        // The firewall and the default bridge are the machine's.
        "--bridge=none".to_owned(),
        "--iptables=false".to_owned(),
        "--ip6tables=false".to_owned(),
        "--ip-forward=false".to_owned(),
        "--ip-masq=false".to_owned(),
    ];
    let arguments: Vec<_> = arguments.iter().map(AsRef::as_ref).collect();
    let log = run.join("dockerd.log");
    Process::spawn_detached(Path::new("setpriv"), &arguments, &log, |_| ())
}
