//! The same checks and the same words for requests that came by message.

use common::domain::{BackupId, VolumeId};
use common::messages::published::Rejection;
use serde_json::{Value, json};

use super::backups;
use super::error::ApiError;
use super::extract::microversion::Microversion;
use super::extract::parse_id;
use crate::store::{NewBackup, RequestError, Resource, RestoreRequest, StoreError};

/// What the object of a `POST /backups` asks for, in the newest version of the API.
pub(crate) fn backup(object: &Value) -> Result<NewBackup, Rejection> {
    let body = json!({ "backup": object });
    backups::create::parse(Microversion::MAX, &body).map_err(rejection)
}

/// What the object of a `POST /backups/{id}/restore` asks for.
pub(crate) fn restore(object: &Value) -> Result<RestoreRequest, Rejection> {
    let body = json!({ "restore": object });
    let (volume_id, name) = backups::restore::parse(&body).map_err(rejection)?;
    let volume_id = volume_id
        .map(|id| parse_id::<VolumeId>(Resource::Volume, &id))
        .transpose()
        .map_err(rejection)?;
    Ok(RestoreRequest {
        volume_id,
        name,
        ..RestoreRequest::default()
    })
}

/// The backup a request is about.
pub(crate) fn backup_id(text: &str) -> Result<BackupId, Rejection> {
    parse_id(Resource::Backup, text).map_err(rejection)
}

/// Why a request came to nothing, if that is for its publisher to know.
pub(crate) fn refusal(error: RequestError) -> Result<Rejection, StoreError> {
    match error {
        RequestError::Store(error) => Err(error),
        refused => Ok(rejection(refused.into())),
    }
}

fn rejection(error: ApiError) -> Rejection {
    let (code, message) = error.in_words();
    Rejection {
        code: code.to_owned(),
        message,
    }
}
