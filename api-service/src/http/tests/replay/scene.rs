//! What must be in the database for a recorded request to find what the reference found.
//!
//! It follows from the exchange itself: what a read shows is there, and what a request names is there and can be used. Where
//! that is not so, `givens.json` says what was different.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::knowledge::{Key, Knowledge, in_request, overlay};
use super::recording::{Exchange, is_uuid};
use super::rows;

/// What an exchange needs besides what follows from it.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Given {
    /// Backups that were otherwise, by id.
    backups: BTreeMap<String, Value>,
    /// Volumes that were otherwise, by id.
    volumes: BTreeMap<String, Value>,
    /// Snapshots that were otherwise, by id.
    snapshots: BTreeMap<String, Value>,
    /// Named, and not there.
    absent: Vec<String>,
    /// The caller's own limits.
    quotas: BTreeMap<String, Value>,
    /// So many more backups of the caller's, each of 1 GiB.
    more_backups: u64,
    pub(super) worker: Worker,
}

/// How the one worker is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Worker {
    #[default]
    Up,
    /// It was seen, and is gone.
    Down,
    /// There never was one.
    Never,
}

pub(super) type Rows = Vec<(&'static str, Map<String, Value>)>;

/// The rows.
pub(super) fn of(exchange: &Exchange, known: &Knowledge, given: &Given, default: &str) -> Rows {
    let caller = exchange.project(default);
    let mut scene = Scene {
        rows: vec![],
        caller,
    };
    let things = things(exchange, known, given);
    let mut snapshots = Vec::new();
    for (key, body) in &things {
        let owner = scene.owner(exchange, known, key, body);
        let vanished = exchange.response.status == 404
            && exchange.response.body.to_string().contains(&key.1)
            && owner == scene.caller;
        if vanished || given.absent.contains(&key.1) {
            continue;
        }
        match key.0 {
            "volume" => scene.rows.push(("volumes", rows::volume(body, &owner))),
            "snapshot" => snapshots.push(rows::snapshot(body, &owner)),
            _ => {
                let parent = parent_of(body, &things);
                scene.put_backup(body, &owner, parent, exchange);
            }
        }
    }
    for snapshot in snapshots {
        scene.put_snapshot(snapshot);
    }
    scene.put_others(exchange, given);
    scene.rows
}

struct Scene {
    rows: Rows,
    caller: String,
}

/// Everything the exchange speaks of, as it must be.
fn things(exchange: &Exchange, known: &Knowledge, given: &Given) -> Vec<(Key, Value)> {
    let mut things: Vec<(Key, Value)> = Vec::new();
    let mut put = |key: Key, body: Value| match things.iter_mut().find(|(other, _)| *other == key) {
        Some((_, there)) => overlay(there, &body),
        None => {
            let mut whole = known.body(&key);
            overlay(&mut whole, &body);
            things.push((key, whole));
        }
    };
    for key in in_request(exchange) {
        put(key, json!({}));
    }
    if exchange.request.method == "GET" && exchange.response.status == 200 {
        let (kind, items) = exchange.shown();
        let is_summary = items.iter().any(|item| item["created_at"].is_null());
        for (index, item) in items.into_iter().enumerate() {
            let mut body = item.clone();
            if is_summary {
                body["created_at"] = json!(time_of(index, exchange));
            }
            let id = body["id"].as_str().unwrap_or_default().to_owned();
            // One recorded id is none; here nothing can be called so.
            if is_uuid(&id) {
                put((kind.expect("what is shown has a kind"), id), body);
            }
        }
        if let Some(marker) = exchange.parameter("marker").filter(|_| is_summary) {
            let before = json!({"created_at": "2029-01-01T00:00:00.000000"});
            put((kind.expect("a list"), marker.to_owned()), before);
        }
    }
    // An increment that was accepted had something to build on.
    let asked = &exchange.request.body["backup"];
    if exchange.response.status == 202 && asked["incremental"] == true {
        let parent = json!({"status": "available", "volume_id": asked["volume_id"], "container": "c",
            "data_timestamp": "2026-11-22T06:00:00.000000"});
        put(("backup", Uuid::new_v4().to_string()), parent);
    }
    for (kind, changes) in [
        ("backup", &given.backups),
        ("volume", &given.volumes),
        ("snapshot", &given.snapshots),
    ] {
        for (id, body) in changes {
            put((kind, id.clone()), body.clone());
        }
    }
    things
}

/// A list of summaries shows no times; their order does.
fn time_of(index: usize, exchange: &Exchange) -> String {
    let second = match exchange.request.path.contains("asc") {
        true => index,
        false => 59 - index,
    };
    format!("2026-11-22T06:10:{second:02}.000000")
}

/// An increment in a list builds on the backup there that has dependents, else on one that is not shown.
fn parent_of<'a>(body: &Value, things: &'a [(Key, Value)]) -> Option<&'a str> {
    let is_parent = |other: &Value| {
        other["has_dependent_backups"] == true
            && other["volume_id"] == body["volume_id"]
            && other["id"] != body["id"]
    };
    let parent = things
        .iter()
        .find(|(key, other)| key.0 == "backup" && is_parent(other));
    parent.map(|(key, _)| key.1.as_str())
}

impl Scene {
    fn owner(&self, exchange: &Exchange, known: &Knowledge, key: &Key, body: &Value) -> String {
        let named = [
            &body["owner"],
            &body["os-backup-project-attr:project_id"],
            &body["os-vol-tenant-attr:tenant_id"],
            &body["os-extended-snapshot-attributes:project_id"],
        ];
        let is_noauth = exchange.who.as_deref() == Some("noauth");
        let named = named.iter().find_map(|owner| owner.as_str());
        let named = named.filter(|_| !is_noauth).or_else(|| known.owner(key));
        let everybodys = matches!(exchange.parameter("all_tenants"), Some("1" | "True"));
        match named {
            Some(owner) if !is_noauth || everybodys => owner.to_owned(),
            _ => self.caller.clone(),
        }
    }

    fn put_backup(&mut self, body: &Value, owner: &str, parent: Option<&str>, exchange: &Exchange) {
        let is_read = exchange.request.method == "GET";
        let mut parent = parent.map(str::to_owned);
        if body["is_incremental"] == true && parent.is_none() {
            let id = Uuid::new_v4().to_string();
            if !is_read {
                self.add(&rows::backup(&json!({"id": id}), rows::SOMEBODY_ELSE, None));
            }
            parent = Some(id);
        }
        let parent = parent.filter(|_| body["is_incremental"] == true);
        let id = &body["id"];
        let has_child = |(table, row): &(&str, Map<String, Value>)| {
            *table == "backups" && row["parent_id"] == *id
        };
        self.add(&rows::backup(body, owner, parent.as_deref()));
        if body["has_dependent_backups"] == true && !self.rows.iter().any(has_child) {
            let child = json!({"id": Uuid::new_v4().to_string(), "created_at": "2000-01-01T00:00:00.000000"});
            self.add(&rows::backup(&child, rows::SOMEBODY_ELSE, id.as_str()));
        }
    }

    /// A snapshot comes after its volume, which is somebody's even when the exchange does not speak of it.
    fn put_snapshot(&mut self, snapshot: Map<String, Value>) {
        let of = &snapshot["volume_id"];
        let is_it =
            |(table, row): &(&str, Map<String, Value>)| *table == "volumes" && row["id"] == *of;
        if !self.rows.iter().any(is_it) {
            let volume = rows::volume(&json!({"id": of}), rows::SOMEBODY_ELSE);
            self.rows.push(("volumes", volume));
        }
        self.rows.push(("snapshots", snapshot));
    }

    fn add(&mut self, backup: &Map<String, Value>) {
        self.rows.push(("backups", backup.clone()));
        if let Some(attempt) = rows::attempt(backup) {
            self.rows.push(("attempts", attempt));
        }
    }

    /// What limits, usage, counts and offsets speak of without showing it.
    fn put_others(&mut self, exchange: &Exchange, given: &Given) {
        let body = &exchange.response.body;
        let mut project = self.caller.clone();
        let mut limits = given.quotas.clone();
        let mut used: BTreeMap<&str, u64> = BTreeMap::from([("backups", given.more_backups)]);
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        if let Some(absolute) = body["limits"]["absolute"].as_object() {
            for (resource, max, total) in [
                ("backups", "maxTotalBackups", "totalBackupsUsed"),
                (
                    "backup_gigabytes",
                    "maxTotalBackupGigabytes",
                    "totalBackupGigabytesUsed",
                ),
                ("volumes", "maxTotalVolumes", "totalVolumesUsed"),
                ("snapshots", "maxTotalSnapshots", "totalSnapshotsUsed"),
                ("gigabytes", "maxTotalVolumeGigabytes", "totalGigabytesUsed"),
            ] {
                limits.insert(resource.to_owned(), absolute[max].clone());
                used.insert(resource, number(&absolute[total]));
            }
        }
        if let Some(quota) = body["quota_set"].as_object() {
            project = exchange
                .segments()
                .last()
                .copied()
                .unwrap_or_default()
                .to_owned();
            for resource in [
                "backups",
                "backup_gigabytes",
                "volumes",
                "gigabytes",
                "snapshots",
            ] {
                let shown = &quota[resource];
                let limit = if shown.is_object() {
                    &shown["limit"]
                } else {
                    shown
                };
                limits.insert(resource.to_owned(), limit.clone());
                used.insert(resource, number(&shown["in_use"]));
            }
        }
        for (resource, limit) in &limits {
            self.rows
                .push(("quotas", rows::quota(&project, resource, limit)));
        }
        let of = |resource| used.get(resource).copied().unwrap_or_default();
        let offset = exchange
            .parameter("offset")
            .and_then(|offset| offset.parse().ok());
        let (_, shown) = exchange.shown();
        let uncounted = number(&body["count"]).saturating_sub(shown.len() as u64);
        let groups = [
            (
                of("backups"),
                of("backup_gigabytes"),
                "2000-01-01T00:00:00.000000",
            ),
            (offset.unwrap_or_default(), 0, "2029-01-01T00:00:00.000000"),
            (uncounted, 0, "2000-01-01T00:00:00.000000"),
        ];
        for (count, gigabytes, created_at) in groups {
            for body in some(count, gigabytes, created_at) {
                self.add(&rows::backup(&body, &project, None));
            }
        }
        // The gigabytes are those of volumes and snapshots together.
        let (volumes, snapshots) = (of("volumes"), of("snapshots"));
        let gigabytes = of("gigabytes").saturating_sub(snapshots);
        for body in some(volumes, gigabytes, "2000-01-01T00:00:00.000000") {
            self.rows.push(("volumes", rows::volume(&body, &project)));
        }
        for mut body in some(snapshots, snapshots, "2000-01-01T00:00:00.000000") {
            body["volume_id"] = json!(Uuid::new_v4().to_string());
            self.put_snapshot(rows::snapshot(&body, &project));
        }
    }
}

/// So many things, of so many GiB together or of 1 each.
fn some(count: u64, gigabytes: u64, created_at: &str) -> Vec<Value> {
    let first = gigabytes.saturating_sub(count.saturating_sub(1)).max(1);
    let thing = |index| {
        let size = if index == 0 { first } else { 1 };
        json!({"id": Uuid::new_v4().to_string(), "size": size, "created_at": created_at})
    };
    (0..count).map(thing).collect()
}
