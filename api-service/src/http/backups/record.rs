//! Records of backups, as Cinder gives them away and takes them in: base64 of a JSON object with
//! every column of its row.
//!
//! What is read must be good for a row here: it came from a client.

use std::collections::BTreeMap;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::domain::{BackupId, BackupStatus, VolumeId};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use crate::http::error::ApiError;
use crate::http::validate::TEXT_MAX;
use crate::rules::{EXPORTED_SERVICE, serves};
use crate::store::{BackupRow, ImportedData, ImportedRecord};

/// The record of a backup, of which something is left only on the target.
pub(super) fn encode(row: &BackupRow) -> String {
    let time = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let record = json!({
        "driver_info": {},
        "id": row.id.to_string(),
        "user_id": row.user_id.as_str(),
        "project_id": row.project_id.as_str(),
        "volume_id": row.volume_id.to_string(),
        "host": null,
        "availability_zone": row.availability_zone,
        "container": row.container.as_ref().map(|name| name.as_str()),
        "parent_id": row.parent_id.map(|id| id.to_string()),
        // The one that a record can be had in.
        "status": BackupStatus::Available.as_str(),
        "fail_reason": row.fail_reason,
        "size": row.size_gib,
        "display_name": row.name,
        "display_description": row.description,
        "service_metadata": row.prefix.as_ref().map(|name| name.as_str()),
        "service": EXPORTED_SERVICE,
        "object_count": row.object_count,
        "temp_volume_id": null,
        "temp_snapshot_id": null,
        "num_dependent_backups": row.dependents,
        "snapshot_id": row.snapshot_id.map(|id| id.to_string()),
        "data_timestamp": row.data_timestamp.map(time),
        "restore_volume_id": row.restore_volume_id.map(|id| id.to_string()),
        "metadata": row.metadata,
        "encryption_key_id": null,
        "created_at": time(row.created_at),
        "updated_at": row.updated_at.map(time),
        "deleted_at": null,
        "deleted": false,
    });
    STANDARD.encode(record.to_string())
}

/// The bytes of a record; `None` when it is no base64.
pub(super) fn unwrap(url: &str) -> Option<Vec<u8>> {
    // Records are copied and pasted, and come with line ends.
    let url: String = url.split_ascii_whitespace().collect();
    STANDARD.decode(url).ok()
}

/// Reads a record that came with the name of the driver that made it.
pub(super) fn decode(service: &str, bytes: &[u8]) -> Result<ImportedRecord, ApiError> {
    let Ok(Value::Object(members)) = serde_json::from_slice(bytes) else {
        return Err(refused("Can't parse backup record."));
    };
    let members = Members(&members);
    let id = members.has("id", "an id")?;
    let size = members.has("size", "size attribute")?;
    let id: BackupId = id
        .as_str()
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| members.bad("id", "is no UUID"))?;
    let size_gib = size
        .as_u64()
        .and_then(|size| i32::try_from(size).ok())
        .and_then(|size| u32::try_from(size).ok())
        .filter(|size| *size > 0)
        .ok_or_else(|| members.bad("size", "is no size in GiB"))?;
    Ok(ImportedRecord {
        service: service.to_owned(),
        id,
        size_gib,
        data: if serves(service) {
            Some(data(&members)?)
        } else {
            None
        },
    })
}

fn data(members: &Members<'_>) -> Result<ImportedData, ApiError> {
    Ok(ImportedData {
        volume_id: members
            .parsed("volume_id")?
            .unwrap_or(VolumeId::from(uuid::Uuid::nil())),
        object_count: members.count("object_count")?,
        availability_zone: members.text("availability_zone")?,
        container: members.name("container")?,
        prefix: members.name("service_metadata")?,
        name: members.text("display_name")?,
        description: members.text("display_description")?,
        parent_id: members.parsed("parent_id")?,
        snapshot_id: members.parsed("snapshot_id")?,
        data_timestamp: members.time("data_timestamp")?,
        metadata: members.pairs("metadata")?,
        restore_volume_id: members.parsed("restore_volume_id")?,
        created_at: members.time("created_at")?,
        updated_at: members.time("updated_at")?,
    })
}

fn refused(reason: impl std::fmt::Display) -> ApiError {
    ApiError::Invalid(format!("Invalid input received: {reason}"))
}

/// The members of a record. Those that nobody knows do no harm.
struct Members<'a>(&'a Map<String, Value>);

impl<'a> Members<'a> {
    fn has(&self, member: &'static str, what: &str) -> Result<&'a Value, ApiError> {
        self.given(member)
            .ok_or_else(|| refused(format!("Provided backup record is missing {what}")))
    }

    fn given(&self, member: &str) -> Option<&'a Value> {
        self.0.get(member).filter(|value| !value.is_null())
    }

    fn bad(&self, member: &str, why: impl std::fmt::Display) -> ApiError {
        refused(format!("the backup record's {member} {why}"))
    }

    fn text(&self, member: &str) -> Result<Option<String>, ApiError> {
        match self.given(member) {
            None => Ok(None),
            Some(Value::String(text)) if is_good(text) => Ok(Some(text.clone())),
            Some(_) => Err(self.bad(member, "is no text of at most 255 characters")),
        }
    }

    fn parsed<T: FromStr>(&self, member: &str) -> Result<Option<T>, ApiError> {
        self.text(member)?
            .map(|text| text.parse().map_err(|_| self.bad(member, "is no UUID")))
            .transpose()
    }

    /// A name on the target, which must be there and must not lead out of its root.
    fn name<T>(&self, member: &'static str) -> Result<T, ApiError>
    where
        T: TryFrom<String, Error = common::domain::BadName>,
    {
        let text = self.text(member)?.ok_or_else(|| {
            refused(format!(
                "Provided backup record is missing {member} attribute"
            ))
        })?;
        T::try_from(text).map_err(|bad| self.bad(member, format_args!("is refused: {}", bad.why)))
    }

    fn count(&self, member: &str) -> Result<u64, ApiError> {
        let Some(value) = self.given(member) else {
            return Ok(0);
        };
        value
            .as_u64()
            .filter(|count| i64::try_from(*count).is_ok())
            .ok_or_else(|| self.bad(member, "is no number of objects"))
    }

    fn time(&self, member: &str) -> Result<Option<Timestamp>, ApiError> {
        self.text(member)?
            .map(|text| time(&text).ok_or_else(|| self.bad(member, "is no time")))
            .transpose()
    }

    fn pairs(&self, member: &str) -> Result<BTreeMap<String, String>, ApiError> {
        let bad = || self.bad(member, "is no object of texts");
        let pairs = match self.given(member) {
            None => return Ok(BTreeMap::new()),
            Some(Value::Object(pairs)) => pairs,
            Some(_) => return Err(bad()),
        };
        pairs
            .iter()
            .map(|(key, value)| match value {
                Value::String(text) if is_good(key) && is_good(text) => {
                    Ok((key.clone(), text.clone()))
                }
                _ => Err(bad()),
            })
            .collect()
    }
}

fn is_good(text: &str) -> bool {
    text.chars().count() <= TEXT_MAX && !text.contains('\0')
}

/// A time with its zone, or in UTC.
fn time(text: &str) -> Option<Timestamp> {
    let with_zone = text.parse::<Timestamp>().ok();
    with_zone.or_else(|| {
        let time = text.parse::<DateTime>().ok()?;
        Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSIX: &str = "cinder.backup.drivers.posix.PosixBackupDriver";

    /// A record as the reference makes it.
    fn record() -> Value {
        json!({
            "driver_info": {}, "id": "ee2389bf-deba-48b3-a152-018dc4729cad",
            "user_id": "c0c1dc703ccb46fc989d0cf17f054ef5",
            "project_id": "66ef423d31474694bd55e8a318687b47",
            "volume_id": "4361bde6-476f-431f-a3e9-e484bc20e5ed", "host": "refhost",
            "availability_zone": "nova",
            "container": "ee/23/ee2389bf-deba-48b3-a152-018dc4729cad",
            "parent_id": null, "status": "available", "fail_reason": null, "size": 1,
            "display_name": null, "display_description": "of the shop",
            "service_metadata": "volume_4361bde6-476f-431f-a3e9-e484bc20e5ed_20261122063424_backup_ee2389bf-deba-48b3-a152-018dc4729cad",
            "service": POSIX, "object_count": 2, "temp_volume_id": null,
            "temp_snapshot_id": null, "num_dependent_backups": 1, "snapshot_id": null,
            "data_timestamp": "2026-11-22T06:34:23Z",
            "restore_volume_id": "d1c767d2-7dc8-43ce-b151-363becba42fa",
            "metadata": {"k": "v"}, "encryption_key_id": null,
            "created_at": "2026-11-22T06:34:23Z", "updated_at": "2026-11-22T06:34:46Z",
            "deleted_at": null, "deleted": false,
        })
    }

    fn read(record: &Value) -> Result<ImportedRecord, ApiError> {
        decode(POSIX, record.to_string().as_bytes())
    }

    fn reason(record: &Value) -> String {
        match read(record) {
            Err(ApiError::Invalid(message)) => message,
            _ => panic!("{record} is not refused"),
        }
    }

    fn with(member: &str, value: Value) -> Value {
        let mut record = record();
        record[member] = value;
        record
    }

    #[test]
    fn a_record_of_the_reference_is_read() {
        let read = read(&record()).unwrap();
        assert_eq!(read.id.to_string(), "ee2389bf-deba-48b3-a152-018dc4729cad");
        let data = read.data.unwrap();
        assert_eq!(data.object_count, 2);
        assert_eq!(data.description.as_deref(), Some("of the shop"));
        assert_eq!(data.metadata["k"], "v");
        assert_eq!(data.created_at.unwrap().to_string(), "2026-11-22T06:34:23Z");
    }

    #[test]
    fn times_without_a_zone_are_in_utc() {
        for text in [
            "2026-11-22T06:34:23",
            "2026-11-22 06:34:23.5",
            "2026-11-22T07:34:23+01:00",
        ] {
            let time = time(text).unwrap();
            assert_eq!(time.as_second(), 1_795_329_263, "{text}");
        }
        assert_eq!(time("yesterday"), None);
    }

    #[test]
    fn what_no_row_can_hold_is_refused_by_name() {
        let id = "ee2389bf-deba-48b3-a152-018dc4729cad";
        for (member, value) in [
            ("id", json!("not-a-uuid")),
            ("id", json!(7)),
            ("size", json!(0)),
            ("size", json!(-1)),
            ("size", json!("1")),
            ("size", json!(1_u64 << 31)),
            ("volume_id", json!("x")),
            ("parent_id", json!("x")),
            ("object_count", json!(-1)),
            ("container", json!("../elsewhere")),
            ("container", json!("/etc")),
            ("container", json!(".emberkeep-x")),
            ("service_metadata", json!("volume_x")),
            ("service_metadata", json!("")),
            (
                "service_metadata",
                json!(format!("volume_x/20260301/az_nova_backup_{id}")),
            ),
            ("display_name", json!("n".repeat(256))),
            ("display_name", json!(["n"])),
            ("metadata", json!({"k": 1})),
            ("created_at", json!("yesterday")),
        ] {
            let message = reason(&with(member, value.clone()));
            assert!(message.contains(member), "{member} {value}: {message}");
        }
        for member in ["container", "service_metadata"] {
            let message = reason(&with(member, Value::Null));
            assert!(message.contains("is missing"), "{member}: {message}");
        }
    }

    #[test]
    fn an_unknown_driver_needs_only_id_and_size() {
        let bare = json!({"id": "ee2389bf-deba-48b3-a152-018dc4729cad", "size": 3});
        let swift = "cinder.backup.drivers.swift.SwiftBackupDriver";
        let read = decode(swift, bare.to_string().as_bytes()).unwrap();
        assert_eq!((read.size_gib, read.data), (3, None));
        assert!(reason(&bare).contains("container"));
    }

    #[test]
    fn unknown_members_do_no_harm() {
        assert!(read(&with("colour", json!({"deep": [1]}))).is_ok());
    }
}
