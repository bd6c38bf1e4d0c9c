//! `PUT /volumes/{id}`

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::{view, volume_id};
use crate::http::error::ApiError;
use crate::http::extract::{Context, JsonBody, Key};
use crate::http::validate::Fields;
use crate::state::AppState;
use crate::store::VolumeChanges;

/// Changes name, description and metadata.
pub(super) async fn update(
    State(state): State<AppState>,
    context: Context,
    key: Key,
    JsonBody(body): JsonBody,
) -> Result<Json<Value>, ApiError> {
    let allowed = [
        "name",
        "description",
        "display_name",
        "display_description",
        "metadata",
    ];
    let fields = Fields::of(&body, "volume", &[], &allowed, &[])?;
    let new_name = fields.name("name")?;
    let new_description = fields.description("description")?;
    let changes = VolumeChanges {
        name: new_name.or(fields.name("display_name")?),
        description: new_description.or(fields.description("display_description")?),
        metadata: fields.metadata("metadata")?,
    };
    let id = volume_id(&key)?;
    let row = state
        .store
        .update_volume(&context.reach(), id, changes)
        .await?;
    Ok(Json(view::body(&view::detail(&context, &row))))
}
