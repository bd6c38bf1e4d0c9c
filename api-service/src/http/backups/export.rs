//! `GET /backups/{id}/export_record`

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{backup_id, record};
use crate::http::error::ApiError;
use crate::http::extract::{Context, Key};
use crate::rules::{EXPORTED_SERVICE, may_export};
use crate::state::AppState;

/// Gives a backup's record away, for this or another cloud to take in.
pub(super) async fn export(
    State(state): State<AppState>,
    context: Context,
    key: Key,
) -> Result<Json<Value>, ApiError> {
    let row = state
        .store
        .backup(&context.reach(), backup_id(&key)?)
        .await?;
    context.require_admin("backup:export-import")?;
    may_export(row.status)?;
    Ok(Json(json!({"backup-record": {
        "backup_service": EXPORTED_SERVICE,
        "backup_url": record::encode(&row),
    }})))
}
