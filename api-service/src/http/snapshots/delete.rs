//! `DELETE /snapshots/{id}`

use axum::extract::State;
use axum::http::StatusCode;

use super::snapshot_id;
use crate::http::error::ApiError;
use crate::http::extract::{Context, Key};
use crate::state::AppState;

/// Has a worker remove the snapshot.
pub(super) async fn delete(
    State(state): State<AppState>,
    context: Context,
    key: Key,
) -> Result<StatusCode, ApiError> {
    let id = snapshot_id(&key)?;
    let reach = context.reach();
    state
        .store
        .delete_snapshot(&context.caller, &reach, id, false)
        .await?;
    Ok(StatusCode::ACCEPTED)
}
