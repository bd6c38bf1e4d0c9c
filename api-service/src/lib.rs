//! The api-service: the Block Storage API for backups, and the owner of all state.
//!
//! ```text
//!  clients ──► http ──► store ◄── jobs ──► broker ──► workers
//!                         ▲ rules: pure, asked inside the transaction
//! ```
//!
//! `http` and `jobs` know `store`; nobody but `store` knows SQL, and nobody here opens a volume or
//! a backup target. What other services publish goes by `publishers`, which has it checked by `http`.

pub mod cli;
pub mod commands;
pub mod http;
pub mod jobs;
mod publishers;
pub mod rules;
mod state;
pub mod store;
#[cfg(test)]
mod testing;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use common::broker::{Link, serve_rpc};
use common::config::Settings;
use common::domain::SystemClock;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use state::AppState;

use jobs::{LiveWorkers, ProgressBoard, Protocol};
use publishers::Desk;
use store::Store;

/// How long open requests may take after the stop signal.
const REQUESTS_DRAIN: Duration = Duration::from_secs(5);

/// Serves until `shutdown`, or until the broker refuses for good before it was ever reached. Then
/// requests and answers in hand are finished, and the database is closed.
///
/// # Errors
/// When the address or the database cannot be had, or the broker refuses the login or the topology.
pub async fn run(settings: Settings, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let settings = Arc::new(settings);
    let clock = Arc::new(SystemClock);
    let store = Store::open(Arc::clone(&settings), clock.clone())
        .await
        .context("open the database")?;
    let listener = TcpListener::bind(settings.api.listen)
        .await
        .with_context(|| format!("listen on {}", settings.api.listen))?;

    let tracker = TaskTracker::new();
    let stop = CancellationToken::new();
    // Links outlive what uses them: the last answers and messages still have to go out.
    let unlink = CancellationToken::new();
    let links = TaskTracker::new();
    let link = |role: &str| {
        let name = format!("api-service/{}/{role}", std::process::id());
        Link::start(&settings.amqp, name, &links, unlink.clone())
    };
    let (consuming, publishing) = (link("consume"), link("publish"));
    // The lead is given up after everything that is done under it has ended.
    let (leading, is_leading) = watch::channel(false);
    links.spawn(jobs::leader::run(store.clone(), leading, unlink.clone()));
    let state = AppState {
        store: store.clone(),
        settings: Arc::clone(&settings),
        clock,
        workers: LiveWorkers::new(settings.jobs.worker_down_after),
        progress: ProgressBoard::default(),
        broker: consuming.state(),
        publishing: publishing.state(),
        leading: is_leading,
    };
    start_jobs(&state, &consuming, &publishing, &tracker, &stop);
    tracing::info!("listening on http://{}", listener.local_addr()?);
    let serving = {
        let stop = stop.clone();
        let router = http::router(state.clone());
        tracker.spawn(async move {
            axum::serve(listener, router)
                .with_graceful_shutdown(stop.cancelled_owned())
                .await
        })
    };

    let refused = tokio::select! {
        () = shutdown => None,
        error = consuming.failed() => Some(error),
        error = publishing.failed() => Some(error),
    };
    stop.cancel();
    state.progress.close();
    if tokio::time::timeout(REQUESTS_DRAIN, serving).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
    tracker.close();
    if tokio::time::timeout(REQUESTS_DRAIN * 3, tracker.wait())
        .await
        .is_err()
    {
        tracing::warn!("some tasks did not end in time");
    }
    unlink.cancel();
    links.close();
    let _ = tokio::time::timeout(REQUESTS_DRAIN, links.wait()).await;
    store.close().await;
    tracing::info!("stopped");
    match refused {
        None => Ok(()),
        Some(error) => Err(error).context("use the broker"),
    }
}

/// Everything that happens without a request: see [`jobs`].
fn start_jobs(
    state: &AppState,
    consuming: &Link,
    publishing: &Link,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) {
    let store = &state.store;
    tracker.spawn(common::metrics::upkeep(stop.clone()));
    let desk = Arc::new(Desk::new(store.clone()));
    let protocol = Arc::new(Protocol::new(store.clone(), desk.clone()));
    let hearing = serve_rpc(consuming, publishing, stop.clone(), tracker, protocol);
    tracker.spawn(jobs::outbox_relay::run(
        store.clone(),
        publishing.clone(),
        state.leading.clone(),
        stop.clone(),
    ));
    tracker.spawn(jobs::reaper::run(
        store.clone(),
        hearing,
        state.leading.clone(),
        stop.clone(),
    ));
    tracker.spawn(jobs::reconciler::run(
        store.clone(),
        state.workers.clone(),
        publishing.clone(),
        state.leading.clone(),
        stop.clone(),
    ));
    tracker.spawn(jobs::unrouted::run(
        store.clone(),
        desk,
        consuming.clone(),
        publishing.clone(),
        stop.clone(),
    ));
    tracker.spawn(jobs::parked::run(
        store.clone(),
        consuming.clone(),
        stop.clone(),
    ));
    let listener = jobs::progress::Listener {
        store: store.clone(),
        board: state.progress.clone(),
        workers: state.workers.clone(),
    };
    tracker.spawn(listener.clone().close_settled(stop.clone()));
    tracker.spawn(listener.run(consuming.clone(), stop.clone()));
}
