//! `GET /limits`: what the caller's project has and may have.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::http::error::ApiError;
use crate::http::extract::Context;
use crate::state::AppState;

/// The project's limits.
pub(super) async fn show(
    State(state): State<AppState>,
    context: Context,
) -> Result<Json<Value>, ApiError> {
    let project = &context.caller.project_id;
    let quota = state.store.quota_usage(project).await?;
    Ok(Json(json!({"limits": {
        "rate": [],
        "absolute": {
            "maxTotalVolumes": quota.volumes_limit.count,
            "maxTotalVolumeGigabytes": quota.volumes_limit.gigabytes,
            "maxTotalSnapshots": quota.snapshots_limit,
            "maxTotalBackups": quota.backups_limit.count,
            "maxTotalBackupGigabytes": quota.backups_limit.gigabytes,
            "totalVolumesUsed": quota.volumes.count,
            "totalGigabytesUsed": quota.volumes.gigabytes,
            "totalSnapshotsUsed": quota.snapshots,
            "totalBackupsUsed": quota.backups.count,
            "totalBackupGigabytesUsed": quota.backups.gigabytes,
        },
    }})))
}
