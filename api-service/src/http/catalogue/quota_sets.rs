//! `GET` and `PUT /os-quota-sets/{project}`: what a project may have.

use axum::Json;
use axum::extract::State;
use common::domain::ProjectId;
use serde_json::{Map, Value, json};

use crate::http::error::ApiError;
use crate::http::extract::{Context, JsonBody, Key, Query};
use crate::http::validate::{Fields, boolean_word};
use crate::rules::QuotaUse;
use crate::state::AppState;

/// The limits that can be set, as the API spells them.
const LIMITS: &[&str] = &[
    "backups",
    "backup_gigabytes",
    "volumes",
    "gigabytes",
    "snapshots",
];

/// A project's limits, and with `usage` what it has of each.
pub(super) async fn show(
    State(state): State<AppState>,
    context: Context,
    Key(project): Key,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    let project = ProjectId::from(project);
    if project != context.caller.project_id {
        context.require_admin("volume_extension:quotas:show")?;
    }
    let with_usage = query.get("usage").and_then(boolean_word).unwrap_or(false);
    let quota = state.store.quota_usage(&project).await?;
    let mut shown = shown(&quota, with_usage);
    shown.insert("id".to_owned(), json!(project.as_str()));
    Ok(Json(json!({"quota_set": shown})))
}

/// Sets a project's own limits; what is not named stays.
pub(super) async fn update(
    State(state): State<AppState>,
    context: Context,
    Key(project): Key,
    JsonBody(body): JsonBody,
) -> Result<Json<Value>, ApiError> {
    let limits = parse(&body)?;
    context.require_admin("volume_extension:quotas:update")?;
    let project = ProjectId::from(project);
    state.store.set_quota(&project, &limits).await?;
    let quota = state.store.quota_usage(&project).await?;
    Ok(Json(json!({"quota_set": shown(&quota, false)})))
}

fn parse(body: &Value) -> Result<Vec<(&'static str, i64)>, ApiError> {
    let tolerated = ["tenant_id", "groups", "per_volume_gigabytes"];
    let allowed: Vec<&str> = LIMITS.iter().chain(&tolerated).copied().collect();
    let fields = Fields::of(body, "quota_set", &[], &allowed, &[])?;
    let mut limits = Vec::new();
    for name in LIMITS {
        if let Some(value) = fields.raw(name) {
            let digits = value.as_str().and_then(|digits| digits.parse().ok());
            let limit = value.as_i64().or(digits);
            let in_range = limit.filter(|limit| (-1..=i64::from(i32::MAX)).contains(limit));
            let limit = in_range.ok_or_else(|| {
                fields.refuse(
                    name,
                    format!("it must be a whole number from -1 to {}", i32::MAX),
                )
            })?;
            limits.push((*name, limit));
        }
    }
    Ok(limits)
}

fn shown(quota: &QuotaUse, with_usage: bool) -> Map<String, Value> {
    let counted = [
        ("backups", quota.backups_limit.count, quota.backups.count),
        (
            "backup_gigabytes",
            quota.backups_limit.gigabytes,
            quota.backups.gigabytes,
        ),
        ("volumes", quota.volumes_limit.count, quota.volumes.count),
        (
            "gigabytes",
            quota.volumes_limit.gigabytes,
            quota.volumes.gigabytes,
        ),
        ("snapshots", quota.snapshots_limit, quota.snapshots),
        // Not limited here, and asked for by clients.
        ("per_volume_gigabytes", -1, 0),
        ("groups", -1, 0),
    ];
    let entry = |limit: i64, used: i64| match with_usage {
        true => json!({"limit": limit, "in_use": used, "reserved": 0}),
        false => json!(limit),
    };
    counted
        .into_iter()
        .map(|(name, limit, used)| (name.to_owned(), entry(limit, used)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_whole_numbers_from_minus_one() {
        let parse = |limits: Value| parse(&json!({"quota_set": limits}));
        assert_eq!(
            parse(json!({"backups": 3, "gigabytes": "-1", "tenant_id": "x"})).unwrap(),
            [("backups", 3), ("gigabytes", -1)]
        );
        for bad in [
            json!(-2),
            json!(1.5),
            json!("x"),
            json!(null),
            json!(1_u64 << 40),
        ] {
            assert!(parse(json!({"volumes": bad})).is_err(), "{bad}");
        }
        assert!(parse(json!({"colours": 3})).is_err());
    }
}
