//! A whole Emberkeep in a world of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use common::domain::VolumeId;
use tempfile::TempDir;

use crate::api::{Api, PROJECT};
use crate::broker::Broker;
use crate::builder::Builder;
use crate::database::Database;
use crate::events::Listener;
use crate::logins::Permissions;
use crate::process::{Process, override_variable};
use crate::proxy::Proxy;
use crate::repeater::Repeater;
use crate::target::{Target, files_below, name_of};
use crate::volume;
use crate::wait::until;

/// Lines of each log that a failing test shows.
const SHOWN_LINES: usize = 120;

/// An api-service or several, its workers, and all they need. Everything ends with it.
#[derive(Debug)]
pub struct TestStack {
    api_services: Vec<Process>,
    workers: Vec<Process>,
    apis: Vec<Api>,
    broker: Broker,
    database: Database,
    volumes: PathBuf,
    managed: Mutex<BTreeSet<String>>,
    target: Target,
    proxies: Vec<Proxy>,
    directory: TempDir,
}

impl TestStack {
    /// A ready stack with one worker.
    pub async fn start() -> Self {
        Self::build().start().await
    }

    /// A stack with wishes.
    pub fn build() -> Builder {
        Builder::new()
    }

    pub(crate) async fn start_on(broker: Broker, database: Database, wishes: Builder) -> Self {
        let directory = TempDir::with_prefix("emberkeep-test-").expect("a directory can be made");
        let root = directory.path();
        let within = |name: &str| {
            let path = root.join(name);
            std::fs::create_dir(&path).expect("a directory can be made");
            path
        };
        let (backups, logs) = (within("backups"), within("logs"));
        let volumes = wishes.volumes.unwrap_or_else(|| within("volumes"));
        let strikes = within("strikes");
        let config = root.join("emberkeep.toml");
        let text = configuration(&broker, &database.url_in(root), &volumes, &backups);
        std::fs::write(&config, text).expect("a file can be written");

        let environment: Vec<_> = wishes
            .settings
            .iter()
            .map(|(key, value)| override_variable(key, value))
            .collect();
        let logged_in = async |role: &str| {
            let mut environment = environment.clone();
            if wishes.own_logins {
                let rights = Permissions::deployed(role);
                let url = broker.log_in(&broker.login_name(role), &rights).await;
                environment.push(override_variable("amqp.url", &url));
            }
            environment
        };
        let as_worker = logged_in("backup-worker").await;
        let as_api_service = logged_in("api-service").await;
        let api_services: Vec<_> = (1..=wishes.api_services)
            .map(|number| {
                let name = match number {
                    1 => "api-service".to_owned(),
                    _ => format!("api-service-{number}"),
                };
                Process::new(name, "api-service", &config, as_api_service.clone(), &logs)
            })
            .collect();
        let workers: Vec<_> = (1..=wishes.workers + wishes.spare_workers)
            .map(|number| {
                let mut environment = as_worker.clone();
                environment.push(override_variable(
                    "worker.name",
                    &format!("worker-{number}"),
                ));
                let name = format!("backup-worker-{number}");
                Process::new(name, "backup-worker", &config, environment, &logs)
            })
            .collect();

        for process in api_services.iter().chain(&workers) {
            process.strike_in(&strikes);
        }
        let mut proxies = Vec::new();
        if wishes.proxied {
            for process in api_services.iter().chain(&workers) {
                let proxy = Proxy::to(broker.address());
                process.set("amqp.url", &broker.url_at(proxy.address()));
                proxies.push(proxy);
            }
        }

        let preparer = Process::new("init", "backup-worker", &config, environment, &logs);
        let target_id = preparer.run("init-target");
        assert!(!target_id.trim().is_empty(), "init-target prints the id");

        for process in api_services.iter().chain(&workers[..wishes.workers]) {
            process.start();
        }
        let mut apis = Vec::new();
        for api_service in &api_services {
            let address = listening_address(api_service).await;
            // A later start takes the same place, as a real one would.
            api_service.set("api.listen", &address);
            apis.push(Api::new(format!("http://{address}")));
        }
        let stack = Self {
            apis,
            api_services,
            workers,
            broker,
            database,
            volumes,
            managed: Mutex::default(),
            target: Target::new(wishes.target_files.unwrap_or(backups)),
            proxies,
            directory,
        };
        stack.until_ready().await;
        stack
    }

    /// Waits until every started api-service says that it is ready and knows every started worker.
    pub async fn until_ready(&self) {
        for (api_service, api) in self.api_services.iter().zip(&self.apis) {
            if api_service.is_started() {
                self.until_knows_all(api).await;
            }
        }
    }

    async fn until_knows_all(&self, api: &Api) {
        until("the stack to be ready", async || {
            let answer = api
                .try_send(reqwest::Method::GET, "/readyz", None)
                .await
                .ok()?;
            let known = answer.body["workers"].as_array()?;
            let all_known = self
                .workers
                .iter()
                .filter(|worker| worker.is_started())
                .all(|worker| {
                    let name = worker.name().trim_start_matches("backup-");
                    known.iter().any(|known| known == name)
                });
            (answer.status == 200 && all_known).then_some(())
        })
        .await;
    }

    /// The client of the first api-service.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.apis[0]
    }

    /// The client of api-service `number`, counted from 1.
    #[must_use]
    pub fn api_of(&self, number: usize) -> &Api {
        &self.apis[number - 1]
    }

    /// Stops a private PostgreSQL in good order.
    pub async fn stop_database(&mut self) {
        self.database.stop().await;
    }

    /// Starts a stopped private PostgreSQL again.
    pub async fn start_database(&mut self) {
        self.database.start().await;
    }

    /// The broker.
    #[must_use]
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Stops a private broker in good order.
    pub async fn stop_broker(&mut self) {
        self.broker.stop().await;
    }

    /// Starts a stopped private broker again.
    pub async fn start_broker(&mut self) {
        self.broker.start().await;
    }

    /// Kills a private broker, as a power cut would.
    pub async fn kill_broker(&mut self) {
        self.broker.kill().await;
    }

    /// Runs `rabbitmqctl` against a private broker.
    pub async fn control_broker(&mut self, arguments: &[&str]) {
        self.broker.control(arguments).await;
    }

    /// The proxies of the api-service and of each worker, if the stack has them.
    #[must_use]
    pub fn proxies(&self) -> &[Proxy] {
        &self.proxies
    }

    /// Whether a failpoint killed or stopped a process since [`TestStack::forget_strikes`].
    #[must_use]
    pub fn was_struck(&self, point: &str) -> bool {
        self.strikes().join(point).exists()
    }

    /// Lets every failpoint strike once more.
    ///
    /// # Panics
    /// When their marks cannot be removed.
    pub fn forget_strikes(&self) {
        for entry in self.strikes().read_dir().expect("it can be read").flatten() {
            std::fs::remove_file(entry.path()).expect("it can be removed");
        }
    }

    /// The lines that failpoints were told to trace.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        let trace = std::fs::read_to_string(self.strikes().join("trace"));
        trace
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    fn strikes(&self) -> PathBuf {
        self.directory.path().join("strikes")
    }

    /// Copies the logs of all processes to a directory, for somebody to read later.
    ///
    /// # Errors
    /// When they cannot be copied.
    pub fn keep_logs(&self, to: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(to)?;
        for entry in self.directory.path().join("logs").read_dir()? {
            let entry = entry?;
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
        Ok(())
    }

    /// The process of the first api-service.
    #[must_use]
    pub fn api_service(&self) -> &Process {
        &self.api_services[0]
    }

    /// The process of api-service `number`, counted from 1.
    #[must_use]
    pub fn api_service_of(&self, number: usize) -> &Process {
        &self.api_services[number - 1]
    }

    /// The process of worker `number`, counted from 1.
    #[must_use]
    pub fn worker(&self, number: usize) -> &Process {
        &self.workers[number - 1]
    }

    /// The backup target.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The directory of the volume backend.
    #[must_use]
    pub fn volumes(&self) -> &Path {
        &self.volumes
    }

    /// Publishes again what an exchange gets with this key, from now on: see [`Repeater`].
    pub async fn repeat(&self, exchange: &str, key: &str, times: usize, held: usize) -> Repeater {
        Repeater::bind(&self.broker, exchange, key, times, held).await
    }

    /// Listens to events with this key from now on.
    pub async fn listen(&self, key: &str) -> Listener {
        Listener::bind(&self.broker, key).await
    }

    /// The file of a volume that the service made.
    ///
    /// # Panics
    /// When there is not exactly one.
    #[must_use]
    pub fn file_of(&self, id: VolumeId) -> PathBuf {
        let id = id.to_string();
        let mut files = files_below(&self.volumes);
        files.retain(|path| name_of(path).contains(&id));
        match files.as_slice() {
            [file] => self.volumes.join(file),
            _ => panic!("files of volume {id}: {files:?}"),
        }
    }

    /// A new volume of one GiB that begins with these bytes.
    pub async fn volume_with(&self, bytes: &[u8]) -> VolumeId {
        let id = self.api().create_volume(1).await;
        volume::write_at(&self.file_of(id), 0, bytes);
        id
    }

    /// A file of the volume backend of exactly these bytes, taken over as a volume. Any size will do.
    pub async fn managed_volume(&self, name: &str, bytes: &[u8]) -> VolumeId {
        let file = self.file_to_manage(name);
        std::fs::write(file, bytes).expect("a file can be written");
        self.api().manage_volume(name).await
    }

    /// A volume whose backup takes seconds when the stack is slow: dense text of 48 MiB.
    pub async fn large_volume(&self, name: &str) -> VolumeId {
        volume::write_dense(&self.file_to_manage(name), 48 * volume::MIB, 7);
        self.api().manage_volume(name).await
    }

    /// Path of a file that is to be taken over under this name.
    ///
    /// # Panics
    /// Never but for a poisoned lock.
    #[must_use]
    pub fn file_to_manage(&self, name: &str) -> PathBuf {
        let mut managed = self.managed.lock().expect("not poisoned");
        managed.insert(name.to_owned());
        self.volumes.join(name)
    }

    /// Whether a file's name was given by [`TestStack::file_to_manage`].
    pub(crate) fn is_managed(&self, name: &str) -> bool {
        self.managed.lock().expect("not poisoned").contains(name)
    }

    #[expect(clippy::print_stderr, reason = "a failing test shows the logs")]
    fn show_logs(&self) {
        for process in self.api_services.iter().chain(&self.workers) {
            let log = process.log();
            let lines: Vec<_> = log.lines().collect();
            let from = lines.len().saturating_sub(SHOWN_LINES);
            eprintln!("--- {}, from line {} ---", process.name(), from + 1);
            for line in &lines[from..] {
                eprintln!("{line}");
            }
        }
    }
}

impl Drop for TestStack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
    }
}

/// Finds where the api-service listens in what it logs.
async fn listening_address(api_service: &Process) -> String {
    const BEFORE: &str = "listening on http://";
    until("the api-service to listen", async || {
        let log = api_service.log();
        let (_, after) = log.split_once(BEFORE)?;
        let (line, _) = after.split_once('\n')?;
        line.split_whitespace().next().map(str::to_owned)
    })
    .await
}

/// One configuration for all processes: timers shrunk, batches small, no quotas.
fn configuration(broker: &Broker, database: &str, volumes: &Path, backups: &Path) -> String {
    format!(
        r#"
[amqp]
url = "{amqp_url}"
[amqp.publishers.{publisher}]
projects = ["{PROJECT}"]
[database]
url = "{database}"
[api]
listen = "127.0.0.1:0"
[quota]
backups = -1
backup_gigabytes = -1
volumes = -1
snapshots = -1
gigabytes = -1
[jobs]
lease = "2s"
renew = "500ms"
sweep = "200ms"
republish_after = "2s"
worker_down_after = "3s"
give_up_deadline = "20s"
queue_deadline = "60s"
[worker]
heartbeat = "300ms"
engine_threads = 1
seal_size = "2MiB"
seal_after = "1s"
drain_timeout = "10m"
[volume_backends.main]
driver = "file"
path = "{volumes}"
[backup]
driver = "posix"
path = "{backups}"
object_size = "512KiB"
[telemetry]
filter = "info,api_service=debug,backup_worker=debug"
"#,
        amqp_url = broker.amqp_url(),
        publisher = broker.publisher(),
        volumes = volumes.display(),
        backups = backups.display(),
    )
}
