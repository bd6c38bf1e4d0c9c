//! A snapshot as clients see it.

use std::collections::BTreeMap;

use common::domain::SnapshotStatus;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::http::extract::Context;
use crate::http::extract::microversion::Microversion;
use crate::http::time::api_time;
use crate::store::SnapshotRow;

/// What every version sees, and what this one sees besides.
#[derive(Debug, Serialize)]
pub(super) struct View<'a> {
    id: String,
    created_at: String,
    updated_at: Option<String>,
    name: Option<&'a str>,
    description: Option<&'a str>,
    volume_id: String,
    status: &'static str,
    size: u32,
    metadata: &'a BTreeMap<String, String>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// The snapshot without what extensions add.
pub(super) fn summary<'a>(context: &Context, row: &'a SnapshotRow) -> View<'a> {
    let mut more = Map::new();
    for (since, name, value) in [
        (
            Microversion::GROUP_SNAPSHOTS,
            "group_snapshot_id",
            Value::Null,
        ),
        (
            Microversion::SNAPSHOT_USER,
            "user_id",
            json!(row.user_id.as_str()),
        ),
        (
            Microversion::VOLUME_CONSUMES_QUOTA,
            "consumes_quota",
            json!(true),
        ),
    ] {
        if context.version >= since {
            more.insert(name.to_owned(), value);
        }
    }
    View {
        id: row.id.to_string(),
        created_at: api_time(row.created_at),
        updated_at: row.updated_at.map(api_time),
        name: row.name.as_deref(),
        description: row.description.as_deref(),
        volume_id: row.volume_id.to_string(),
        status: row.status.as_str(),
        size: row.size_gib,
        metadata: &row.metadata,
        more,
    }
}

/// The whole snapshot.
pub(super) fn detail<'a>(context: &Context, row: &'a SnapshotRow) -> View<'a> {
    let mut view = summary(context, row);
    let progress = match row.status {
        SnapshotStatus::Creating => "0%",
        SnapshotStatus::Available
        | SnapshotStatus::BackingUp
        | SnapshotStatus::Deleting
        | SnapshotStatus::Error
        | SnapshotStatus::ErrorDeleting => "100%",
    };
    for (name, value) in [
        ("project_id", row.project_id.as_str()),
        ("progress", progress),
    ] {
        let name = format!("os-extended-snapshot-attributes:{name}");
        view.more.insert(name, json!(value));
    }
    view
}

/// The body with one of them.
pub(super) fn body(view: &impl Serialize) -> Value {
    json!({"snapshot": view})
}
