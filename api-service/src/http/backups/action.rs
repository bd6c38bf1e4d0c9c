//! `POST /backups/{id}/action`: one member, which names the action.

use axum::extract::State;
use axum::http::StatusCode;
use common::domain::{BackupId, BackupStatus};
use serde_json::Value;

use super::backup_id;
use crate::http::error::ApiError;
use crate::http::extract::{Context, JsonBody, Key};
use crate::http::validate::{Fields, sole_member};
use crate::state::AppState;

/// What can be asked for.
enum Action {
    /// An administrator sets the status.
    ResetStatus(BackupStatus),
    /// An administrator deletes it, whatever its status.
    ForceDelete,
    /// The owner stops what runs.
    Cancel,
}

/// Does one action.
pub(super) async fn act(
    State(state): State<AppState>,
    context: Context,
    key: Key,
    JsonBody(body): JsonBody,
) -> Result<StatusCode, ApiError> {
    let action = parse(&body)?;
    let id = backup_id(&key)?;
    let (store, caller, reach) = (&state.store, &context.caller, context.reach());
    match action {
        Action::ResetStatus(to) => {
            let policy = "volume_extension:backup_admin_actions:reset_status";
            require_admin(&state, &context, id, policy).await?;
            store.reset_backup_status(caller, &reach, id, to).await?;
        }
        Action::ForceDelete => {
            let policy = "volume_extension:backup_admin_actions:force_delete";
            require_admin(&state, &context, id, policy).await?;
            store.delete_backup(caller, &reach, id, true).await?;
        }
        Action::Cancel => store.cancel_backup(&reach, id).await?,
    }
    Ok(StatusCode::ACCEPTED)
}

/// A backup that the caller cannot see is told before what they may do with it.
async fn require_admin(
    state: &AppState,
    context: &Context,
    id: BackupId,
    policy: &'static str,
) -> Result<(), ApiError> {
    if !context.caller.is_admin {
        state.store.backup(&context.reach(), id).await?;
    }
    context.require_admin(policy)
}

fn parse(body: &Value) -> Result<Action, ApiError> {
    let (name, value) = sole_member(body)?;
    match name {
        "os-reset_status" => reset_status(value).map(Action::ResetStatus),
        "os-force_delete" => Ok(Action::ForceDelete),
        "emberkeep:cancel" => Ok(Action::Cancel),
        other => Err(ApiError::no_such_action(other)),
    }
}

fn reset_status(value: &Value) -> Result<BackupStatus, ApiError> {
    let fields = Fields::of_object(value, "os-reset_status", &["status"], &["status"])?;
    let Some(status) = fields.text("status")?.flatten() else {
        return Err(fields
            .refuse("status", "None is not of type 'string'")
            .into());
    };
    match status.to_lowercase().as_str() {
        "available" => Ok(BackupStatus::Available),
        "error" => Ok(BackupStatus::Error),
        _ => Err(ApiError::Invalid(format!(
            "Backup status: {status} is invalid, valid statuses are: ['available', 'error']."
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(body: Value) -> String {
        match parse(&body) {
            Err(ApiError::Invalid(message)) => message,
            _ => panic!("{body} is not refused"),
        }
    }

    #[test]
    fn a_reset_goes_to_two_statuses_in_any_case() {
        let reset = |status: &str| parse(&json!({"os-reset_status": {"status": status}}));
        assert!(matches!(
            reset("ERROR"),
            Ok(Action::ResetStatus(BackupStatus::Error))
        ));
        assert_eq!(
            message(json!({"os-reset_status": {"status": "creating"}})),
            "Backup status: creating is invalid, valid statuses are: ['available', 'error']."
        );
        assert!(message(json!({"os-reset_status": {}})).contains("required property"));
        assert!(message(json!({"os-reset_status": null})).contains("not of type 'object'"));
    }

    #[test]
    fn the_value_of_a_forced_delete_does_not_matter() {
        for value in [json!(null), json!({}), json!({"x": 1})] {
            let body = json!({"os-force_delete": value});
            assert!(matches!(parse(&body), Ok(Action::ForceDelete)));
        }
    }

    #[test]
    fn an_unknown_action_is_named() {
        assert_eq!(
            message(json!({"os-explode": {}})),
            "There is no such action: os-explode. Verify the request body and Content-Type \
             header and try again."
        );
    }
}
