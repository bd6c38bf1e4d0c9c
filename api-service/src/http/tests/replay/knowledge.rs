//! What the recordings say of each backup, volume and snapshot, taken together.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::recording::{Exchange, is_uuid};

/// A backup, a volume or a snapshot, by its kind and id.
pub(super) type Key = (&'static str, String);

/// Bodies and owners of everything that was recorded.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    bodies: BTreeMap<Key, Value>,
    owners: BTreeMap<Key, String>,
}

impl Knowledge {
    pub(super) fn of(all: &[Exchange]) -> Self {
        let mut known = Self::default();
        for exchange in all {
            known.learn(exchange);
        }
        known
    }

    /// What a thing that the exchange does not show looked like: as it was when it could be used.
    pub(super) fn body(&self, key: &Key) -> Value {
        let body = self.bodies.get(key);
        body.cloned().unwrap_or_else(|| json!({"id": key.1}))
    }

    pub(super) fn owner(&self, key: &Key) -> Option<&str> {
        self.owners.get(key).map(String::as_str)
    }

    fn learn(&mut self, exchange: &Exchange) {
        if exchange.response.status >= 300 {
            return;
        }
        let (kind, items) = exchange.shown();
        for item in items {
            let id = item["id"].as_str().unwrap_or_default().to_owned();
            let key = (kind.expect("what is shown has a kind"), id);
            self.learn_body(&key, item);
            let attribute = [
                "os-backup-project-attr:project_id",
                "os-vol-tenant-attr:tenant_id",
                "os-extended-snapshot-attributes:project_id",
            ];
            let named = attribute.iter().find_map(|name| item[*name].as_str());
            let owner = match named {
                Some(owner) => Some(owner.to_owned()),
                None => (!exchange.is_admin()).then(|| exchange.project("")),
            };
            if let Some(owner) = owner {
                self.owners.insert(key, owner);
            }
        }
        for key in in_request(exchange) {
            if !exchange.is_admin() {
                self.owners.insert(key, exchange.project(""));
            }
        }
    }

    fn learn_body(&mut self, key: &Key, item: &Value) {
        let is_usable = |body: &Value| ["available", "in-use"].iter().any(|s| body["status"] == *s);
        let known = self
            .bodies
            .entry(key.clone())
            .or_insert_with(|| item.clone());
        let is_better = item["status"].is_string()
            && (known["status"].is_null() || !is_usable(known) && is_usable(item));
        if is_better {
            known.clone_from(item);
        }
    }
}

/// What a request speaks of: in its path, as its marker, or in its body.
pub(super) fn in_request(exchange: &Exchange) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut add = |kind, id: &str| {
        if is_uuid(id) {
            keys.push((kind, id.to_owned()));
        }
    };
    let segments = exchange.segments();
    for (kind, collection) in [
        ("backup", "backups"),
        ("volume", "volumes"),
        ("snapshot", "snapshots"),
    ] {
        if let Some(at) = segments.iter().position(|segment| *segment == collection) {
            add(kind, segments.get(at + 1).copied().unwrap_or_default());
            add(kind, exchange.parameter("marker").unwrap_or_default());
        }
    }
    let members = exchange.request.body.as_object().into_iter().flatten();
    for object in members.filter_map(|(_, value)| value.as_object()) {
        for (kind, member) in [
            ("volume", "volume_id"),
            ("backup", "backup_id"),
            ("snapshot", "snapshot_id"),
        ] {
            add(
                kind,
                object
                    .get(member)
                    .and_then(Value::as_str)
                    .unwrap_or_default(),
            );
        }
    }
    keys
}

/// Lays one object over another.
pub(super) fn overlay(body: &mut Value, over: &Value) {
    let members: &mut Map<String, Value> = body.as_object_mut().expect("an object");
    for (member, value) in over.as_object().into_iter().flatten() {
        members.insert(member.clone(), value.clone());
    }
}
