//! Probes: whether the process lives, and whether it can do its work.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use common::broker::LinkState;
use common::telemetry::error_chain;
use serde_json::{Value, json};

use super::metrics;
use crate::state::AppState;

/// How long the database may take to answer a probe, which wants an answer itself.
const PATIENCE: Duration = Duration::from_secs(3);

/// Their routes.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/healthz", get(alive))
        .route("/healthcheck", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::metrics))
}

/// Answered as long as there is anybody to answer.
async fn alive() -> &'static str {
    "OK\n"
}

/// Broker and database are needed; workers are told, since a request without any is queued. What is
/// missing is named, with the reason; whether this process has the lead is told too, and need not be so: requests are still accepted without the broker, but not above
/// the high-water mark.
async fn ready(State(state): State<AppState>) -> (StatusCode, Json<Value>) {
    let asked = state.store.outbox_backlog();
    let outbox = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answered) => answered.map_err(|error| error_chain(&error)),
        Err(_) => Err("it does not answer".to_owned()),
    };
    let database = outbox.as_ref().map(|_| ()).map_err(Clone::clone);
    let consuming = broker(&state.broker.borrow());
    let broker = consuming.and_then(|()| broker(&state.publishing.borrow()));
    let outbox = outbox.ok();
    let high_water = u64::from(state.settings.jobs.outbox_high_water);
    let overloaded = outbox.filter(|waiting| *waiting > high_water);
    let mut degraded = Vec::new();
    if let Err(why) = &broker {
        degraded.push(format!("the broker: {why}"));
    }
    if let Err(why) = &database {
        degraded.push(format!("the database: {why}"));
    }
    if let Some(waiting) = overloaded {
        degraded.push(format!(
            "{waiting} messages wait for the broker, more than {high_water}: no new work is taken"
        ));
    }
    let workers = state.workers.alive();
    let workers: Vec<&str> = workers.iter().map(|data| data.worker.as_str()).collect();
    let ready = degraded.is_empty();
    let told = |health: Result<(), String>| health.err().unwrap_or_else(|| "up".to_owned());
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = json!({
        "ready": ready,
        "degraded": degraded,
        "broker": told(broker),
        "database": told(database),
        "outbox": outbox,
        "leads": *state.leading.borrow(),
        "workers": workers,
    });
    (status, Json(body))
}

/// Up, or why not.
fn broker(link: &LinkState) -> Result<(), String> {
    match link {
        LinkState::Up { .. } => Ok(()),
        LinkState::Down { why } => Err(why.clone()),
        LinkState::Blocked => Err("it takes no messages: short of memory or disk".to_owned()),
    }
}
