//! `POST /volumes/{id}/action`: one member, which names the action.

use axum::extract::State;
use axum::http::StatusCode;
use common::domain::VolumeStatus;
use serde_json::Value;

use super::volume_id;
use crate::http::error::ApiError;
use crate::http::extract::{Context, JsonBody, Key};
use crate::http::validate::{Fields, sole_member};
use crate::state::AppState;
use crate::store::Deleting;

/// What can be asked for.
#[derive(Debug)]
enum Action {
    /// A server has the volume now.
    Attach {
        server_id: Option<String>,
        host_name: Option<String>,
        device: Option<String>,
    },
    /// Nobody has it any more.
    Detach,
    /// An administrator sets the status.
    ResetStatus(VolumeStatus),
    /// An administrator deletes it whatever its status.
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
    let id = volume_id(&key)?;
    let (store, reach) = (&state.store, context.reach());
    match action {
        Action::Attach {
            server_id,
            host_name,
            device,
        } => {
            store
                .attach_volume(&reach, id, server_id, host_name, device)
                .await?;
        }
        Action::Detach => store.detach_volume(&reach, id).await?,
        Action::ResetStatus(status) => {
            if !context.caller.is_admin {
                store.volume(&reach, id).await?;
            }
            context.require_admin("volume_extension:volume_admin_actions:reset_status")?;
            store.reset_volume_status(&reach, id, status).await?;
        }
        Action::ForceDelete => {
            if !context.caller.is_admin {
                store.volume(&reach, id).await?;
            }
            context.require_admin("volume_extension:volume_admin_actions:force_delete")?;
            let how = Deleting {
                force: true,
                ..Deleting::default()
            };
            store
                .delete_volume(&context.caller, &reach, id, how)
                .await?;
        }
    }
    Ok(StatusCode::ACCEPTED)
}

fn parse(body: &Value) -> Result<Action, ApiError> {
    let (name, value) = sole_member(body)?;
    match name {
        "os-attach" => attach(value),
        "os-detach" => detach(value),
        "os-reset_status" => reset_status(value),
        "os-force_delete" => Ok(Action::ForceDelete),
        other => Err(ApiError::no_such_action(other)),
    }
}

fn attach(value: &Value) -> Result<Action, ApiError> {
    let allowed = ["instance_uuid", "host_name", "mountpoint", "mode"];
    let fields = Fields::of_object(value, "os-attach", &allowed, &[])?;
    let mode = fields.text("mode")?.flatten();
    if mode.is_some_and(|mode| !matches!(mode.as_str(), "rw" | "ro")) {
        return Err(fields
            .refuse("mode", "it is not one of ['rw', 'ro']")
            .into());
    }
    let server_id = fields.uuid("instance_uuid")?;
    let host_name = fields.text("host_name")?.flatten();
    if server_id.is_none() && host_name.is_none() {
        let reason = "either instance_uuid or host_name is required";
        return Err(fields.refuse("os-attach", reason).into());
    }
    Ok(Action::Attach {
        server_id,
        host_name,
        device: fields.text("mountpoint")?.flatten(),
    })
}

fn detach(value: &Value) -> Result<Action, ApiError> {
    if !value.is_null() {
        let fields = Fields::of_object(value, "os-detach", &["attachment_id"], &[])?;
        fields.uuid("attachment_id")?;
    }
    Ok(Action::Detach)
}

fn reset_status(value: &Value) -> Result<Action, ApiError> {
    let allowed = ["status", "attach_status", "migration_status"];
    let fields = Fields::of_object(value, "os-reset_status", &allowed, &["status"])?;
    let Some(text) = fields.text("status")?.flatten() else {
        return Err(fields
            .refuse("status", "None is not of type 'string'")
            .into());
    };
    text.to_lowercase()
        .parse()
        .map(Action::ResetStatus)
        .map_err(|_| {
            let known: Vec<String> = VolumeStatus::ALL
                .iter()
                .map(|status| format!("'{status}'"))
                .collect();
            ApiError::Invalid(format!(
                "Volume status: {text} is invalid, valid statuses are: [{}].",
                known.join(", ")
            ))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_volume_is_attached_to_a_server_or_a_host() {
        let attach = |value: Value| parse(&json!({"os-attach": value}));
        assert!(matches!(
            attach(
                json!({"instance_uuid": "806e5089-97cc-4d9e-94fc-9b13d737ae97",
                "mountpoint": "/dev/vdb", "mode": "rw"})
            ),
            Ok(Action::Attach {
                device: Some(_),
                ..
            })
        ));
        assert!(attach(json!({"host_name": "h", "mountpoint": "/dev/vdb"})).is_ok());
        assert!(attach(json!({"mountpoint": "/dev/vdb"})).is_err());
        assert!(attach(json!({"host_name": "h", "mode": "x"})).is_err());
        assert!(attach(json!({"instance_uuid": "no uuid"})).is_err());
    }

    #[test]
    fn a_detach_needs_nothing() {
        for value in [json!(null), json!({})] {
            assert!(matches!(
                parse(&json!({"os-detach": value})),
                Ok(Action::Detach)
            ));
        }
    }

    #[test]
    fn a_reset_goes_to_a_status_that_volumes_have() {
        let reset = |status: &str| parse(&json!({"os-reset_status": {"status": status}}));
        assert!(matches!(
            reset("In-Use"),
            Ok(Action::ResetStatus(VolumeStatus::InUse))
        ));
        assert!(reset("on-fire").is_err());
    }
}
