//! A backup as clients see it. They refuse members they do not know, so there are none of our own.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::http::extract::Context;
use crate::http::extract::microversion::Microversion;
use crate::http::links::Link;
use crate::http::time::api_time;
use crate::store::BackupRow;

/// What lists and changes show.
#[derive(Debug, Serialize)]
pub(super) struct Summary<'a> {
    id: String,
    name: Option<&'a str>,
    links: [Link; 2],
}

/// Everything a client may see.
#[derive(Debug, Serialize)]
pub(super) struct Detail<'a> {
    #[serde(flatten)]
    summary: Summary<'a>,
    status: &'static str,
    size: u32,
    object_count: u64,
    availability_zone: Option<&'a str>,
    container: Option<&'a str>,
    created_at: String,
    updated_at: Option<String>,
    description: Option<&'a str>,
    fail_reason: Option<&'a str>,
    volume_id: String,
    is_incremental: bool,
    has_dependent_backups: bool,
    snapshot_id: Option<String>,
    data_timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a BTreeMap<String, String>>,
    #[serde(
        rename = "os-backup-project-attr:project_id",
        skip_serializing_if = "Option::is_none"
    )]
    project_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
}

/// `id`, `name`, `links`.
pub(super) fn summary<'a>(context: &Context, row: &'a BackupRow) -> Summary<'a> {
    Summary {
        id: row.id.to_string(),
        name: row.name.as_deref(),
        links: context.links.to("backups", row.id),
    }
}

/// All members, as far as version and role show them.
pub(super) fn detail<'a>(context: &Context, row: &'a BackupRow) -> Detail<'a> {
    let since = |version| context.version >= version;
    let admin_since = |version| context.caller.is_admin && since(version);
    Detail {
        summary: summary(context, row),
        status: row.status.as_str(),
        size: row.size_gib,
        object_count: row.object_count,
        availability_zone: row.availability_zone.as_deref(),
        container: row.container.as_ref().map(|name| name.as_str()),
        created_at: api_time(row.created_at),
        updated_at: row.updated_at.map(api_time),
        description: row.description.as_deref(),
        fail_reason: row.fail_reason.as_deref(),
        volume_id: row.volume_id.to_string(),
        is_incremental: row.parent_id.is_some(),
        has_dependent_backups: row.dependents > 0,
        snapshot_id: row.snapshot_id.map(|id| id.to_string()),
        data_timestamp: row.data_timestamp.map(api_time),
        metadata: since(Microversion::BACKUP_METADATA).then_some(&row.metadata),
        project_id: admin_since(Microversion::BACKUP_PROJECT).then(|| row.project_id.as_str()),
        user_id: admin_since(Microversion::BACKUP_USER).then(|| row.user_id.as_str()),
    }
}

/// The body with one of them.
pub(super) fn body(view: &impl Serialize) -> Value {
    json!({"backup": view})
}
