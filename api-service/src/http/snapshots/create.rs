//! `POST /snapshots`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use common::domain::VolumeId;
use serde_json::Value;

use super::view;
use crate::http::error::ApiError;
use crate::http::extract::microversion::Microversion;
use crate::http::extract::{Context, JsonBody, parse_id};
use crate::http::observe;
use crate::http::overload::refuse_when_overloaded;
use crate::http::validate::Fields;
use crate::state::AppState;
use crate::store::{NewSnapshot, Resource};

const ALLOWED: &[&str] = &[
    "volume_id",
    "name",
    "display_name",
    "description",
    "metadata",
    "force",
];

/// Records a snapshot to be taken, and has a worker take it.
pub(super) async fn create(
    State(state): State<AppState>,
    context: Context,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let new = parse(&context, &body)?;
    observe::about_volume(new.volume_id);
    refuse_when_overloaded(&state).await?;
    let row = state.store.create_snapshot(&context.caller, new).await?;
    observe::about_snapshot(row.id);
    let answer = view::body(&view::summary(&context, &row));
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

fn parse(context: &Context, body: &Value) -> Result<NewSnapshot, ApiError> {
    let fields = Fields::of(body, "snapshot", &[], ALLOWED, &["volume_id"])?;
    let volume_id = fields.required_uuid("volume_id")?;
    let name = fields.name("name")?;
    let force = match fields.raw("force") {
        None | Some(Value::Null) => None,
        Some(_) => Some(fields.boolean("force")?),
    };
    // From here on an attached volume needs no force; clients that say it all the same are let.
    let in_use_too = context.version >= Microversion::SNAPSHOT_IN_USE;
    if in_use_too && force == Some(false) {
        return Err(ApiError::Invalid(format!(
            "Since microversion {} the 'force' flag is invalid for this request. For backward \
             compatibility, however, when the 'force' flag is passed with a value evaluating to \
             True, it is silently ignored.",
            Microversion::SNAPSHOT_IN_USE
        )));
    }
    Ok(NewSnapshot {
        name: name.or(fields.name("display_name")?).flatten(),
        description: fields.description("description")?.flatten(),
        metadata: fields.metadata("metadata")?.unwrap_or_default(),
        in_use_too: in_use_too || force == Some(true),
        // Whether such a volume exists comes after all that can be wrong with the body.
        volume_id: parse_id::<VolumeId>(Resource::Volume, &volume_id)?,
    })
}
