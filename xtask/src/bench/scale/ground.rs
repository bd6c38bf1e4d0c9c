//! A stack to be measured: its parts, its volumes, and the steps that load it.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use reqwest::Method;
use serde_json::{Value, json};

use super::super::image::Random;
use super::super::processes::{Used, used_by};
use super::figures::Figures;
use super::lines::{self, Ran};
use super::load::{Asked, Wish, ask_all};
use super::meter::{BACKUP_QUEUE, Moment, Probe, Usage};
use crate::build::Binaries;
use crate::demo::api::Api;
use crate::postgres::Cluster;
use crate::process::Process;
use crate::stack::{self, Broker, Options, Stack};
use crate::{files, say};

/// Length of each volume; its first bytes are random, the rest is a hole.
pub(super) const VOLUME_BYTES: u64 = 1 << 20;
/// Those first bytes.
pub(super) const DATA_BYTES: usize = 64 << 10;
/// Where the stack has its volumes.
const BACKEND: &str = "local";
/// How long anything may take that others wait for.
const PATIENCE: Duration = Duration::from_secs(40 * 60);
/// How often it is looked whether jobs are settled; a look costs the api-service a scan of those that are not.
const LOOK: Duration = Duration::from_millis(500);
/// How often the user is told how far it is.
const TELL: Duration = Duration::from_secs(10);
/// How long a worker without jobs may take to end.
const END: Duration = Duration::from_secs(40);

pub(super) const MANAGE: Wish = Wish {
    path: "manageable_volumes",
    member: "volume",
};
pub(super) const BACK_UP: Wish = Wish {
    path: "backups",
    member: "backup",
};

/// The database of the api-service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Database {
    Sqlite,
    PostgreSql,
}

impl Database {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::PostgreSql => "PostgreSQL",
        }
    }
}

pub(super) struct Ground {
    stack: Stack,
    cluster: Option<Cluster>,
    pub(super) api: Arc<Api>,
    pub(super) figures: Arc<Figures>,
    /// Ids of the volumes that are taken over.
    pub(super) volumes: Vec<String>,
    workers: u32,
    seed: u64,
}

impl Ground {
    /// Starts a stack with one worker.
    ///
    /// # Errors
    /// When a part does not come up.
    pub(super) async fn start(
        dir: &Path,
        database: Database,
        binaries: Binaries,
        seed: u64,
    ) -> Result<Self> {
        let mut settings = vec![("telemetry.format".to_owned(), "json".to_owned())];
        // High, and not without a limit: what has none is not counted.
        for resource in ["backups", "backup_gigabytes", "volumes", "gigabytes"] {
            settings.push((format!("quota.{resource}"), "1000000".to_owned()));
        }
        let cluster = match database {
            Database::Sqlite => None,
            Database::PostgreSql => {
                let cluster = Cluster::start_durable().await?;
                settings.push(("database.url".to_owned(), cluster.url()));
                Some(cluster)
            }
        };
        let options = Options {
            dir: dir.to_owned(),
            workers: 1,
            listen: None,
            settings,
            broker: Broker::Private,
        };
        let stack = Stack::up(options, binaries).await?;
        let management_url = stack.state().management_url.as_deref();
        let endpoint = &stack.state().endpoint;
        Ok(Self {
            api: Arc::new(Api::new(endpoint)?),
            figures: Arc::new(Figures::of(
                endpoint,
                management_url.context("a private broker can be asked")?,
            )?),
            stack,
            cluster,
            volumes: Vec::new(),
            workers: 1,
            seed,
        })
    }

    /// Ends it in good order, and removes its volumes and backups.
    ///
    /// # Errors
    /// When a part does not go.
    pub(super) async fn end(self) -> Result<()> {
        let state = self.stack.state().clone();
        self.stack.down().await?;
        if let Some(mut cluster) = self.cluster {
            cluster.stop().await?;
        }
        for folder in [state.volumes_path, state.backups_path] {
            std::fs::remove_dir_all(&folder)
                .with_context(|| format!("remove {}", folder.display()))?;
        }
        Ok(())
    }

    /// Makes volumes until there are `count`, and has them taken over. `None` when there were.
    ///
    /// # Errors
    /// When one is refused or does not become available.
    pub(super) async fn take_over(&mut self, count: u32) -> Result<Option<Asked>> {
        let first = u32::try_from(self.volumes.len()).context("there are not that many")?;
        if first >= count {
            return Ok(None);
        }
        let mut wishes = Vec::new();
        for number in first..count {
            let name = format!("volume-{number:05}");
            self.make_volume(&name, number)?;
            wishes.push(json!({"host": BACKEND, "ref": {"source-name": name}, "name": name}));
        }
        let done = self.figures.metrics().await?.done("volume");
        let asked = ask_all(&self.api, MANAGE, wishes).await?;
        self.until_settled("volume").await?;
        let done = self.figures.metrics().await?.done("volume") - done;
        anyhow::ensure!(
            done == f64::from(count - first),
            "of {} volumes {done} were taken over",
            count - first
        );
        self.volumes
            .extend(asked.accepted.iter().map(|one| one.id.clone()));
        Ok(Some(asked))
    }

    fn make_volume(&self, name: &str, number: u32) -> Result<()> {
        let path = self.stack.state().volumes_path.join(name);
        let mut data = vec![0; DATA_BYTES];
        Random::new(self.seed + u64::from(number)).fill(&mut data);
        let make = || -> std::io::Result<()> {
            let file = File::create_new(&path)?;
            file.write_all_at(&data, 0)?;
            file.set_len(VOLUME_BYTES)
        };
        make().with_context(|| format!("make {}", path.display()))
    }

    /// Wishes for backups of the first `count` volumes.
    pub(super) fn backups_of(&self, count: u32) -> Vec<Value> {
        let volumes = self.volumes.iter().take(count as usize);
        volumes.map(|id| json!({"volume_id": id})).collect()
    }

    /// Ends all workers, which have nothing to do.
    ///
    /// # Errors
    /// When one does not go.
    pub(super) async fn stop_workers(&mut self) -> Result<()> {
        for process in self.worker_processes() {
            process.stop(END).await?;
        }
        Ok(())
    }

    /// Starts workers up to this number, those that were ended too; returns when they are there.
    ///
    /// # Errors
    /// When one does not come up.
    pub(super) async fn start_workers(&mut self, count: u32) -> Result<()> {
        anyhow::ensure!(
            count >= self.workers,
            "{} workers have been at work already",
            self.workers
        );
        self.workers = count;
        for number in 1..=count {
            let name = format!("backup-worker-{number}");
            if !self.stack.process(&name).is_some_and(Process::is_alive) {
                self.stack.start_worker(number)?;
            }
        }
        self.stack.wait_until_ready().await
    }

    fn worker_processes(&self) -> Vec<Process> {
        let name = |number| format!("backup-worker-{number}");
        let all = (1..=self.workers).filter_map(|number| self.stack.process(&name(number)));
        all.collect()
    }

    /// Waits until no job of a kind waits or runs, and says how far it is.
    ///
    /// # Errors
    /// When it takes too long.
    pub(super) async fn until_settled(&self, kind: &str) -> Result<()> {
        let began = Instant::now();
        let mut told = Instant::now();
        let mut clock = tokio::time::interval(LOOK);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            let left = self.figures.metrics().await?.unsettled(kind);
            if left == 0.0 {
                return Ok(());
            }
            anyhow::ensure!(
                began.elapsed() < PATIENCE,
                "{left} {kind} jobs are not settled after {} s",
                PATIENCE.as_secs()
            );
            if told.elapsed() >= TELL {
                told = Instant::now();
                say::line(format_args!("    {left} jobs to go"));
            }
        }
    }

    /// Waits until the outbox is empty, and so every doorbell is with the broker; and until the broker counts them.
    ///
    /// # Errors
    /// When that takes too long.
    pub(super) async fn until_queued(&self, count: u32) -> Result<()> {
        let began = Instant::now();
        let mut clock = tokio::time::interval(LOOK);
        loop {
            clock.tick().await;
            let waiting = self.figures.metrics().await?;
            let waiting = waiting.sum("emberkeep_outbox_messages", &[]);
            let queued = self.figures.queue_depth(BACKUP_QUEUE).await?;
            if waiting == 0.0 && queued == u64::from(count) {
                return Ok(());
            }
            anyhow::ensure!(
                began.elapsed() < PATIENCE,
                "{queued} of {count} jobs are in the queue, {waiting} messages wait"
            );
        }
    }

    /// What tells how the queue stands while others work with this.
    pub(super) fn probe(&mut self) -> Probe {
        Probe {
            figures: Arc::clone(&self.figures),
            api: self.stack.process(stack::API_SERVICE),
            broker: self.stack.node_mut().and_then(|node| node.server()),
        }
    }

    /// When each backup, and each job of a volume, ran.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub(super) fn executions(&self) -> Result<BTreeMap<String, Ran>> {
        lines::executions(&self.stack.state().logs)
    }

    /// What the parts use now.
    pub(super) fn usage(&mut self) -> Usage {
        let of = |process: Option<Process>| process.map(used_by).unwrap_or_default();
        let workers = self.worker_processes().into_iter().map(used_by);
        let workers = workers.fold(Used::default(), Used::plus);
        let cluster = self.cluster.as_ref();
        Usage {
            api: of(self.stack.process(stack::API_SERVICE)),
            database: of(cluster.and_then(Cluster::server)),
            workers,
            broker: of(self.stack.node_mut().and_then(|node| node.server())),
        }
    }

    /// Now.
    ///
    /// # Errors
    /// When a part does not answer.
    pub(super) async fn moment(&mut self) -> Result<Moment> {
        Ok(Moment {
            metrics: self.figures.metrics().await?,
            published: self.figures.published().await?,
            usage: self.usage(),
        })
    }

    /// Bytes of the database.
    ///
    /// # Errors
    /// When they cannot be counted.
    pub(super) fn database_bytes(&self) -> Result<Option<u64>> {
        let url = &self.stack.state().database_url;
        let Some(file) = url.strip_prefix("sqlite://") else {
            return Ok(None);
        };
        super::super::usage::stored_bytes(Path::new(file)).map(Some)
    }

    /// How many backups there are, and how many of them are available.
    ///
    /// # Errors
    /// When the api-service does not say.
    pub(super) async fn count_backups(&self) -> Result<(u64, u64)> {
        let count = async |filter: &str| {
            let path = format!("backups?limit=1&with_count=true{filter}");
            let answer = self.api.call(Method::GET, &path, Value::Null).await?;
            let count = answer.body["count"].as_u64();
            count.with_context(|| format!("GET /v3/{path} tells no count: {}", answer.body))
        };
        Ok((count("").await?, count("&status=available").await?))
    }
}

/// A folder for one stack.
///
/// # Errors
/// When it cannot be made.
pub(super) fn folder(scratch: &Path, database: Database) -> Result<std::path::PathBuf> {
    let folder = scratch.join(database.name().to_lowercase());
    files::make_private_dir(&folder)?;
    Ok(folder)
}
