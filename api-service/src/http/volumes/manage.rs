//! `POST /manageable_volumes`: a file below a backend's root becomes a volume.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use common::domain::{Token, VolumeSource};
use serde_json::Value;

use super::view;
use crate::http::error::ApiError;
use crate::http::extract::{Context, JsonBody};
use crate::http::observe;
use crate::http::overload::refuse_when_overloaded;
use crate::http::validate::Fields;
use crate::http::volume_types;
use crate::state::AppState;
use crate::store::NewVolume;

const ALLOWED: &[&str] = &[
    "host",
    "cluster",
    "ref",
    "name",
    "description",
    "volume_type",
    "availability_zone",
    "metadata",
    "bootable",
];

/// Records the volume, and has a worker find out its size.
pub(super) async fn manage(
    State(state): State<AppState>,
    context: Context,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let (source, new) = parse(&body)?;
    context.require_admin("volume_extension:volume_manage")?;
    refuse_when_overloaded(&state).await?;
    let row = state
        .store
        .manage_volume(&context.caller, source, new)
        .await?;
    observe::about_volume(row.id);
    let answer = view::body(&view::created(&context, &row));
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

fn parse(body: &Value) -> Result<(VolumeSource, NewVolume), ApiError> {
    let fields = Fields::of(body, "volume", &[], ALLOWED, &["host", "ref"])?;
    volume_types::check(&fields)?;
    let source = source(&fields)?;
    let new = NewVolume {
        name: fields.name("name")?.flatten(),
        description: fields.description("description")?.flatten(),
        // The worker tells it.
        size_gib: 0,
        availability_zone: fields.text("availability_zone")?.flatten(),
        backend: Some(backend(&fields)?),
        metadata: fields.metadata("metadata")?.unwrap_or_default(),
        // `openstack volume create --remote-source` sends null unless told otherwise.
        bootable: match fields.raw("bootable") {
            Some(Value::Null) => false,
            Some(_) | None => fields.boolean("bootable")?,
        },
    };
    Ok((source, new))
}

/// The backend of a `host@backend#pool`, or of a plain name.
fn backend(fields: &Fields<'_>) -> Result<Token, ApiError> {
    let host = fields.text("host")?.flatten().unwrap_or_default();
    let after_host = host.split_once('@').map_or(host.as_str(), |(_, rest)| rest);
    let name = after_host
        .split_once('#')
        .map_or(after_host, |(name, _)| name);
    Token::new(name).map_err(|bad| fields.refuse("host", bad).into())
}

/// Where the data is. A path that could lead out of the backend's root is refused here.
fn source(fields: &Fields<'_>) -> Result<VolumeSource, ApiError> {
    let members = fields.raw("ref").and_then(Value::as_object);
    let mut pairs = members.into_iter().flatten();
    let path = match (pairs.next(), pairs.next()) {
        (Some((key, Value::String(path))), None) if key == "source-name" || key == "source-id" => {
            path
        }
        _ => {
            let reason = "it must have `source-name` or `source-id`, and nothing else";
            return Err(fields.refuse("ref", reason).into());
        }
    };
    VolumeSource::new(path.as_str()).map_err(|bad| fields.refuse("ref", bad.why).into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(host: &str, reference: Value) -> Result<(String, String), String> {
        let body = json!({"volume": {"host": host, "ref": reference, "name": " n "}});
        match parse(&body) {
            Ok((source, new)) => {
                assert_eq!(new.name.as_deref(), Some("n"));
                let backend = new.backend.unwrap();
                Ok((backend.to_string(), source.to_string()))
            }
            Err(ApiError::Invalid(message)) => Err(message),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn nulls_of_the_openstack_client_come_along() {
        let body = json!({"volume": {
            "host": "fast", "ref": {"source-name": "a"}, "name": "n", "description": null,
            "volume_type": null, "availability_zone": null, "metadata": null, "bootable": null,
        }});
        let (_, new) = parse(&body).unwrap();
        assert!(!new.bootable);
    }

    #[test]
    fn a_host_names_its_backend() {
        for host in ["fast", "any@fast", "any@fast#pool", "fast#pool"] {
            assert_eq!(
                parsed(host, json!({"source-name": "a/disk.raw"})),
                Ok(("fast".to_owned(), "a/disk.raw".to_owned()))
            );
        }
        assert!(parsed("", json!({"source-name": "a"})).is_err());
        assert!(parsed("A.B", json!({"source-name": "a"})).is_err());
    }

    #[test]
    fn a_reference_is_one_path_below_the_root() {
        assert!(parsed("fast", json!({"source-id": "disk.raw"})).is_ok());
        for bad in [
            json!({}),
            json!(null),
            json!("disk.raw"),
            json!({"source-name": 7}),
            json!({"source-name": "a", "source-id": "b"}),
            json!({"path": "a"}),
        ] {
            let message = parsed("fast", bad.clone()).unwrap_err();
            assert!(message.contains("attribute ref"), "{bad}: {message}");
        }
        for hostile in ["", "..", "a/../../b", "/etc/passwd", "a\0b", "bk-1", "a//b"] {
            assert!(
                parsed("fast", json!({"source-name": hostile})).is_err(),
                "{hostile:?}"
            );
        }
    }
}
