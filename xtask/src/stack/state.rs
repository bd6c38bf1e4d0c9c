//! What a stack shall be, and what it says of itself in `stack.json`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::config_file::ConfigFile;
use crate::files;
use crate::process::Process;

/// The broker a stack uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broker {
    /// A node of its own.
    Private,
    /// One that is there.
    Given {
        /// Its AMQP url.
        amqp_url: String,
    },
}

/// What a stack shall be.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its folder.
    pub dir: PathBuf,
    /// How many workers.
    pub workers: u32,
    /// Where the API listens; a free port of loopback by default.
    pub listen: Option<SocketAddr>,
    /// Configuration beside what the stack sets itself: keys with dots, and values.
    pub settings: Vec<(String, String)>,
    /// Its broker.
    pub broker: Broker,
}

/// What `stack.json` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// `http://host:port` of the API.
    pub endpoint: String,
    /// The broker.
    pub amqp_url: String,
    /// Its management API, if it is a private one.
    pub management_url: Option<String>,
    /// The database.
    pub database_url: String,
    /// Where the volumes are.
    pub volumes_path: PathBuf,
    /// Where the backups are.
    pub backups_path: PathBuf,
    /// The configuration file.
    pub config: PathBuf,
    /// Where the logs are.
    pub logs: PathBuf,
    /// Process ids by name: `rabbitmq`, `epmd`, `api-service`, `backup-worker-1`, ….
    pub pids: BTreeMap<String, i32>,
    /// When each of them started, so that a later process with its id is not taken for it.
    pub start_ticks: BTreeMap<String, u64>,
}

impl State {
    /// The state of the stack that was started from `dir`; `None` when there was none.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>> {
        files::read_json(&dir.join("stack.json"))
    }

    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        files::write_json(&dir.join("stack.json"), self)
    }

    pub(super) fn note(&mut self, processes: &BTreeMap<String, Process>) {
        let all = || processes.iter();
        self.pids = all().map(|(name, p)| (name.clone(), p.pid)).collect();
        self.start_ticks = all()
            .map(|(name, p)| (name.clone(), p.start_ticks))
            .collect();
    }

    pub(super) fn processes(&self) -> BTreeMap<String, Process> {
        let process = |(name, pid): (&String, &i32)| {
            let start_ticks = *self.start_ticks.get(name)?;
            let pid = *pid;
            Some((name.clone(), Process { pid, start_ticks }))
        };
        self.pids.iter().filter_map(process).collect()
    }
}

/// What a stack sets, then what its user wants otherwise.
pub(super) fn configuration(
    dir: &Path,
    amqp_url: &str,
    listen: SocketAddr,
    settings: Vec<(String, String)>,
) -> Result<ConfigFile> {
    let text = |name: &str| -> Result<String> {
        let path = dir.join(name);
        let path = path
            .to_str()
            .context("the stack's folder has a name in UTF-8")?;
        Ok(path.to_owned())
    };
    let mut config = ConfigFile::default();
    config.set("amqp.url", amqp_url);
    config.set("api.listen", listen.to_string());
    config.set(
        "database.url",
        format!("sqlite://{}", text("database/emberkeep.db")?),
    );
    config.set("volume_backends.local.driver", "file");
    config.set("volume_backends.local.path", text("volumes")?);
    config.set("backup.driver", "posix");
    config.set("backup.path", text("backups")?);
    for (key, value) in settings {
        config.set(key, value);
    }
    Ok(config)
}
