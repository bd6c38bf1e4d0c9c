//! What clients ask for around backups and volumes: who serves, where, how much, and how lists can
//! be filtered. Small, mostly read-only, and needed by their commands.

mod limits;
mod quota_sets;
mod services;

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::error::ApiError;
use super::extract::microversion::Microversion;
use super::extract::{Context, Query};
use super::{backups, snapshots, volumes};
use crate::state::AppState;

/// Its routes.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v3/limits", get(limits::show))
        .route(
            "/v3/os-quota-sets/{project_id}",
            get(quota_sets::show).put(quota_sets::update),
        )
        .route("/v3/os-services", get(services::list))
        .route("/v3/os-availability-zone", get(services::zones))
        .route("/v3/resource_filters", get(resource_filters))
        .route("/v3/extensions", get(extensions))
}

/// The filters that are open to everybody.
async fn resource_filters(context: Context, query: Query) -> Result<Json<Value>, ApiError> {
    if context.version < Microversion::RESOURCE_FILTERS {
        return Err(ApiError::NoRoute);
    }
    let asked = query.get("resource");
    let known = [
        ("volume", volumes::OPEN_FILTERS),
        ("backup", backups::OPEN_FILTERS),
        ("snapshot", snapshots::OPEN_FILTERS),
    ];
    let shown: Vec<Value> = known
        .into_iter()
        .filter(|(resource, _)| asked.is_none_or(|asked| asked == *resource))
        .map(|(resource, filters)| json!({"resource": resource, "filters": filters}))
        .collect();
    Ok(Json(json!({"resource_filters": shown})))
}

/// Old clients look here before they use what was once optional.
async fn extensions(_: Context) -> Json<Value> {
    let known = [
        ("Backups", "backups", "Backups support."),
        ("AdminActions", "os-admin-actions", "Enable admin actions."),
        (
            "VolumeManage",
            "os-volume-manage",
            "Allow existing backend storage to be 'managed'.",
        ),
        (
            "VolumeActions",
            "os-volume-actions",
            "Enable volume actions.",
        ),
        (
            "AvailabilityZones",
            "os-availability-zone",
            "Describe availability zones.",
        ),
        ("Services", "os-services", "Services support."),
        ("Quotas", "os-quota-sets", "Quota management support."),
        (
            "UsedLimits",
            "os-used-limits",
            "Provide data on limited resources that are being used.",
        ),
    ];
    let shown: Vec<Value> = known
        .into_iter()
        .map(|(name, alias, description)| {
            json!({
                "name": name,
                "alias": alias,
                "description": description,
                "updated": "2023-08-31T00:00:00+00:00",
                "links": [],
            })
        })
        .collect();
    Json(json!({"extensions": shown}))
}
