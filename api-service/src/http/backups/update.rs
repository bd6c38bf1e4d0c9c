//! `PUT /backups/{id}`

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::{backup_id, view};
use crate::http::error::ApiError;
use crate::http::extract::microversion::Microversion;
use crate::http::extract::{Context, JsonBody, Key};
use crate::http::validate::Fields;
use crate::state::AppState;
use crate::store::BackupChanges;

/// Changes name, description and metadata, whatever the status.
pub(super) async fn update(
    State(state): State<AppState>,
    context: Context,
    key: Key,
    JsonBody(body): JsonBody,
) -> Result<Json<Value>, ApiError> {
    let changes = parse(&context, &body)?;
    let id = backup_id(&key)?;
    let row = state
        .store
        .update_backup(&context.reach(), id, changes)
        .await?;
    Ok(Json(view::body(&view::summary(&context, &row))))
}

fn parse(context: &Context, body: &Value) -> Result<BackupChanges, ApiError> {
    if context.version < Microversion::BACKUP_UPDATE {
        return Err(ApiError::NoRoute);
    }
    let with_metadata: &[&str] = &["name", "description", "metadata"];
    let allowed = match context.version >= Microversion::BACKUP_METADATA {
        true => with_metadata,
        false => &with_metadata[..2],
    };
    let fields = Fields::of(body, "backup", &[], allowed, &[])?;
    if fields.raw("metadata").is_some_and(Value::is_null) {
        return Err(fields
            .refuse("metadata", "None is not of type 'object'")
            .into());
    }
    Ok(BackupChanges {
        name: fields.name("name")?,
        description: fields.description("description")?,
        metadata: fields.metadata("metadata")?,
    })
}
