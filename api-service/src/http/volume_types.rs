//! `GET /types`: there is one, and every volume is of it.

use axum::Json;
use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};

use super::error::ApiError;
use super::extract::{Context, Key};
use super::validate::Fields;
use crate::state::AppState;

/// Its name, as the reference calls the type of volumes that name none.
pub(super) const NAME: &str = "__DEFAULT__";
/// Its id.
pub(super) const ID: &str = "0d06c915-282c-49a1-82df-0bb8454ef8da";

/// Its routes.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v3/types", get(list))
        .route("/v3/types/{type_id}", get(show))
}

fn view() -> Value {
    json!({
        "id": ID,
        "name": NAME,
        "description": "Default Volume Type",
        "is_public": true,
        "extra_specs": {},
        "os-volume-type-access:is_public": true,
    })
}

async fn list(_: Context) -> Json<Value> {
    Json(json!({"volume_types": [view()]}))
}

/// By id, by name, or as the default one.
async fn show(_: Context, Key(key): Key) -> Result<Json<Value>, ApiError> {
    if key == "default" {
        // The one place where the reference leaves it out.
        let mut shown = view();
        if let Some(members) = shown.as_object_mut() {
            members.remove("os-volume-type-access:is_public");
        }
        Ok(Json(json!({"volume_type": shown})))
    } else if [ID, NAME].contains(&key.as_str()) {
        Ok(Json(json!({"volume_type": view()})))
    } else {
        Err(unknown(key))
    }
}

/// Refuses a new volume of a type that is not there.
pub(super) fn check(fields: &Fields<'_>) -> Result<(), ApiError> {
    match fields.text("volume_type")?.flatten() {
        Some(asked) if asked != NAME && asked != ID => Err(unknown(asked)),
        _ => Ok(()),
    }
}

fn unknown(id: String) -> ApiError {
    ApiError::NotFound {
        what: "Volume type".to_owned(),
        id,
    }
}
