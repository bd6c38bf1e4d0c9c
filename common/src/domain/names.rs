//! Names on the backup target and on the volume backend.
//!
//! The state owner computes every name before it exists; they are pure functions of ids, attempt
//! and time. A name that comes from outside becomes one of these types or is refused: none of them
//! can lead out of a configured root.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{BackupId, SnapshotId, VolumeId};

/// Longest container name and volume reference, as the API has it.
const NAME_MAX: usize = 255;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name {name:?} is refused: {why}")]
pub struct BadName {
    /// The name as it came.
    pub name: String,
    /// The rule it breaks.
    pub why: &'static str,
}

/// Checks a relative path: no empty, `.` or `..` component, nothing absolute, no control
/// character, at most 255 bytes.
fn check_relative(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it is empty");
    }
    if name.len() > NAME_MAX {
        return Err("it is longer than 255 bytes");
    }
    if name.starts_with('/') {
        return Err("it is absolute");
    }
    if name.chars().any(char::is_control) {
        return Err("it has a control character");
    }
    if name.contains('\\') {
        return Err("it has a backslash");
    }
    for component in name.split('/') {
        match component {
            "" => return Err("it has an empty component"),
            "." | ".." => return Err("it has a `.` or `..` component"),
            _ => {}
        }
    }
    Ok(())
}

macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks and wraps a name.
            ///
            /// # Errors
            /// [`BadName`] says which rule it breaks.
            pub fn new(name: impl Into<String>) -> Result<Self, BadName> {
                let name = name.into();
                let check: fn(&str) -> Result<(), &'static str> = $check;
                match check(&name) {
                    Ok(()) => Ok(Self(name)),
                    Err(why) => Err(BadName { name, why }),
                }
            }

            /// The name itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(name: String) -> Result<Self, Self::Error> {
                Self::new(name)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

checked_name! {
    /// The bucket-like place that holds a backup's objects: a relative path below the target's
    /// root for file systems. Names that begin with `.emberkeep` are ours and are refused.
    ContainerName, |name| {
        check_relative(name)?;
        if name.split('/').any(|component| component.starts_with(".emberkeep")) {
            return Err("names that begin with `.emberkeep` are reserved");
        }
        Ok(())
    }
}

checked_name! {
    /// What all objects of one backup begin with: one path component that ends in
    /// `_backup_<uuid>`.
    ///
    /// A hostile one may begin with another whole prefix, so that beginning with a prefix makes no
    /// name its own: [`ObjectPrefix::can_have`] tells.
    ObjectPrefix, |name| {
        check_relative(name)?;
        if name.contains('/') {
            return Err("an object prefix is one path component");
        }
        let id = name.rsplit_once("_backup_").map(|(_, id)| id).ok_or("it does not end in `_backup_<uuid>`")?;
        if id.len() == 36 && id.parse::<uuid::Uuid>().is_ok() {
            Ok(())
        } else {
            Err("it does not end in `_backup_<uuid>`")
        }
    }
}

checked_name! {
    /// Where a volume's data is, relative to its backend's root: a file's path for the `file` driver.
    VolumeSource, |name| {
        check_relative(name)?;
        if name.split('/').any(|component| component.starts_with("bk-") || component.starts_with(".emberkeep")) {
            return Err("names that begin with `bk-` or `.emberkeep` are reserved");
        }
        // Also with what is staged under it: another owner's snapshot is nobody's volume.
        if name.split('/').any(|component| is_snapshot(component.get(..SNAPSHOT_NAME_BYTES).unwrap_or_default())) {
            return Err("names that begin with `snapshot-<uuid>` are reserved");
        }
        Ok(())
    }
}

checked_name! {
    /// Name of an owner's snapshot on its volume backend, `snapshot-<uuid>`: for the `file` driver a
    /// file beside its volume's. It never begins `bk-`, so no clean-up of a backup can remove it.
    SnapshotName, |name| if is_snapshot(name) { Ok(()) } else { Err("it is not `snapshot-<uuid>`") }
}

/// What a snapshot's name begins with (Cinder: option `snapshot_name_template`).
const SNAPSHOT: &str = "snapshot-";
/// Bytes of a whole name: a UUID has 36.
const SNAPSHOT_NAME_BYTES: usize = SNAPSHOT.len() + 36;

fn is_snapshot(name: &str) -> bool {
    let id = name.strip_prefix(SNAPSHOT);
    id.is_some_and(|id| id.len() == 36 && id.parse::<uuid::Uuid>().is_ok())
}

impl SnapshotName {
    /// The name of a snapshot.
    #[must_use]
    pub fn of(id: SnapshotId) -> Self {
        Self(format!("{SNAPSHOT}{id}"))
    }
}

impl ContainerName {
    /// The container of a backup for which the owner named none: `2f/86/2f86…`
    /// (Cinder: `cinder/backup/drivers/posix.py`, `update_container_name`).
    #[must_use]
    pub fn from_backup_id(id: BackupId) -> Self {
        let id = id.to_string();
        Self(format!("{}/{}/{id}", &id[0..2], &id[2..4]))
    }
}

impl ObjectPrefix {
    /// `volume_<volume id>_<YYYYMMDDHHMMSS>_backup_<backup id>`, the time in UTC
    /// (Cinder: `cinder/backup/drivers/posix.py`, `_generate_object_name_prefix`).
    #[must_use]
    pub fn for_attempt(volume: VolumeId, time: Timestamp, backup: BackupId) -> Self {
        let time = time.strftime("%Y%m%d%H%M%S");
        Self(format!("volume_{volume}_{time}_backup_{backup}"))
    }

    /// Name of data object `number`, counted from 1: at least five digits.
    #[must_use]
    pub fn object(&self, number: u64) -> String {
        format!("{}-{number:05}", self.0)
    }

    /// Name of the metadata file, the commit mark of a backup.
    #[must_use]
    pub fn metadata(&self) -> String {
        format!("{}_metadata", self.0)
    }

    /// Name of the sha256 file.
    #[must_use]
    pub fn sha256file(&self) -> String {
        format!("{}_sha256file", self.0)
    }

    /// Whether a name is one that this prefix can have: a closing file's, or a data object's of any number.
    #[must_use]
    pub fn can_have(&self, name: &str) -> bool {
        match name.strip_prefix(&self.0) {
            Some("_metadata" | "_sha256file") => true,
            Some(rest) => rest.strip_prefix('-').is_some_and(|number| {
                !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
            }),
            None => false,
        }
    }
}

/// All names of one attempt: one lineage of data of a backup. Made and stored by the state owner
/// before any of them exists; clean-up walks these and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptNames {
    /// Counts from 1.
    pub number: u32,
    /// Where the objects are.
    pub container: ContainerName,
    /// What they begin with.
    pub prefix: ObjectPrefix,
    /// The temporary snapshot on the volume backend; `None` for an imported backup, and for one that
    /// reads a snapshot of its owner.
    pub snapshot: Option<String>,
    /// The directory for parts and segments, inside the container; `None` for an imported backup.
    pub scratch: Option<String>,
}

impl AttemptNames {
    /// The names of attempt `number`, whose prefix carries `time`. A later attempt needs a time at
    /// least one second later, so that its prefix differs.
    #[must_use]
    pub fn new(
        number: u32,
        container: ContainerName,
        volume: VolumeId,
        backup: BackupId,
        time: Timestamp,
    ) -> Self {
        Self {
            number,
            container,
            prefix: ObjectPrefix::for_attempt(volume, time, backup),
            snapshot: Some(format!("bk-{backup}-a{number}")),
            scratch: Some(format!(".emberkeep-{backup}-a{number}")),
        }
    }

    /// The same for a backup that reads a snapshot of its owner: it makes none, and so it has none to
    /// remove.
    #[must_use]
    pub fn without_snapshot(self) -> Self {
        Self {
            snapshot: None,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_as_cinder_spells_them() {
        let backup: BackupId = "2f863a48-cc5c-4d12-8a5c-6bb29d30f9a1".parse().unwrap();
        let volume: VolumeId = "9fbfd5af-22b3-4b1c-842d-2818dcc05e22".parse().unwrap();
        assert_eq!(
            ContainerName::from_backup_id(backup).as_str(),
            "2f/86/2f863a48-cc5c-4d12-8a5c-6bb29d30f9a1"
        );
        let prefix =
            ObjectPrefix::for_attempt(volume, "2026-03-01T10:17:07Z".parse().unwrap(), backup);
        assert_eq!(
            prefix.as_str(),
            "volume_9fbfd5af-22b3-4b1c-842d-2818dcc05e22_20260301101707_backup_2f863a48-cc5c-4d12-8a5c-6bb29d30f9a1"
        );
        assert!(prefix.object(7).ends_with("-00007"));
        assert!(prefix.object(100_000).ends_with("-100000"));
    }

    #[test]
    fn hostile_names_are_refused() {
        let long = "x".repeat(256);
        for bad in [
            "", "..", "a/../b", "/etc", "a//b", "a/", "./a", "a\0b", "a\nb", "a\\b", &long,
        ] {
            assert!(ContainerName::new(bad).is_err(), "{bad:?} as a container");
            assert!(VolumeSource::new(bad).is_err(), "{bad:?} as a volume");
        }
        assert!(ContainerName::new(".emberkeep-x").is_err());
        assert!(VolumeSource::new("bk-x").is_err());
        let id = "2f863a48-cc5c-4d12-8a5c-6bb29d30f9a1";
        for snapshot in [format!("snapshot-{id}"), format!("a/snapshot-{id}.g1")] {
            assert!(VolumeSource::new(snapshot).is_err());
        }
        assert!(VolumeSource::new("snapshot-of-monday").is_ok());
        assert!(SnapshotName::new(format!("snapshot-{id}")).is_ok());
        for bad in [
            format!("bk-{id}"),
            format!("snapshot-{id}.g1"),
            format!("../snapshot-{id}"),
        ] {
            assert!(SnapshotName::new(bad).is_err());
        }
        assert!(ContainerName::new("my/own box").is_ok());
    }

    #[test]
    fn a_prefix_ends_in_a_backup_id() {
        assert!(ObjectPrefix::new("p").is_err());
        assert!(ObjectPrefix::new("").is_err());
        assert!(ObjectPrefix::new("x_backup_2f863a48-cc5c-4d12-8a5c-6bb29d30f9a1").is_ok());
        assert!(ObjectPrefix::new("a/x_backup_2f863a48-cc5c-4d12-8a5c-6bb29d30f9a1").is_err());
        assert!(ObjectPrefix::new("x_backup_2f863a48cc5c4d128a5c6bb29d30f9a1").is_err());
    }

    #[test]
    fn another_backup_whose_prefix_begins_with_ours_has_none_of_our_names() {
        let id = "2f863a48-cc5c-4d12-8a5c-6bb29d30f9a1";
        let ours = ObjectPrefix::new(format!("x_backup_{id}")).unwrap();
        let theirs = ObjectPrefix::new(format!("x_backup_{id}-1_backup_{id}")).unwrap();
        for own in [
            ours.object(1),
            ours.object(100_000),
            ours.metadata(),
            ours.sha256file(),
        ] {
            assert!(ours.can_have(&own), "{own}");
        }
        for foreign in [
            theirs.object(1),
            theirs.metadata(),
            theirs.sha256file(),
            ours.as_str().to_owned(),
            format!("{ours}-"),
            format!("{ours}-1x"),
        ] {
            assert!(!ours.can_have(&foreign), "{foreign}");
        }
    }
}
