//! `POST /backups`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use common::domain::{ContainerName, VolumeId};
use serde_json::Value;

use super::view;
use crate::http::error::ApiError;
use crate::http::extract::microversion::Microversion;
use crate::http::extract::{Context, JsonBody, parse_id};
use crate::http::observe;
use crate::http::overload::refuse_when_overloaded;
use crate::http::validate::Fields;
use crate::state::AppState;
use crate::store::{NewBackup, Resource};

/// Records a backup to be made, and has a worker make it.
pub(super) async fn create(
    State(state): State<AppState>,
    context: Context,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let new = parse(context.version, &body)?;
    observe::about_volume(new.volume_id);
    refuse_when_overloaded(&state).await?;
    let row = state.store.create_backup(&context.caller, new).await?;
    observe::about_backup(row.id);
    let answer = view::body(&view::summary(&context, &row));
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

/// What a body asks for.
pub(in crate::http) fn parse(version: Microversion, body: &Value) -> Result<NewBackup, ApiError> {
    let mut allowed = vec![
        "volume_id",
        "name",
        "description",
        "container",
        "incremental",
        "force",
        "snapshot_id",
    ];
    for (field, since) in [
        ("metadata", Microversion::BACKUP_METADATA),
        ("availability_zone", Microversion::BACKUP_ZONE),
    ] {
        if version >= since {
            allowed.push(field);
        }
    }
    let fields = Fields::of(body, "backup", &[], &allowed, &["volume_id"])?;
    let volume_id = fields.required_uuid("volume_id")?;
    let snapshot_id = fields.uuid("snapshot_id")?;
    let new = NewBackup {
        name: fields.name("name")?.flatten(),
        description: fields.description("description")?.flatten(),
        container: container(&fields)?,
        incremental: fields.boolean("incremental")?,
        force: fields.boolean("force")?,
        metadata: fields.metadata("metadata")?.unwrap_or_default(),
        availability_zone: fields.text("availability_zone")?.flatten(),
        // Whether such a volume exists comes after all that can be wrong with the body.
        volume_id: parse_id::<VolumeId>(Resource::Volume, &volume_id)?,
        snapshot_id: snapshot_id
            .map(|id| parse_id(Resource::Snapshot, &id))
            .transpose()?,
    };
    Ok(new)
}

/// The container; an empty name asks for the usual one, as null does. A name that could lead out
/// of the target's root is refused here and nowhere later.
fn container(fields: &Fields<'_>) -> Result<Option<ContainerName>, ApiError> {
    let name = fields.text("container")?.flatten();
    match name.filter(|name| !name.is_empty()) {
        None => Ok(None),
        Some(name) => ContainerName::new(name)
            .map(Some)
            .map_err(|bad| fields.refuse("container", bad.why).into()),
    }
}
