//! Database rows of what a recording shows.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Who owns what must be there and must not be listed.
pub(super) const SOMEBODY_ELSE: &str = "eeee0000000000000000000000000009";

/// A time of the API in the database's microseconds; without one, a day like any other.
fn micros(time: &Value) -> Value {
    match time.as_str() {
        None => Value::Null,
        Some(time) => {
            let time: Timestamp = format!("{time}Z").parse().expect("a time");
            json!(time.as_microsecond())
        }
    }
}

fn row(columns: Value) -> Map<String, Value> {
    match columns {
        Value::Object(row) => row,
        other => panic!("{other} is no row"),
    }
}

fn or(value: &Value, default: Value) -> Value {
    if value.is_null() {
        default
    } else {
        value.clone()
    }
}

fn as_text(value: &Value, default: &str) -> Value {
    json!(if value.is_null() {
        default.to_owned()
    } else {
        value.to_string()
    })
}

const SOME_TIME: &str = "2026-11-22T06:00:00.000000";

/// A backup as the API shows it, as a row of the owner's.
pub(super) fn backup(body: &Value, owner: &str, parent: Option<&str>) -> Map<String, Value> {
    let id = body["id"].as_str().expect("a backup has an id");
    let volume = or(&body["volume_id"], json!(Uuid::new_v4().to_string()));
    let prefix = format!(
        "volume_{}_20261122063424_backup_{id}",
        volume.as_str().expect("an id is a text")
    );
    row(json!({
        "id": id,
        "project_id": owner,
        "user_id": or(&body["user_id"], json!("c0c1dc703ccb46fc989d0cf17f054ef5")),
        "volume_id": volume,
        "status": or(&body["status"], json!("available")),
        "size_gib": or(&body["size"], json!(1)),
        "object_count": or(&body["object_count"], json!(2)),
        "availability_zone": body["availability_zone"],
        "container": if body.get("status").is_some() { body["container"].clone() } else { json!("c") },
        "prefix": if body["container"].is_null() && body.get("status").is_some() {
            Value::Null
        } else {
            json!(prefix)
        },
        "name": body["name"],
        "description": body["description"],
        "fail_reason": body["fail_reason"],
        "parent_id": parent,
        "snapshot_id": body["snapshot_id"],
        "data_timestamp": micros(&body["data_timestamp"]),
        "metadata": as_text(&body["metadata"], "{}"),
        "restore_volume_id": body["restore_volume_id"],
        "delete_began": 0,
        "created_at": micros(&or(&body["created_at"], json!(SOME_TIME))),
        "updated_at": micros(&body["updated_at"]),
    }))
}

/// The data of a backup that has some.
pub(super) fn attempt(backup: &Map<String, Value>) -> Option<Map<String, Value>> {
    let names = !backup["container"].is_null() && !backup["prefix"].is_null();
    names.then(|| {
        row(json!({
            "backup_id": backup["id"],
            "number": 1,
            "container": backup["container"],
            "prefix": backup["prefix"],
            "prefix_time": backup["created_at"],
            "options": r#"{"compression":"zlib","object_size_bytes":52428800,"block_size_bytes":32768}"#,
            "state": "committed",
            "first_generation": 1,
            "two_generations": 0,
            "created_at": backup["created_at"],
        }))
    })
}

/// A volume as the API shows it, as a row of the owner's.
pub(super) fn volume(body: &Value, owner: &str) -> Map<String, Value> {
    let id = body["id"].as_str().expect("a volume has an id");
    let attachments: Vec<Value> = body["attachments"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|shown| {
            json!({
                "attachment_id": shown["attachment_id"],
                "server_id": shown["server_id"],
                "host_name": shown["host_name"],
                "device": shown["device"],
                "attached_at": format!("{}Z", shown["attached_at"].as_str().expect("a time")),
            })
        })
        .collect();
    row(json!({
        "id": id,
        "project_id": owner,
        "user_id": or(&body["user_id"], json!("c0c1dc703ccb46fc989d0cf17f054ef5")),
        "status": or(&body["status"], json!("available")),
        "size_gib": or(&body["size"], json!(1)),
        "backend": "fast",
        "source": format!("volume-{id}"),
        "availability_zone": or(&body["availability_zone"], json!("nova")),
        "name": body["name"],
        "description": body["description"],
        "metadata": as_text(&body["metadata"], "{}"),
        "attachments": json!(attachments).to_string(),
        "bootable": i32::from(body["bootable"] == "true"),
        "created_at": micros(&or(&body["created_at"], json!(SOME_TIME))),
        "updated_at": micros(&body["updated_at"]),
    }))
}

/// A snapshot as the API shows it, as a row of the owner's. The volume must be there before it.
pub(super) fn snapshot(body: &Value, owner: &str) -> Map<String, Value> {
    let id = body["id"].as_str().expect("a snapshot has an id");
    row(json!({
        "id": id,
        "project_id": owner,
        "user_id": or(&body["user_id"], json!("c0c1dc703ccb46fc989d0cf17f054ef5")),
        "volume_id": body["volume_id"],
        "status": or(&body["status"], json!("available")),
        "size_gib": or(&body["size"], json!(1)),
        "source": format!("snapshot-{id}"),
        "name": body["name"],
        "description": body["description"],
        "metadata": as_text(&body["metadata"], "{}"),
        "created_at": micros(&or(&body["created_at"], json!(SOME_TIME))),
        "updated_at": micros(&body["updated_at"]),
    }))
}

/// A project's own limit.
pub(super) fn quota(project: &str, resource: &str, limit: &Value) -> Map<String, Value> {
    row(json!({"project_id": project, "resource": resource, "hard_limit": limit}))
}
