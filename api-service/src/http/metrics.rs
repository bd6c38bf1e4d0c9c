//! `GET /metrics`, for Prometheus: what was counted, and how things stand now.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use common::broker::LinkState;
use common::domain::{JobKind, JobState};
use common::metrics::{BROKER_UP, JOBS_UNSETTLED, OUTBOX, QUEUE_AGE, WORKERS_ALIVE, rendered};
use common::telemetry::error_chain;
use metrics::gauge;

use crate::state::AppState;
use crate::store::StoreError;

/// The text form of version 0.0.4.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Looks at the rows, then tells all. When the rows cannot be read, the counters are told all the same.
pub(super) async fn metrics(State(state): State<AppState>) -> Response {
    if let Err(error) = look(&state).await {
        tracing::warn!(error = error_chain(&error), "the rows were not measured");
    }
    ([(header::CONTENT_TYPE, TEXT)], rendered()).into_response()
}

async fn look(state: &AppState) -> Result<(), StoreError> {
    // A broker that is short of memory or disk mutes only the link that publishes.
    let links = [&state.broker, &state.publishing];
    let is_up = links
        .iter()
        .all(|link| matches!(*link.borrow(), LinkState::Up { .. }));
    gauge!(BROKER_UP).set(f64::from(u8::from(is_up)));
    gauge!(WORKERS_ALIVE).set(state.workers.alive().len() as f64);
    gauge!(OUTBOX).set(state.store.outbox_backlog().await? as f64);
    let figures = state.store.unsettled_figures().await?;
    for kind in JobKind::ALL {
        let mut oldest = 0.0_f64;
        for unsettled in [JobState::Queued, JobState::Running, JobState::Committing] {
            let found = figures
                .iter()
                .find(|figure| (figure.kind, figure.state) == (*kind, unsettled));
            let count = found.map_or(0, |figure| figure.count);
            let labels = [("kind", kind.as_str()), ("state", unsettled.as_str())];
            gauge!(JOBS_UNSETTLED, &labels).set(count as f64);
            oldest = oldest.max(found.map_or(0.0, |figure| figure.waiting_seconds));
        }
        gauge!(QUEUE_AGE, "kind" => kind.as_str()).set(oldest);
    }
    Ok(())
}
