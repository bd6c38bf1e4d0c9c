//! `PUT /snapshots/{id}`

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::{snapshot_id, view};
use crate::http::error::ApiError;
use crate::http::extract::{Context, JsonBody, Key};
use crate::http::validate::Fields;
use crate::state::AppState;
use crate::store::SnapshotChanges;

/// Changes name and description.
pub(super) async fn update(
    State(state): State<AppState>,
    context: Context,
    key: Key,
    JsonBody(body): JsonBody,
) -> Result<Json<Value>, ApiError> {
    let allowed = ["name", "description", "display_name", "display_description"];
    let fields = Fields::of(&body, "snapshot", &[], &allowed, &[])?;
    if allowed.iter().all(|field| fields.raw(field).is_none()) {
        let reason = "'name' is a required property";
        return Err(fields.refuse("snapshot", reason).into());
    }
    let new_name = fields.name("name")?;
    let new_description = fields.description("description")?;
    let changes = SnapshotChanges {
        name: new_name.or(fields.name("display_name")?),
        description: new_description.or(fields.description("display_description")?),
    };
    let id = snapshot_id(&key)?;
    let row = state
        .store
        .update_snapshot(&context.reach(), id, changes)
        .await?;
    Ok(Json(view::body(&view::summary(&context, &row))))
}
