//! The words of the trade as types: ids, statuses, names, sizes.
//!
//! No I/O and no async in this module; everything is a value and can be tested as one.

mod backup;
mod clock;
mod compression;
mod id;
mod job;
mod names;
mod size;
mod snapshot;
mod trace_parent;
mod volume;

pub use backup::BackupStatus;
pub use clock::{Clock, SystemClock};
pub use compression::{Compression, UnknownCompression};
pub use id::{
    BackupId, ClaimId, Incarnation, JobId, ProjectId, SnapshotId, UserId, VolumeId, WorkerName,
};
pub use job::{BadToken, JobKind, JobState, QueueKey, Token};
pub use names::{AttemptNames, BadName, ContainerName, ObjectPrefix, SnapshotName, VolumeSource};
pub use size::{ByteCount, GIB};
pub use snapshot::SnapshotStatus;
pub use trace_parent::{BadTraceParent, TraceParent};
pub use volume::VolumeStatus;

/// A status or kind that is written as text, but not one we know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}")]
pub struct UnknownWord {
    /// What the text should have been, for example `backup status`.
    pub what: &'static str,
    /// The text as it came.
    pub text: String,
}

/// Gives an enum its spelling: `as_str`, `Display`, `FromStr`, and serde by the same words.
macro_rules! spelled {
    ($name:ident, $what:literal, { $($variant:ident = $text:literal),+ $(,)? }) => {
        impl $name {
            /// Every value, in the order of the definition.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The spelling used in the API, the database and in messages.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl std::str::FromStr for $name {
            type Err = crate::domain::UnknownWord;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    other => Err(crate::domain::UnknownWord { what: $what, text: other.to_owned() }),
                }
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": [$($text),+] })
            }
        }
    };
}
pub(crate) use spelled;
