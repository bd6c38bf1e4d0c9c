//! `DELETE /backups/{id}`

use axum::extract::State;
use axum::http::StatusCode;

use super::backup_id;
use crate::http::error::ApiError;
use crate::http::extract::{Context, Key};
use crate::state::AppState;

/// Has a worker remove a settled backup that nothing builds on.
pub(super) async fn delete(
    State(state): State<AppState>,
    context: Context,
    key: Key,
) -> Result<StatusCode, ApiError> {
    let id = backup_id(&key)?;
    let reach = context.reach();
    state
        .store
        .delete_backup(&context.caller, &reach, id, false)
        .await?;
    Ok(StatusCode::ACCEPTED)
}
