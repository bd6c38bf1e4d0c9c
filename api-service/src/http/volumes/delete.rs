//! `DELETE /volumes/{id}`

use axum::extract::State;
use axum::http::StatusCode;

use super::volume_id;
use crate::http::error::ApiError;
use crate::http::extract::{Context, Key, Query};
use crate::http::listing::flag;
use crate::state::AppState;
use crate::store::Deleting;

/// Has a worker remove the volume: with `cascade` its snapshots too, with `force` (an administrator's
/// word) whatever its status.
pub(super) async fn delete(
    State(state): State<AppState>,
    context: Context,
    key: Key,
    query: Query,
) -> Result<StatusCode, ApiError> {
    let asked = |name: &str| query.get(name).map_or(Ok(false), |text| flag(name, text));
    let how = Deleting {
        cascade: asked("cascade")?,
        force: asked("force")?,
    };
    let id = volume_id(&key)?;
    let reach = context.reach();
    if how.force && !context.caller.is_admin {
        state.store.volume(&reach, id).await?;
        context.require_admin("volume:force_delete")?;
    }
    state
        .store
        .delete_volume(&context.caller, &reach, id, how)
        .await?;
    Ok(StatusCode::ACCEPTED)
}
