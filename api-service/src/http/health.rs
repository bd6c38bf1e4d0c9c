//! Probes: whether the process lives, and whether it can do its work.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use common::broker::LinkState;
use common::telemetry::error_chain;
use serde_json::{Value, json};

use crate::state::AppState;

/// Their routes.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/healthz", get(alive))
        .route("/healthcheck", get(alive))
        .route("/readyz", get(ready))
}

/// Answered as long as there is anybody to answer.
async fn alive() -> &'static str {
    "OK\n"
}

/// Broker and database are needed; workers are told, since a request without any is queued.
async fn ready(State(state): State<AppState>) -> (StatusCode, Json<Value>) {
    let database = match state.store.ping().await {
        Ok(()) => Ok(()),
        Err(error) => Err(error_chain(&error)),
    };
    let broker = broker(&state.broker.borrow());
    let workers = state.workers.alive();
    let workers: Vec<&str> = workers.iter().map(|data| data.worker.as_str()).collect();
    let ready = database.is_ok() && broker.is_ok();
    let told = |health: Result<(), String>| health.err().unwrap_or_else(|| "up".to_owned());
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = json!({
        "ready": ready,
        "broker": told(broker),
        "database": told(database),
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
