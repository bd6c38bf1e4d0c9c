//! A private RabbitMQ node: its own name, ports, data, cookie and epmd, all on loopback unless an address is given.
//!
//! Debian's `rabbitmq-server` on the path insists on the user `rabbitmq` and its folders; the script it wraps
//! does not, so that one is started, for root as for anybody else. Nothing of an installed broker is read or
//! changed: every file it would look for by default is named here.
//!
//! ```text
//! DIR/node.json         name, ports, login, process ids: a later command finds the node by it
//!     rabbitmq.conf     enabled_plugins   env.conf (empty)   home/.erlang.cookie
//!     data/  log/       server.log  epmd.log
//! ```

mod answers;
mod environment;

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::files;
use crate::process::Process;

/// How long a node may take to start: seconds on an idle machine, far more on a busy one.
const START_PATIENCE: Duration = Duration::from_secs(180);
/// How long it may take to stop in good order.
const STOP_PATIENCE: Duration = Duration::from_secs(60);
/// Ports are chosen before they are used; when someone was quicker, others are tried.
const PORT_TRIES: u32 = 3;

/// What is kept about a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    name: String,
    user: String,
    password: String,
    /// Where clients reach it; Erlang's own ports are on loopback always.
    address: Ipv4Addr,
    ports: Ports,
    epmd: Option<Process>,
    server: Option<Process>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Ports {
    amqp: u16,
    management: u16,
    distribution: u16,
    epmd: u16,
}

impl Ports {
    fn free() -> Result<Self> {
        let [amqp, management, distribution, epmd] = files::free_ports()?;
        Ok(Self {
            amqp,
            management,
            distribution,
            epmd,
        })
    }
}

/// A private node. It is killed when this is dropped, unless [`Node::live_on`] was called.
#[derive(Debug)]
pub struct Node {
    dir: PathBuf,
    record: Record,
    /// More lines of its configuration.
    settings: String,
    /// It ends with the thread that starts it, also when that is killed and can end nothing.
    bound: bool,
    lives_on: bool,
}

impl Node {
    /// Starts a node with its files in `dir`, and returns when it accepts AMQP connections and answers on its
    /// management API. A folder of an earlier node is taken up: same name, login and queues.
    ///
    /// # Errors
    /// When RabbitMQ is not installed, a node runs from this folder already, or it does not come up.
    pub async fn start(dir: &Path) -> Result<Self> {
        Self::start_as(dir, Ipv4Addr::LOCALHOST, "", false).await
    }

    /// Starts a node for tests, which ends with the thread that starts it, however that ends.
    /// `settings` are more lines of its `rabbitmq.conf`.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start_bound(dir: &Path, settings: &str) -> Result<Self> {
        Self::start_as(dir, Ipv4Addr::LOCALHOST, settings, true).await
    }

    /// The same for clients on another machine, which reach it at `address`: a guest, say.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start_bound_at(dir: &Path, address: Ipv4Addr) -> Result<Self> {
        Self::start_as(dir, address, "", true).await
    }

    async fn start_as(dir: &Path, address: Ipv4Addr, settings: &str, bound: bool) -> Result<Self> {
        files::make_private_dir(dir)?;
        let dir = dir
            .canonicalize()
            .with_context(|| format!("find {}", dir.display()))?;
        let record = match files::read_json::<Record>(&dir.join("node.json"))? {
            Some(record) => {
                let running = record.server.is_some_and(Process::is_alive);
                anyhow::ensure!(!running, "a broker runs from {} already", dir.display());
                record
            }
            None => Record {
                name: format!("emberkeep-{}@localhost", files::random_hex::<4>()?),
                user: "emberkeep".to_owned(),
                password: files::random_hex::<12>()?,
                address,
                ports: Ports::free()?,
                epmd: None,
                server: None,
            },
        };
        let mut node = Self {
            dir,
            record,
            settings: settings.to_owned(),
            bound,
            lives_on: false,
        };
        let mut tries_left = PORT_TRIES;
        loop {
            let error = match node.launch().await {
                Ok(()) => return Ok(node),
                Err(error) => error,
            };
            node.kill().await?;
            tries_left -= 1;
            if tries_left == 0 || !node.lost_a_port() {
                return Err(error);
            }
            node.record.ports = Ports::free()?;
        }
    }

    /// The node that an earlier command started from `dir` and told to live on; `None` when there was none.
    ///
    /// # Errors
    /// When its record cannot be read.
    pub fn open(dir: &Path) -> Result<Option<Self>> {
        let record = files::read_json(&dir.join("node.json"))?;
        Ok(record.map(|record| Self {
            dir: dir.to_owned(),
            record,
            settings: String::new(),
            bound: false,
            lives_on: true,
        }))
    }

    /// Lets the node run on after this value is dropped and this process has ended.
    pub fn live_on(&mut self) {
        self.lives_on = true;
    }

    /// `amqp://user:password@address:port/%2f`.
    #[must_use]
    pub fn amqp_url(&self) -> String {
        self.amqp_url_of("%2f")
    }

    /// The same for a virtual host, its name already percent-encoded.
    #[must_use]
    pub fn amqp_url_of(&self, vhost: &str) -> String {
        let Record {
            user,
            password,
            address,
            ports,
            ..
        } = &self.record;
        format!("amqp://{user}:{password}@{address}:{}/{vhost}", ports.amqp)
    }

    /// `http://user:password@address:port`, to which `/api/…` is added.
    #[must_use]
    pub fn management_url(&self) -> String {
        let Record {
            user,
            password,
            address,
            ports,
            ..
        } = &self.record;
        format!("http://{user}:{password}@{address}:{}", ports.management)
    }

    /// The broker's process, while one is known.
    #[must_use]
    pub fn server(&self) -> Option<Process> {
        self.record.server
    }

    /// The process of its name server, while one is known.
    #[must_use]
    pub fn epmd(&self) -> Option<Process> {
        self.record.epmd
    }

    /// Stops the node in good order. Queues and messages that are durable stay in its folder.
    ///
    /// # Errors
    /// When a process does not go.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(server) = self.record.server {
            server.stop(STOP_PATIENCE).await.context("stop RabbitMQ")?;
        }
        self.end_epmd().await
    }

    /// Kills the node, as a power cut would.
    ///
    /// # Errors
    /// When a process does not go.
    pub async fn kill(&mut self) -> Result<()> {
        if let Some(server) = self.record.server {
            server.kill().await.context("kill RabbitMQ")?;
        }
        self.end_epmd().await
    }

    /// Starts the node again after [`Node::stop`] or [`Node::kill`], on the same ports with the same data.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_again(&mut self) -> Result<()> {
        self.launch().await
    }

    /// Stops the node in good order and starts it again.
    ///
    /// # Errors
    /// When it does not go or does not come back.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.start_again().await
    }

    async fn end_epmd(&mut self) -> Result<()> {
        if let Some(epmd) = self.record.epmd {
            epmd.stop(Duration::from_secs(5))
                .await
                .context("stop epmd")?;
        }
        self.record.server = None;
        self.record.epmd = None;
        self.save()
    }

    fn save(&self) -> Result<()> {
        files::write_json(&self.dir.join("node.json"), &self.record)
    }

    async fn launch(&mut self) -> Result<()> {
        let script = server_script().context("RabbitMQ is not installed")?;
        let epmd = files::find_program("epmd").context("Erlang's `epmd` is not installed")?;
        self.write_configuration()?;
        // Started by hand, so that its id is known; Erlang would start one that nobody ends.
        let epmd_port = self.record.ports.epmd.to_string();
        let arguments = ["-address", "127.0.0.1", "-port", &epmd_port].map(AsRef::as_ref);
        let log = self.dir.join("epmd.log");
        let epmd = self.spawn(&epmd, &arguments, &log, |_| ())?;
        self.record.epmd = Some(epmd);
        self.save()?;
        answers::accepts(self.record.ports.epmd, epmd)
            .await
            .context("start epmd")?;

        let log = self.dir.join("server.log");
        let server = self.spawn(&script, &[], &log, |command| {
            self.prepare(command);
        })?;
        self.record.server = Some(server);
        self.save()?;
        let up = tokio::time::timeout(START_PATIENCE, self.answers());
        tokio::select! {
            up = up => up.context("RabbitMQ takes too long to start"),
            () = server.gone() => Err(anyhow::anyhow!("RabbitMQ ended while it was starting")),
        }
        .with_context(|| {
            format!(
                "see {}, which ends:\n{}",
                log.display(),
                files::tail(&log, 15)
            )
        })
    }

    fn spawn(
        &self,
        program: &Path,
        arguments: &[&OsStr],
        log: &Path,
        prepare: impl FnOnce(&mut std::process::Command),
    ) -> Result<Process> {
        if !self.bound {
            return Process::spawn_detached(program, arguments, log, prepare);
        }
        let mut all = vec!["--pdeathsig".as_ref(), "KILL".as_ref(), program.as_os_str()];
        all.extend(arguments);
        Process::spawn_detached(Path::new("setpriv"), &all, log, prepare)
    }

    /// Whether the failed start was for a port that someone else has.
    fn lost_a_port(&self) -> bool {
        ["server.log", "epmd.log"].iter().any(|log| {
            let text = files::tail(&self.dir.join(log), 200);
            text.contains("eaddrinuse") || text.contains("Address already in use")
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.lives_on {
            return;
        }
        for process in [self.record.server, self.record.epmd].into_iter().flatten() {
            process.kill_now();
        }
    }
}

/// The script that starts a node without asking who does.
#[must_use]
pub fn server_script() -> Option<PathBuf> {
    let debian = PathBuf::from("/usr/lib/rabbitmq/bin/rabbitmq-server");
    if debian.exists() {
        return Some(debian);
    }
    files::find_program("rabbitmq-server")
}
