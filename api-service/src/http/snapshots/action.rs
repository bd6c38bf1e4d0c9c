//! `POST /snapshots/{id}/action`: one member, which names the action. Both are an administrator's.

use axum::extract::State;
use axum::http::StatusCode;
use common::domain::SnapshotStatus;
use serde_json::Value;

use super::snapshot_id;
use crate::http::error::ApiError;
use crate::http::extract::{Context, JsonBody, Key};
use crate::http::validate::{Fields, sole_member};
use crate::state::AppState;

#[derive(Debug)]
enum Action {
    ResetStatus(SnapshotStatus),
    ForceDelete,
}

/// Does one action.
pub(super) async fn act(
    State(state): State<AppState>,
    context: Context,
    key: Key,
    JsonBody(body): JsonBody,
) -> Result<StatusCode, ApiError> {
    let action = parse(&body)?;
    let id = snapshot_id(&key)?;
    let (store, reach) = (&state.store, context.reach());
    if !context.caller.is_admin {
        store.snapshot(&reach, id).await?;
    }
    match action {
        Action::ResetStatus(status) => {
            context.require_admin("volume_extension:snapshot_admin_actions:reset_status")?;
            store.reset_snapshot_status(&reach, id, status).await?;
        }
        Action::ForceDelete => {
            context.require_admin("volume_extension:snapshot_admin_actions:force_delete")?;
            store
                .delete_snapshot(&context.caller, &reach, id, true)
                .await?;
        }
    }
    Ok(StatusCode::ACCEPTED)
}

fn parse(body: &Value) -> Result<Action, ApiError> {
    let (name, value) = sole_member(body)?;
    match name {
        "os-reset_status" => reset_status(value),
        "os-force_delete" => Ok(Action::ForceDelete),
        other => Err(ApiError::no_such_action(other)),
    }
}

fn reset_status(value: &Value) -> Result<Action, ApiError> {
    let fields = Fields::of_object(value, "os-reset_status", &["status"], &["status"])?;
    let text = fields.present_text("status")?;
    text.to_lowercase()
        .parse()
        .map(Action::ResetStatus)
        .map_err(|_| {
            let known: Vec<String> = SnapshotStatus::ALL
                .iter()
                .map(|status| format!("'{status}'"))
                .collect();
            ApiError::Invalid(format!(
                "Snapshot status: {text} is invalid, valid statuses are: [{}].",
                known.join(", ")
            ))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reset_goes_to_a_status_that_snapshots_have() {
        let reset = |status: &str| parse(&json!({"os-reset_status": {"status": status}}));
        assert!(matches!(
            reset("Available"),
            Ok(Action::ResetStatus(SnapshotStatus::Available))
        ));
        assert!(reset("in-use").is_err());
        assert!(parse(&json!({"os-explode": null})).is_err());
    }
}
