//! `GET /snapshots/{id}`

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::{snapshot_id, view};
use crate::http::error::ApiError;
use crate::http::extract::{Context, Key};
use crate::state::AppState;

/// One snapshot.
pub(super) async fn show(
    State(state): State<AppState>,
    context: Context,
    key: Key,
) -> Result<Json<Value>, ApiError> {
    let row = state
        .store
        .snapshot(&context.reach(), snapshot_id(&key)?)
        .await?;
    Ok(Json(view::body(&view::detail(&context, &row))))
}
