//! `POST /volumes`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use common::domain::{BackupId, SnapshotId};
use serde_json::Value;

use super::view;
use crate::http::error::ApiError;
use crate::http::extract::microversion::Microversion;
use crate::http::extract::{Context, JsonBody, parse_id};
use crate::http::observe;
use crate::http::overload::refuse_when_overloaded;
use crate::http::validate::Fields;
use crate::http::volume_types;
use crate::rules::Refusal;
use crate::state::AppState;
use crate::store::{NewVolume, Resource, RestoreRequest, VolumeRow};

/// Clients send nearly all of these, most of them as null.
const ALLOWED: &[&str] = &[
    "size",
    "name",
    "display_name",
    "description",
    "display_description",
    "metadata",
    "volume_type",
    "availability_zone",
    "snapshot_id",
    "source_volid",
    "source_replica",
    "imageRef",
    "image_id",
    "consistencygroup_id",
    "group_id",
    "multiattach",
    "backup_id",
];

/// Ways to fill a new volume that are not ours.
const OTHER_SOURCES: &[&str] = &[
    "source_volid",
    "source_replica",
    "imageRef",
    "image_id",
    "consistencygroup_id",
    "group_id",
];

/// What is asked for.
#[derive(Debug)]
enum Request {
    /// A volume that reads as zeros.
    Empty(NewVolume),
    /// A volume with the bytes of a backup; size 0 means the backup's.
    FromBackup(BackupId, NewVolume),
    /// A volume with the bytes of a snapshot; size 0 means the snapshot's.
    FromSnapshot(SnapshotId, NewVolume),
}

/// Records a volume, and has a worker make it: of zeros, or of what a backup or a snapshot holds.
pub(super) async fn create(
    State(state): State<AppState>,
    context: Context,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let request = parse(&context, &body)?;
    refuse_when_overloaded(&state).await?;
    let row = match request {
        Request::Empty(new) => state.store.create_volume(&context.caller, new).await?,
        Request::FromBackup(id, new) => from_backup(&state, &context, id, new).await?,
        Request::FromSnapshot(id, new) => {
            observe::about_snapshot(id);
            let (store, reach) = (&state.store, context.reach());
            store
                .create_volume_from(&context.caller, &reach, id, new)
                .await?
        }
    };
    observe::about_volume(row.id);
    let answer = view::body(&view::created(&context, &row));
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

/// A restore to a new volume, asked for the other way round.
async fn from_backup(
    state: &AppState,
    context: &Context,
    id: BackupId,
    new: NewVolume,
) -> Result<VolumeRow, ApiError> {
    let reach = context.reach();
    let backup = state.store.backup(&reach, id).await?;
    observe::about_backup(id);
    if new.size_gib != 0 && new.size_gib < backup.size_gib {
        return Err(Refusal::TargetTooSmall {
            volume_gib: new.size_gib,
            backup_gib: backup.size_gib,
        }
        .into());
    }
    if new.size_gib > backup.size_gib {
        // A restore makes its volume as large as the backup; a smaller one than asked for is no answer.
        return Err(ApiError::Invalid(format!(
            "Invalid input for field/attribute size. Value: {}. A volume from this backup has its \
             size: {}",
            new.size_gib, backup.size_gib
        )));
    }
    let request = RestoreRequest {
        volume_id: None,
        name: new.name.filter(|name| !name.is_empty()),
        description: Some(new.description),
        metadata: new.metadata,
    };
    let started = state
        .store
        .restore_backup(&context.caller, &reach, id, request)
        .await?;
    Ok(state.store.volume(&reach, started.volume_id).await?)
}

fn parse(context: &Context, body: &Value) -> Result<Request, ApiError> {
    let beside = ["OS-SCH-HNT:scheduler_hints"];
    let fields = Fields::of(body, "volume", &beside, ALLOWED, &[])?;
    let size = fields.number("size", 1)?;
    let name = fields.name("name")?;
    let description = fields.description("description")?;
    let new = NewVolume {
        name: name.or(fields.name("display_name")?).flatten(),
        description: description
            .or(fields.description("display_description")?)
            .flatten(),
        size_gib: size.unwrap_or_default(),
        availability_zone: fields.text("availability_zone")?.flatten(),
        backend: None,
        metadata: fields.metadata("metadata")?.unwrap_or_default(),
        bootable: false,
    };
    let multiattach = fields
        .raw("multiattach")
        .is_some_and(|value| !value.is_null());
    if multiattach && fields.boolean("multiattach")? {
        let reason = "volumes of this service are attached to one server at a time";
        return Err(fields.refuse("multiattach", reason).into());
    }
    for field in OTHER_SOURCES {
        if fields.raw(field).is_some_and(|value| !value.is_null()) {
            let reason =
                "volumes of this service are made empty, from a snapshot, or from a backup";
            return Err(fields.refuse(field, reason).into());
        }
    }
    let backup_id = fields.uuid("backup_id")?;
    if backup_id.is_some() && context.version < Microversion::VOLUME_FROM_BACKUP {
        let reason = "it is known from version 3.47 on";
        return Err(fields.refuse("backup_id", reason).into());
    }
    let snapshot_id = fields.uuid("snapshot_id")?;
    if snapshot_id.is_some() && backup_id.is_some() {
        let reason = "a volume is made from a snapshot or from a backup";
        return Err(fields.refuse("snapshot_id", reason).into());
    }
    if size.is_none() && backup_id.is_none() && snapshot_id.is_none() {
        let reason = "'size' is a required property";
        return Err(fields.refuse("volume", reason).into());
    }
    volume_types::check(&fields)?;
    Ok(match (backup_id, snapshot_id) {
        (None, None) => Request::Empty(new),
        (Some(id), _) => Request::FromBackup(parse_id(Resource::Backup, &id)?, new),
        (None, Some(id)) => Request::FromSnapshot(parse_id(Resource::Snapshot, &id)?, new),
    })
}
