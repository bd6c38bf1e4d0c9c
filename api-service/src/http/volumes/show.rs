//! `GET /volumes/{id}`

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::{view, volume_id};
use crate::http::error::ApiError;
use crate::http::extract::{Context, Key};
use crate::state::AppState;

/// One volume.
pub(super) async fn show(
    State(state): State<AppState>,
    context: Context,
    key: Key,
) -> Result<Json<Value>, ApiError> {
    let row = state
        .store
        .volume(&context.reach(), volume_id(&key)?)
        .await?;
    Ok(Json(view::body(&view::detail(&context, &row))))
}
