//! `GET /snapshots`: clients look a name up here; there are none yet.

use axum::Json;
use serde_json::{Value, json};

use crate::http::error::ApiError;
use crate::http::extract::{Context, Key};
use crate::store::Resource;

/// None.
pub(super) async fn list(_: Context) -> Json<Value> {
    Json(json!({"snapshots": []}))
}

/// Not there.
pub(super) async fn show(_: Context, Key(id): Key) -> ApiError {
    ApiError::NotFound {
        what: Resource::Snapshot.to_string(),
        id,
    }
}
