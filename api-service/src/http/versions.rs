//! The version document: `GET /`, `GET /v3` and `GET /v3/`. None of them needs a token: `openstack`
//! asks without one, and without authentication it never has one.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::extract::base_url;
use super::extract::microversion::Microversion;
use crate::state::AppState;

/// The choices at the root.
pub(super) async fn root(State(state): State<AppState>, uri: Uri, headers: HeaderMap) -> Response {
    let document = document(&state, &uri, &headers);
    (StatusCode::MULTIPLE_CHOICES, Json(document)).into_response()
}

/// The same document at the version itself.
pub(super) async fn v3(State(state): State<AppState>, uri: Uri, headers: HeaderMap) -> Json<Value> {
    Json(document(&state, &uri, &headers))
}

fn document(state: &AppState, uri: &Uri, headers: &HeaderMap) -> Value {
    let api = &state.settings.api;
    let base = base_url::of_request(api.public_endpoint.as_deref(), uri, headers, api.listen);
    json!({"versions": [{
        "id": "v3.0",
        "status": "CURRENT",
        "version": Microversion::MAX.to_string(),
        "min_version": Microversion::MIN.to_string(),
        "updated": "2023-08-31T00:00:00Z",
        "links": [
            {"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
            {"rel": "self", "href": format!("{base}/v3/")},
        ],
        "media-types": [{
            "base": "application/json",
            "type": "application/vnd.openstack.volume+json;version=3",
        }],
    }]})
}
