//! `POST /backups/{id}/restore`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use common::domain::VolumeId;
use serde_json::{Value, json};

use super::backup_id;
use crate::http::error::ApiError;
use crate::http::extract::{Context, JsonBody, Key, parse_id};
use crate::http::observe;
use crate::http::overload::refuse_when_overloaded;
use crate::http::validate::Fields;
use crate::state::AppState;
use crate::store::{Resource, RestoreRequest};

/// Has a worker read the backup into a volume: the named one, or a new one of its size.
pub(super) async fn restore(
    State(state): State<AppState>,
    context: Context,
    key: Key,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let (volume_id, name) = parse(&body)?;
    let id = backup_id(&key)?;
    let reach = context.reach();
    refuse_when_overloaded(&state).await?;
    let volume_id = match volume_id {
        None => None,
        Some(text) => {
            // An unknown backup is told before an unknown volume.
            state.store.backup(&reach, id).await?;
            Some(parse_id::<VolumeId>(Resource::Volume, &text)?)
        }
    };
    let request = RestoreRequest {
        volume_id,
        name,
        ..RestoreRequest::default()
    };
    let started = state
        .store
        .restore_backup(&context.caller, &reach, id, request)
        .await?;
    observe::about_volume(started.volume_id);
    let answer = json!({"restore": {
        "backup_id": id.to_string(),
        "volume_id": started.volume_id.to_string(),
        "volume_name": started.volume_name,
    }});
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

/// What a body asks for: the volume's id as it came, and the name of a new one.
pub(in crate::http) fn parse(body: &Value) -> Result<(Option<String>, Option<String>), ApiError> {
    let fields = Fields::of(body, "restore", &[], &["volume_id", "name"], &[])?;
    let name = fields.name("name")?.flatten();
    let name = name.filter(|name| !name.is_empty());
    Ok((fields.uuid("volume_id")?, name))
}
