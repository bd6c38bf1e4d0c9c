//! Probes: whether the process lives, and whether it can take jobs. And its metrics.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use common::broker::{Link, LinkState};
use common::metrics::{BROKER_UP, SLOTS, SLOTS_BUSY, TARGET_UP, rendered};
use metrics::gauge;
use serde_json::{Value, json};

use crate::running::Running;
use crate::target::TargetState;

/// What the answers are about.
#[derive(Debug, Clone)]
struct Seen {
    links: [Link; 2],
    target: TargetState,
    running: Running,
    slots: u32,
}

/// The probes and the metrics; ready means that both links to the broker are up, and that the target can be used.
pub(crate) fn router(
    links: [Link; 2],
    target: TargetState,
    running: Running,
    slots: u32,
) -> Router {
    let seen = Seen {
        links,
        target,
        running,
        slots,
    };
    Router::new()
        .route("/healthz", get(alive))
        .route("/healthcheck", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(seen)
}

/// Answered as long as there is anybody to answer.
async fn alive() -> &'static str {
    "OK\n"
}

fn trouble(links: &[Link; 2]) -> Option<String> {
    links.iter().find_map(|link| match &*link.state().borrow() {
        LinkState::Up { .. } => None,
        LinkState::Down { why } => Some(why.clone()),
        LinkState::Blocked => Some("it takes no messages: short of memory or disk".to_owned()),
    })
}

/// For Prometheus: what was counted, and how things stand now.
async fn metrics(State(seen): State<Seen>) -> impl IntoResponse {
    let is_up = trouble(&seen.links).is_none();
    gauge!(BROKER_UP).set(f64::from(u8::from(is_up)));
    gauge!(TARGET_UP).set(f64::from(u8::from(seen.target.trouble().is_none())));
    gauge!(SLOTS).set(f64::from(seen.slots));
    gauge!(SLOTS_BUSY).set(seen.running.jobs().len() as f64);
    let text = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, text)], rendered())
}

async fn ready(State(seen): State<Seen>) -> (StatusCode, Json<Value>) {
    let (broker, target) = (trouble(&seen.links), seen.target.trouble());
    let ready = broker.is_none() && target.is_none();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let told = |trouble: Option<String>| trouble.unwrap_or_else(|| "up".to_owned());
    let body = json!({"ready": ready, "broker": told(broker), "target": told(target)});
    (status, Json(body))
}
