//! Probes: whether the process lives, and whether it can take jobs.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use common::broker::{Link, LinkState};
use serde_json::{Value, json};

/// The probes; ready means that both links to the broker are up.
pub(crate) fn router(links: [Link; 2]) -> Router {
    Router::new()
        .route("/healthz", get(alive))
        .route("/healthcheck", get(alive))
        .route("/readyz", get(ready))
        .with_state(links)
}

/// Answered as long as there is anybody to answer.
async fn alive() -> &'static str {
    "OK\n"
}

async fn ready(State(links): State<[Link; 2]>) -> (StatusCode, Json<Value>) {
    let trouble = links.iter().find_map(|link| match &*link.state().borrow() {
        LinkState::Up { .. } => None,
        LinkState::Down { why } => Some(why.clone()),
        LinkState::Blocked => Some("it takes no messages: short of memory or disk".to_owned()),
    });
    let status = match trouble {
        None => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let ready = trouble.is_none();
    let broker = trouble.unwrap_or_else(|| "up".to_owned());
    (status, Json(json!({"ready": ready, "broker": broker})))
}
