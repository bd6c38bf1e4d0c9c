//! A whole Emberkeep on this machine: broker, api-service and workers below one folder.
//!
//! ```text
//! DIR/stack.json      where everything is, and the processes: for scripts, for tests, for `down`
//!     emberkeep.toml  the configuration both services read
//!     logs/           one file for each process
//!     rabbitmq/       the private broker, unless one was given
//!     database/  volumes/  backups/
//! ```

mod state;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use serde::Deserialize;
use tokio::time::Instant;

use crate::build::Binaries;
use crate::files;
use crate::process::{Ended, Process};
use crate::rabbitmq::Node;

pub use state::{Broker, Options, State};

/// The api-service among a stack's processes.
pub const API_SERVICE: &str = "api-service";
const RABBITMQ: &str = "rabbitmq";
const EPMD: &str = "epmd";

/// How long the services may take until they answer.
const READY_PATIENCE: Duration = Duration::from_secs(120);
/// How long they may take to end in good order; a worker gives its jobs 20 s by default.
const END_PATIENCE: Duration = Duration::from_secs(40);

/// A running stack. Its processes are killed when this is dropped, unless [`Stack::live_on`] was called.
#[derive(Debug)]
pub struct Stack {
    dir: PathBuf,
    state: State,
    binaries: Binaries,
    node: Option<Node>,
    processes: BTreeMap<String, Process>,
    lives_on: bool,
}

impl Stack {
    /// Starts a stack and returns when it is ready: broker and database are up, and every worker was seen.
    ///
    /// # Errors
    /// When one runs from this folder already, or a part does not start.
    pub async fn up(options: Options, binaries: Binaries) -> Result<Self> {
        files::make_private_dir(&options.dir)?;
        let dir = options
            .dir
            .canonicalize()
            .with_context(|| format!("find {}", options.dir.display()))?;
        let running = State::read(&dir)?
            .is_some_and(|state| state.processes().values().any(|p| p.is_alive()));
        anyhow::ensure!(
            !running,
            "a stack runs from {dir} already; end it with `cargo xtask down --dir {dir}`",
            dir = dir.display()
        );
        for folder in ["logs", "database", "volumes", "backups"] {
            files::make_private_dir(&dir.join(folder))?;
        }
        let (node, amqp_url) = match options.broker {
            Broker::Private => {
                let node = Node::start(&dir.join("rabbitmq")).await?;
                let url = node.amqp_url();
                (Some(node), url)
            }
            Broker::Given { amqp_url } => (None, amqp_url),
        };
        let listen = match options.listen {
            Some(address) if address.port() != 0 => address,
            Some(address) => SocketAddr::new(address.ip(), files::free_address()?.port()),
            None => files::free_address()?,
        };
        let mut config = state::configuration(&dir, &amqp_url, listen, options.settings)?;
        let value = |key: &str| config.get(key).unwrap_or_default().to_owned();
        let state = State {
            endpoint: format!("http://{}", value("api.listen")),
            amqp_url: value("amqp.url"),
            management_url: node.as_ref().map(Node::management_url),
            database_url: value("database.url"),
            volumes_path: value("volume_backends.local.path").into(),
            backups_path: value("backup.path").into(),
            config: dir.join("emberkeep.toml"),
            logs: dir.join("logs"),
            pids: BTreeMap::new(),
            start_ticks: BTreeMap::new(),
        };
        files::write_private(&state.config, &config.to_toml())?;
        let mut stack = Self {
            dir,
            state,
            binaries,
            node,
            processes: BTreeMap::new(),
            lives_on: false,
        };
        stack.save()?;
        let target_id = stack.init_target().await?;
        if config.get("backup.target_id").is_none() {
            // From now on another directory in this one's place is refused.
            config.set("backup.target_id", target_id);
            files::write_private(&stack.state.config, &config.to_toml())?;
        }
        stack.start_api()?;
        for number in 1..=options.workers {
            stack.start_worker(number)?;
        }
        stack.wait_until_ready().await?;
        Ok(stack)
    }

    /// What `stack.json` says now.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The private broker, to stop it, kill it or start it again.
    #[must_use]
    pub fn node_mut(&mut self) -> Option<&mut Node> {
        self.node.as_mut()
    }

    /// A process by its name.
    #[must_use]
    pub fn process(&self, name: &str) -> Option<Process> {
        self.processes.get(name).copied()
    }

    /// Lets the stack run on after this value is dropped and this process has ended.
    pub fn live_on(&mut self) {
        self.lives_on = true;
        if let Some(node) = &mut self.node {
            node.live_on();
        }
    }

    /// Starts the api-service, again after it was ended.
    ///
    /// # Errors
    /// When the process cannot be made.
    pub fn start_api(&mut self) -> Result<Process> {
        let program = self.binaries.api_service.clone();
        self.start(API_SERVICE, &program, &[])
    }

    /// Starts `backup-worker-NUMBER`, whose worker name is `worker-NUMBER`, again after it was ended.
    ///
    /// # Errors
    /// When the process cannot be made.
    pub fn start_worker(&mut self, number: u32) -> Result<Process> {
        let program = self.binaries.backup_worker.clone();
        let name = ("EMBERKEEP__WORKER__NAME", format!("worker-{number}"));
        self.start(&format!("backup-worker-{number}"), &program, &[name])
    }

    /// Waits until the API says that it is ready and has seen every worker that runs.
    ///
    /// # Errors
    /// When that takes too long, or a process ends instead.
    pub async fn wait_until_ready(&self) -> Result<()> {
        #[derive(Deserialize)]
        struct Readiness {
            ready: bool,
            workers: Vec<String>,
        }
        let expected: Vec<String> = self
            .processes
            .keys()
            .filter_map(|name| name.strip_prefix("backup-").map(str::to_owned))
            .collect();
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(5))
            .build()
            .context("make an HTTP client")?;
        let url = format!("{}/readyz", self.state.endpoint);
        let deadline = Instant::now() + READY_PATIENCE;
        let mut last_answer = String::from("none");
        let mut clock = tokio::time::interval(Duration::from_millis(50));
        loop {
            clock.tick().await;
            for (name, process) in &self.processes {
                anyhow::ensure!(process.is_alive(), "{name} ended; {}", self.log_of(name));
            }
            if let Ok(answer) = client.get(&url).send().await
                && let Ok(text) = answer.text().await
            {
                if let Ok(Readiness {
                    ready: true,
                    workers,
                }) = serde_json::from_str(&text)
                    && expected.iter().all(|name| workers.contains(name))
                {
                    return Ok(());
                }
                last_answer = text;
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "not ready after {} s: {url} says {last_answer}; {}",
                READY_PATIENCE.as_secs(),
                self.log_of(API_SERVICE)
            );
        }
    }

    /// Ends everything in good order: workers and API together, then the broker. The files stay.
    ///
    /// # Errors
    /// When a process does not go.
    pub async fn down(mut self) -> Result<()> {
        end(&self.dir, &self.processes, self.node.as_mut())
            .await
            .map(|_| ())
    }

    /// Prepares the backup target; returns its id.
    async fn init_target(&self) -> Result<String> {
        let output = tokio::process::Command::from(self.command(&self.binaries.backup_worker))
            .arg("init-target")
            .output()
            .await
            .context("start `backup-worker init-target`")?;
        anyhow::ensure!(
            output.status.success(),
            "`backup-worker init-target` failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let id = String::from_utf8(output.stdout).context("the target's id is text")?;
        Ok(id.trim().to_owned())
    }

    fn command(&self, program: &Path) -> std::process::Command {
        let mut command = std::process::Command::new(program);
        command.arg("--config").arg(&self.state.config);
        forget_overrides(&mut command);
        command
    }

    fn start(
        &mut self,
        name: &str,
        program: &Path,
        environment: &[(&str, String)],
    ) -> Result<Process> {
        let config = self.state.config.clone();
        let arguments = [OsStr::new("--config"), config.as_os_str()];
        let log = self.state.logs.join(format!("{name}.log"));
        let dir = self.dir.clone();
        let process = Process::spawn_detached(program, &arguments, &log, |command| {
            forget_overrides(command);
            command.current_dir(dir).envs(environment.iter().cloned());
        })?;
        self.processes.insert(name.to_owned(), process);
        self.save()?;
        Ok(process)
    }

    fn save(&mut self) -> Result<()> {
        let mut all = self.processes.clone();
        if let Some(node) = &self.node {
            all.extend(node.server().map(|server| (RABBITMQ.to_owned(), server)));
            all.extend(node.epmd().map(|epmd| (EPMD.to_owned(), epmd)));
        }
        self.state.note(&all);
        self.state.write(&self.dir)
    }

    fn log_of(&self, name: &str) -> String {
        let log = self.state.logs.join(format!("{name}.log"));
        format!(
            "see {}, which ends:\n{}",
            log.display(),
            files::tail(&log, 15)
        )
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if !self.lives_on {
            for process in self.processes.values() {
                process.kill_now();
            }
        }
    }
}

/// Ends the stack of a folder, whoever started it. Tells how each process went, by name.
///
/// # Errors
/// When no stack was started from there, or a process does not go.
pub async fn down(dir: &Path) -> Result<Vec<(String, Ended)>> {
    let state = State::read(dir)?
        .with_context(|| format!("no stack was started from {}", dir.display()))?;
    let mut node = Node::open(&dir.join("rabbitmq"))?;
    let mut services = state.processes();
    services.retain(|name, _| name != RABBITMQ && name != EPMD);
    end(dir, &services, node.as_mut()).await
}

async fn end(
    dir: &Path,
    services: &BTreeMap<String, Process>,
    node: Option<&mut Node>,
) -> Result<Vec<(String, Ended)>> {
    let mut ended = Vec::new();
    let asked: Vec<bool> = services
        .values()
        .map(|process| process.signal(Signal::TERM))
        .collect();
    let deadline = Instant::now() + END_PATIENCE;
    for ((name, process), asked) in services.iter().zip(asked) {
        let left = deadline.saturating_duration_since(Instant::now());
        let how = if !asked && !process.is_alive() {
            Ended::Already
        } else if asked && process.gone_within(left).await {
            Ended::Asked
        } else {
            process
                .kill()
                .await
                .with_context(|| format!("end {name}"))?;
            Ended::Killed
        };
        ended.push((name.clone(), how));
    }
    if let Some(node) = node {
        let how = match node.server() {
            Some(server) if server.is_alive() => Ended::Asked,
            Some(_) | None => Ended::Already,
        };
        node.stop().await?;
        ended.push((RABBITMQ.to_owned(), how));
    }
    if let Some(mut state) = State::read(dir)? {
        state.note(&BTreeMap::new());
        state.write(dir)?;
    }
    Ok(ended)
}

/// The file says it all: what the caller's shell sets for other purposes must not reach the services.
fn forget_overrides(command: &mut std::process::Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("EMBERKEEP") {
            command.env_remove(&name);
        }
    }
}
