//! `GET /os-services` and `GET /os-availability-zone`: the workers, as the API has them.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use common::domain::WorkerName;
use serde_json::{Value, json};

use crate::http::error::ApiError;
use crate::http::extract::microversion::Microversion;
use crate::http::extract::{Context, Query};
use crate::http::time::api_time;
use crate::state::AppState;

/// A worker is a backup service, and a volume service for every backend it reaches.
pub(super) async fn list(
    State(state): State<AppState>,
    context: Context,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    context.require_admin("volume_extension:services:index")?;
    let wanted = |name: &str, value: &str| query.get(name).is_none_or(|asked| asked == value);
    let live = live(&state);
    let mut services = Vec::new();
    for worker in state.store.workers().await? {
        let is_live = live.contains(&worker.name);
        let backends = worker.volume_backends.iter();
        let hosts = backends
            .map(|backend| ("cinder-volume", format!("{}@{backend}", worker.name)))
            .chain([("cinder-backup", worker.name.to_string())]);
        for (binary, host) in hosts {
            if wanted("binary", binary) && wanted("host", &host) {
                let mut service = json!({
                    "binary": binary,
                    "host": host,
                    "zone": worker.zone.as_str(),
                    "status": "enabled",
                    "state": if is_live { "up" } else { "down" },
                    "updated_at": api_time(worker.last_seen),
                    "disabled_reason": null,
                    "cluster": null,
                });
                if binary == "cinder-volume" {
                    add_backend(&mut service, &context);
                }
                services.push(service);
            }
        }
    }
    Ok(Json(json!({"services": services})))
}

/// What only a volume service has.
fn add_backend(service: &mut Value, context: &Context) {
    service["replication_status"] = json!("disabled");
    service["active_backend_id"] = Value::Null;
    service["frozen"] = json!(false);
    if context.version >= Microversion::SERVICE_BACKEND_STATE {
        service["backend_state"] = service["state"].clone();
    }
}

/// Every zone a worker was seen in, and the default one.
pub(super) async fn zones(
    State(state): State<AppState>,
    _: Context,
) -> Result<Json<Value>, ApiError> {
    let live = live(&state);
    let default_zone = state.settings.api.default_zone.clone();
    let mut available = BTreeMap::from([(default_zone, false)]);
    for worker in state.store.workers().await? {
        *available.entry(worker.zone).or_default() |= live.contains(&worker.name);
    }
    let shown: Vec<Value> = available
        .iter()
        .map(|(zone, available)| {
            json!({"zoneName": zone.as_str(), "zoneState": {"available": available}})
        })
        .collect();
    Ok(Json(json!({"availabilityZoneInfo": shown})))
}

fn live(state: &AppState) -> BTreeSet<WorkerName> {
    let alive = state.workers.alive().into_iter();
    alive.map(|data| data.worker).collect()
}
