//! `DELETE /volumes/{id}`

use axum::extract::State;
use axum::http::StatusCode;

use super::volume_id;
use crate::http::error::ApiError;
use crate::http::extract::{Context, Key};
use crate::state::AppState;

/// Has a worker remove the volume. `cascade` and `force`, which `openstack` always says, change
/// nothing: there is nothing below a volume, and one that is worked on is not removed.
pub(super) async fn delete(
    State(state): State<AppState>,
    context: Context,
    key: Key,
) -> Result<StatusCode, ApiError> {
    let id = volume_id(&key)?;
    let reach = context.reach();
    state
        .store
        .delete_volume(&context.caller, &reach, id)
        .await?;
    Ok(StatusCode::ACCEPTED)
}
