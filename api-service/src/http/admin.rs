//! What operators ask, beside the Block Storage API:
//!
//! ```text
//! GET /admin/jobs   200   every job that is not settled: who holds it, since when, how far it is
//! ```

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use common::domain::JobId;
use serde_json::{Value, json};

use super::error::ApiError;
use super::extract::{Context, Query};
use super::listing::limit;
use crate::state::AppState;

/// Its routes.
pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/admin/jobs", get(jobs))
}

/// A page of jobs, oldest first; `limit` and `marker` as in every list. `next` is the page after it.
async fn jobs(
    State(state): State<AppState>,
    context: Context,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    context.require_admin("emberkeep:jobs:index")?;
    let most = limit(&query)?;
    let after = query.get("marker").map(|marker| {
        marker.parse::<JobId>().map_err(|_| ApiError::NotFound {
            what: "Job".to_owned(),
            id: marker.to_owned(),
        })
    });
    let jobs = state.store.held_jobs(after.transpose()?, most).await?;
    let is_full = u64::try_from(jobs.len()).unwrap_or(u64::MAX) >= most;
    let last = jobs.last().filter(|_| is_full);
    let next = last.map(|last| {
        let query = query.encoded_with("marker", &last.id.to_string());
        format!("/admin/jobs?{query}")
    });
    Ok(Json(json!({"jobs": jobs, "next": next})))
}
