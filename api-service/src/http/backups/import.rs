//! `POST /backups/import_record`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::record;
use crate::http::error::ApiError;
use crate::http::extract::{Context, JsonBody};
use crate::http::observe;
use crate::http::validate::Fields;
use crate::state::AppState;

/// Takes in a backup whose data is on the target already.
pub(super) async fn import(
    State(state): State<AppState>,
    context: Context,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let names = ["backup_service", "backup_url"];
    let fields = Fields::of(&body, "backup-record", &[], &names, &names)?;
    let service = fields.present_text("backup_service")?;
    let url = fields.present_long_text("backup_url")?;
    let bytes = record::unwrap(&url)
        .ok_or_else(|| fields.refuse("backup_url", format!("'{url}' is not a 'base64'")))?;
    context.require_admin("backup:backup-import")?;
    let record = record::decode(&service, &bytes)?;
    observe::about_backup(record.id);
    let row = state.store.import_backup(&context.caller, record).await?;
    // The reference knows the name only later; clients expect none.
    Ok((
        StatusCode::CREATED,
        Json(json!({"backup": {
            "id": row.id.to_string(),
            "name": null,
            "links": context.links.to("backups", row.id),
        }})),
    ))
}
