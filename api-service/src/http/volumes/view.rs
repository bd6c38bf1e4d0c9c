//! A volume as clients see it. They refuse members they do not know, so there are none of our own.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::http::extract::Context;
use crate::http::extract::microversion::Microversion;
use crate::http::links::Link;
use crate::http::time::api_time;
use crate::http::volume_types;
use crate::store::{Attachment, VolumeRow};

/// What lists show.
#[derive(Debug, Serialize)]
pub(super) struct Summary<'a> {
    id: String,
    name: Option<&'a str>,
    links: [Link; 2],
}

/// What every version and role may see, and what this one sees besides.
#[derive(Debug, Serialize)]
pub(super) struct Detail<'a> {
    #[serde(flatten)]
    summary: Summary<'a>,
    status: &'static str,
    size: u32,
    availability_zone: &'a str,
    created_at: String,
    updated_at: Option<String>,
    description: Option<&'a str>,
    volume_type: &'static str,
    snapshot_id: Option<String>,
    source_volid: Option<String>,
    metadata: &'a BTreeMap<String, String>,
    user_id: &'a str,
    /// A text in this API.
    bootable: &'static str,
    encrypted: bool,
    replication_status: Option<String>,
    consistencygroup_id: Option<String>,
    multiattach: bool,
    attachments: Vec<Value>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// `id`, `name`, `links`.
pub(super) fn summary<'a>(context: &Context, row: &'a VolumeRow) -> Summary<'a> {
    Summary {
        id: row.id.to_string(),
        name: row.name.as_deref(),
        links: context.links.to("volumes", row.id),
    }
}

/// The volume as the answer to its creation: without what extensions add later.
pub(super) fn created<'a>(context: &Context, row: &'a VolumeRow) -> Detail<'a> {
    let since = |version| context.version >= version;
    let is_admin = context.caller.is_admin;
    let mut more = Map::new();
    let mut add = |shown: bool, name: &str, value: Value| {
        if shown {
            more.insert(name.to_owned(), value);
        }
    };
    add(is_admin, "migration_status", Value::Null);
    add(since(Microversion::VOLUME_GROUP), "group_id", Value::Null);
    let provider = is_admin && since(Microversion::VOLUME_PROVIDER);
    add(provider, "provider_id", Value::Null);
    let shared = since(Microversion::VOLUME_SHARED_TARGETS);
    add(shared, "shared_targets", json!(false));
    add(shared, "service_uuid", Value::Null);
    let cluster = is_admin && since(Microversion::VOLUME_CLUSTER);
    add(cluster, "cluster_name", Value::Null);
    let type_id = since(Microversion::VOLUME_TYPE_ID);
    add(type_id, "volume_type_id", json!(volume_types::ID));
    let counted = since(Microversion::VOLUME_CONSUMES_QUOTA);
    add(counted, "consumes_quota", json!(true));
    Detail {
        summary: summary(context, row),
        status: row.status.as_str(),
        size: row.size_gib,
        availability_zone: row.availability_zone.as_str(),
        created_at: api_time(row.created_at),
        updated_at: row.updated_at.map(api_time),
        description: row.description.as_deref(),
        volume_type: volume_types::NAME,
        snapshot_id: row.snapshot_id.map(|id| id.to_string()),
        source_volid: None,
        metadata: &row.metadata,
        user_id: row.user_id.as_str(),
        bootable: if row.bootable { "true" } else { "false" },
        encrypted: false,
        replication_status: None,
        consistencygroup_id: None,
        multiattach: false,
        attachments: attachments(row),
        more,
    }
}

/// The whole volume.
pub(super) fn detail<'a>(context: &Context, row: &'a VolumeRow) -> Detail<'a> {
    let mut detail = created(context, row);
    let more = &mut detail.more;
    let owner = json!(row.project_id.as_str());
    more.insert("os-vol-tenant-attr:tenant_id".to_owned(), owner);
    if context.caller.is_admin {
        for (name, value) in [
            ("os-vol-mig-status-attr:migstat", Value::Null),
            ("os-vol-mig-status-attr:name_id", Value::Null),
            ("os-vol-host-attr:host", json!(host(row))),
        ] {
            more.insert(name.to_owned(), value);
        }
    }
    detail
}

/// The body with one of them.
pub(super) fn body(view: &impl Serialize) -> Value {
    json!({"volume": view})
}

/// The backend in the reference's `host@backend#pool`; any worker that reaches it is the host.
fn host(row: &VolumeRow) -> String {
    format!("emberkeep@{backend}#{backend}", backend = row.backend)
}

fn attachments(row: &VolumeRow) -> Vec<Value> {
    let shown = |attachment: &Attachment| {
        json!({
            "id": row.id.to_string(),
            "volume_id": row.id.to_string(),
            "attachment_id": attachment.attachment_id.to_string(),
            "server_id": attachment.server_id,
            "host_name": attachment.host_name,
            "device": attachment.device,
            "attached_at": api_time(attachment.attached_at),
        })
    };
    row.attachments.iter().map(shown).collect()
}
