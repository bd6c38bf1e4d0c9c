//! The backup worker: takes jobs from the broker and moves volume data.
//!
//! ```text
//! consumer ──► jobs ──► engine ──► store, volume: traits; one file per driver
//!     └──────► lease  ↑   ├──► format: reads and writes the stored format
//!                     │   └──► lanes: many digests at once
//!          standalone ┘ commands for a stored tree alone
//! ```
//!
//! * A worker keeps nothing: whatever must outlive it is on the target, or with the state owner,
//!   which it asks through its lease.
//! * Network and timers live on the runtime; each job has a thread of its own, with straight blocking
//!   code, and the engine's threads below it.
//! * It never decides who may do what, and never deletes what it was not told to.

mod check;
pub mod cli;
mod consumer;
pub mod engine;
mod environment;
#[cfg(test)]
mod faulty;
pub mod format;
mod health;
mod jobs;
pub mod lanes;
mod lease;
mod patience;
mod presence;
mod priority;
mod progress;
mod running;
pub mod standalone;
pub mod store;
mod target;
pub mod volume;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use check::check_config;
use common::broker::{BrokerError, Link, Publisher, RpcClient};
use common::config::{BackupDriver, Settings, VolumeBackendDriver};
use common::domain::{Incarnation, SystemClock, Token, WorkerName};
use futures_util::{Stream, StreamExt};
use tokio_util::task::TaskTracker;

use engine::{EngineLimits, Throttles};
use environment::{Environment, Stopping};
use lease::BootClock;
use priority::Priority;
use running::Running;
use store::BackupStore;
use store::measured::Measured;
use store::posix::PosixStore;
use volume::{FileVolumes, VolumeDriver};

/// How long jobs that were told to stop may take to give their leases back.
const RELEASE_GRACE: Duration = Duration::from_secs(10);
/// How long the rest of the process may take to end.
const END_GRACE: Duration = Duration::from_secs(5);

/// Why a worker could not work.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A broker that refuses us for good.
    #[error("use the broker")]
    Broker(#[source] BrokerError),
    /// A process that began later works under this one's name.
    #[error(
        "another process works under the name `{worker}`; each worker needs a `worker.name` of its own"
    )]
    Replaced {
        /// `worker.name`.
        worker: WorkerName,
    },
    /// The address for probes cannot be had.
    #[error("listen on {address}")]
    Listen {
        /// `worker.listen`.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
}

/// Works until the first item of `signals`, then drains; at the second, jobs are released at once.
///
/// # Errors
/// When the broker refuses this worker for good, another process takes its name, or the address for probes cannot be had.
pub async fn run(
    settings: Settings,
    signals: impl Stream<Item = &'static str>,
) -> Result<(), RunError> {
    let tracker = TaskTracker::new();
    let stopping = Stopping::new();
    let worker = WorkerName::from(settings.worker.name.as_str());
    let link = |role: &str| {
        let name = format!("backup-worker/{worker}/{role}");
        Link::start(&settings.amqp, name, &tracker, stopping.end.clone())
    };
    // Two links: the broker stops reading from one that publishes while it is short of memory.
    let (consuming, publishing) = (link("consume"), link("publish"));
    let env = Arc::new(environment(
        &settings,
        worker.clone(),
        &publishing,
        &tracker,
        &stopping,
    ));
    if let Some(address) = settings.worker.listen {
        serve_probes(&env, address, [consuming.clone(), publishing.clone()]).await?;
    }
    tracing::info!(
        worker = %worker,
        incarnation = %env.incarnation,
        zone = %env.zone,
        slots = env.slots,
        "the worker starts"
    );
    tracker.spawn(presence::show(Arc::clone(&env)));
    tracker.spawn(target::watch(Arc::clone(&env)));
    tracker.spawn(common::metrics::upkeep(stopping.end.clone()));
    let consumer = tracker.spawn(consumer::consume_jobs(Arc::clone(&env), consuming.clone()));

    let mut signals = std::pin::pin!(signals);
    let outcome = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "no more jobs are taken");
            Ok(())
        }
        error = consuming.failed() => Err(RunError::Broker(error)),
        error = publishing.failed() => Err(RunError::Broker(error)),
        () = presence::until_replaced(&env, &consuming) => Err(RunError::Replaced { worker: worker.clone() }),
    };
    stopping.drain.cancel();
    if outcome.is_ok() {
        let _ = consumer.await;
        let timeout = settings.worker.drain_timeout;
        drain(&env, timeout, signals.next()).await;
        let _ = tokio::time::timeout(END_GRACE, presence::say_goodbye(&env)).await;
    }
    target::leave(&env).await;
    stopping.halt.cancel();
    stopping.abandon.cancel();
    stopping.end.cancel();
    tracker.close();
    if tokio::time::timeout(END_GRACE, tracker.wait())
        .await
        .is_err()
    {
        tracing::warn!("some tasks did not end; their leases will");
    }
    tracing::info!(worker = %worker, "the worker ended");
    outcome
}

/// Lets jobs go on for a while, then has them give their leases back.
async fn drain(
    env: &Environment,
    timeout: Duration,
    second_signal: impl Future<Output = Option<&'static str>>,
) {
    let running = env.running.jobs().len();
    tracing::info!(
        running,
        timeout_seconds = timeout.as_secs(),
        "waiting for running jobs"
    );
    tokio::select! {
        () = env.running.all_ended() => return,
        () = tokio::time::sleep(timeout) => {}
        Some(signal) = second_signal => tracing::info!(signal, "not waiting any longer"),
    }
    env.stopping.halt.cancel();
    if tokio::time::timeout(RELEASE_GRACE, env.running.all_ended())
        .await
        .is_ok()
    {
        return;
    }
    // Those that wait for a share whose server is away are told so now, and can still give their leases back.
    target::leave(env).await;
    if tokio::time::timeout(END_GRACE, env.running.all_ended())
        .await
        .is_ok()
    {
        return;
    }
    env.stopping.abandon.cancel();
    let _ = tokio::time::timeout(END_GRACE, env.running.all_ended()).await;
}

/// Builds what jobs share. The only place that names a concrete driver.
fn environment(
    settings: &Settings,
    worker: WorkerName,
    publishing: &Link,
    tracker: &TaskTracker,
    stopping: &Stopping,
) -> Environment {
    let volumes: BTreeMap<Token, Arc<dyn VolumeDriver>> = settings
        .volume_backends
        .iter()
        .map(|(name, backend)| {
            let driver: Arc<dyn VolumeDriver> = match backend.driver {
                VolumeBackendDriver::File => Arc::new(
                    FileVolumes::new(&backend.path)
                        .keeping_snapshots(backend.keep_snapshot)
                        .restoring_differing(backend.restore_differing),
                ),
            };
            (name.clone(), driver)
        })
        .collect();
    Environment {
        worker,
        incarnation: Incarnation::new(),
        zone: settings.worker.zone.clone(),
        slots: settings.worker.slots,
        volumes,
        target: settings.backup.target.clone(),
        store: Arc::new(Measured(store_of(settings))),
        target_state: target::TargetState::default(),
        limits: limits_of(&settings.worker),
        throttles: Throttles::new(&settings.worker),
        priority: Priority::of(&settings.worker),
        stop_margin: settings.jobs.stop_margin(),
        claim_patience: settings.jobs.lease,
        heartbeat: settings.worker.heartbeat,
        rpc: RpcClient::new(publishing.clone(), tracker.clone()),
        publisher: Arc::new(Publisher::new(publishing.clone())),
        clock: Arc::new(SystemClock),
        boot_clock: BootClock::of_machine(),
        running: Running::new(settings.worker.slots),
        stopping: stopping.clone(),
        tracker: tracker.clone(),
    }
}

/// What a worker's configuration allows each of its jobs.
pub(crate) fn limits_of(worker: &common::config::Worker) -> EngineLimits {
    let threads = match worker.engine_threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => usize::try_from(threads).unwrap_or(usize::MAX),
    };
    EngineLimits {
        threads,
        restore_threads: threads.saturating_add(1),
        seal_size_bytes: worker.seal_size.as_u64(),
        seal_after: worker.seal_after,
        buffer_bytes: engine::buffers_of(worker.memory_budget.as_u64()),
        codec_bytes: engine::CODEC_BYTES,
    }
}

/// The driver of the configured target.
pub(crate) fn store_of(settings: &Settings) -> Arc<dyn BackupStore> {
    match settings.backup.driver {
        BackupDriver::Posix => Arc::new(PosixStore::new(
            &settings.backup.path,
            settings.backup.target_id,
        )),
        BackupDriver::Nfs => {
            let nfs = &settings.backup.nfs;
            Arc::new(store::nfs::store(nfs, settings.backup.target_id))
        }
    }
}

/// The directory of the configured target.
pub(crate) fn root_of(settings: &Settings) -> PathBuf {
    match settings.backup.driver {
        BackupDriver::Posix => settings.backup.path.clone(),
        BackupDriver::Nfs => store::nfs::mount_point(&settings.backup.nfs),
    }
}

async fn serve_probes(
    env: &Environment,
    address: SocketAddr,
    links: [Link; 2],
) -> Result<(), RunError> {
    let failed = |source| RunError::Listen { address, source };
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    tracing::info!("probes on http://{bound}");
    let end = env.stopping.end.clone();
    let serve = axum::serve(
        listener,
        health::router(
            links,
            env.target_state.clone(),
            env.running.clone(),
            env.slots,
        ),
    )
    .with_graceful_shutdown(async move { end.cancelled().await });
    env.tracker.spawn(async move {
        if let Err(error) = serve.await {
            tracing::error!(error = %error, "probes are not answered any more");
        }
    });
    Ok(())
}

/// Why a target could not be prepared.
#[derive(Debug, thiserror::Error)]
#[error("prepare the backup target at {}", path.display())]
pub struct InitError {
    path: PathBuf,
    source: store::StoreError,
}

/// Prepares the configured backup target, once; its id.
///
/// # Errors
/// When the directory cannot be made or marked.
pub fn init_target(settings: &Settings) -> Result<uuid::Uuid, InitError> {
    match settings.backup.driver {
        BackupDriver::Posix => init_target_at(&settings.backup.path),
        BackupDriver::Nfs => {
            let path = PathBuf::from(&settings.backup.nfs.share);
            store::nfs::init_target(&settings.backup.nfs)
                .map_err(|source| InitError { path, source })
        }
    }
}

/// Prepares a directory to be a backup target, once; its id.
///
/// # Errors
/// When the directory cannot be made or marked.
pub fn init_target_at(path: &Path) -> Result<uuid::Uuid, InitError> {
    store::posix::init_target(path).map_err(|source| InitError {
        path: path.to_owned(),
        source,
    })
}

/// A target at a path, for who has no configuration: any prepared one may be written to.
pub(crate) fn store_at(path: &Path) -> Arc<dyn BackupStore> {
    Arc::new(PosixStore::new(path, None))
}

/// The files below a directory as volumes; whether the snapshot of a volume's last backup is kept.
pub(crate) fn files_below(directory: &Path, keep_snapshot: bool) -> Arc<dyn VolumeDriver> {
    Arc::new(FileVolumes::new(directory).keeping_snapshots(keep_snapshot))
}
