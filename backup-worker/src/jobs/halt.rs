//! Why a job stops, and what its owner is told.
//!
//! A sentence for the owner names no path of the machine and speaks no Rust; the whole error goes to
//! the log.

use std::io;

use common::telemetry::error_chain;

use crate::engine::{EngineError, Stop};
use crate::lease::LeaseError;
use crate::store::StoreError;
use crate::volume::VolumeError;

/// Why a job does not go on.
#[derive(Debug)]
pub(super) enum Halt {
    /// It is left for a later execution.
    Suspended(Suspended),
    /// Its owner asked for it.
    Cancelled,
    /// Trying again will not help.
    Lasting(Trouble),
}

/// Why a job is left for a later execution.
#[derive(Debug)]
pub(super) enum Suspended {
    /// The lease is another's now.
    Fenced,
    /// The state owner did not answer before this worker ended.
    Unanswered,
    /// The worker is stopping.
    Draining,
    /// A stopped predecessor still holds the target's lock.
    TargetHeld,
    /// An error that may pass.
    Passing(Trouble),
}

/// What went wrong.
#[derive(Debug)]
pub(super) struct Trouble {
    /// For the owner.
    pub(super) sentence: String,
    /// For the log.
    pub(super) detail: String,
}

impl Trouble {
    pub(super) fn new(sentence: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
            detail: detail.into(),
        }
    }

    pub(super) fn plain(sentence: &str) -> Self {
        Self::new(sentence, sentence)
    }

    pub(super) fn log(&self, what: &str) {
        tracing::warn!(error = self.detail, "{what}");
    }
}

impl Halt {
    fn of(transient: bool, sentence: String, error: &dyn std::error::Error) -> Self {
        let trouble = Trouble::new(sentence, error_chain(error));
        if transient {
            Self::Suspended(Suspended::Passing(trouble))
        } else {
            Self::Lasting(trouble)
        }
    }
}

impl From<LeaseError> for Suspended {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Fenced => Self::Fenced,
            LeaseError::Unanswered(_) => Self::Unanswered,
        }
    }
}

impl From<LeaseError> for Halt {
    fn from(error: LeaseError) -> Self {
        Self::Suspended(error.into())
    }
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Cancelled => Self::Cancelled,
            Stop::Fenced => Self::Suspended(Suspended::Fenced),
            Stop::Draining => Self::Suspended(Suspended::Draining),
        }
    }
}

impl From<VolumeError> for Halt {
    fn from(error: VolumeError) -> Self {
        if matches!(error, VolumeError::Held { .. }) {
            return Self::Suspended(Suspended::TargetHeld);
        }
        Self::of(error.is_transient(), of_volume(&error), &error)
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::of(error.is_transient(), of_store(&error), &error)
    }
}

impl From<EngineError> for Halt {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Stopped(stop) => stop.into(),
            EngineError::Volume(error) => error.into(),
            EngineError::Store(error) => error.into(),
            error => Self::of(error.is_transient(), of_engine(&error), &error),
        }
    }
}

fn of_volume(error: &VolumeError) -> String {
    match error {
        VolumeError::NoSuchVolume { .. } => {
            "The volume's data does not exist on its backend.".to_owned()
        }
        VolumeError::NoSuchSnapshot { .. } => {
            "The snapshot's data does not exist on its backend.".to_owned()
        }
        VolumeError::SourceChanged { doing } => {
            format!("The source changed while being {doing}.")
        }
        VolumeError::Held { .. } => "The volume is locked by another writer.".to_owned(),
        VolumeError::Refused { why, .. } => format!("The volume is refused: {why}."),
        VolumeError::BackendAway(_) => "The volume's backend cannot be reached.".to_owned(),
        VolumeError::Unreadable {
            offset,
            length,
            source,
            ..
        } => {
            format!(
                "The backup service could not read {length} bytes at offset {offset} of the volume: {}.",
                in_words(source)
            )
        }
        VolumeError::Io { verb, source, .. } => {
            format!(
                "The backup service could not {verb} the volume: {}.",
                in_words(source)
            )
        }
    }
}

fn of_store(error: &StoreError) -> String {
    match error {
        StoreError::NoSuchContainer { container } => {
            format!("The container `{container}` does not exist on the backup target.")
        }
        StoreError::NoSuchObject { object, .. } => {
            format!("The object `{object}` does not exist on the backup target.")
        }
        StoreError::Refused { why, .. } => {
            format!("The backup target refuses a name of this backup: {why}.")
        }
        StoreError::WrongTarget { .. } => "The backup target is not the expected one.".to_owned(),
        StoreError::Unreadable { object, source, .. } => {
            format!(
                "The backup service could not read the object `{object}` on the backup target: {}.",
                in_words(source)
            )
        }
        StoreError::Io { verb, source, .. } => {
            format!(
                "The backup service could not {verb} data on the backup target: {}.",
                in_words(source)
            )
        }
    }
}

fn of_engine(error: &EngineError) -> String {
    match error {
        EngineError::Volume(error) => of_volume(error),
        EngineError::Store(error) => of_store(error),
        EngineError::Codec { .. } | EngineError::Memory { .. } | EngineError::Thread { .. } => {
            "The backup service is short of resources.".to_owned()
        }
        // These speak of backups, objects and offsets, never of the machine.
        EngineError::Stopped(_)
        | EngineError::File { .. }
        | EngineError::Damaged(_)
        | EngineError::Chain { .. }
        | EngineError::Parent { .. }
        | EngineError::Sheet { .. }
        | EngineError::TargetTooSmall { .. }
        | EngineError::Gap { .. }
        | EngineError::Untrue { .. } => as_sentence(&error.to_string()),
    }
}

/// With a capital at the start and a full stop at the end.
fn as_sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string());
    let stop = if text.ends_with(['.', '!', '?']) {
        ""
    } else {
        "."
    };
    format!("{}{}{stop}", first.unwrap_or_default(), chars.as_str())
}

/// What the system said, for someone who does not know the system.
fn in_words(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "there is no space left",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "access is not allowed"
        }
        io::ErrorKind::NotFound => "it is gone",
        io::ErrorKind::TimedOut => "it did not answer in time",
        io::ErrorKind::UnexpectedEof => "it ended early",
        _ => "an input or output error",
    }
}

#[cfg(test)]
mod tests {
    use common::domain::ContainerName;

    use super::*;

    #[test]
    fn an_owner_is_told_no_path_of_the_machine() {
        let errors: [Halt; 3] = [
            StoreError::WrongTarget {
                root: "/srv/secret".to_owned(),
                why: "it has no marker".to_owned(),
            }
            .into(),
            VolumeError::BackendAway(io::Error::other("open /srv/secret")).into(),
            StoreError::Io {
                verb: "write",
                path: "/srv/secret/part".to_owned(),
                source: io::Error::from_raw_os_error(28),
            }
            .into(),
        ];
        for error in errors {
            let Halt::Suspended(Suspended::Passing(trouble)) = error else {
                panic!("{error:?} may pass");
            };
            assert!(!trouble.sentence.contains("secret"), "{}", trouble.sentence);
            assert!(trouble.sentence.ends_with('.') && !trouble.sentence.contains("os error"));
            assert_ne!(trouble.detail, trouble.sentence);
        }
    }

    #[test]
    fn an_owner_is_told_which_object_cannot_be_read() {
        let halt = Halt::from(EngineError::Store(StoreError::Unreadable {
            container: ContainerName::new("box").unwrap(),
            object: "x-00002".to_owned(),
            source: io::Error::from_raw_os_error(5),
        }));
        let Halt::Suspended(Suspended::Passing(trouble)) = halt else {
            panic!("{halt:?} may pass");
        };
        assert_eq!(
            trouble.sentence,
            "The backup service could not read the object `x-00002` on the backup target: an input or output error."
        );
    }

    #[test]
    fn an_owner_is_told_where_the_volume_cannot_be_read() {
        let halt = Halt::from(VolumeError::Unreadable {
            volume: "srv/secret".to_owned(),
            offset: 1 << 30,
            length: 4096,
            source: io::Error::from_raw_os_error(5),
        });
        let Halt::Suspended(Suspended::Passing(trouble)) = halt else {
            panic!("{halt:?} may pass");
        };
        assert_eq!(
            trouble.sentence,
            "The backup service could not read 4096 bytes at offset 1073741824 of the volume: an input or output error."
        );
    }

    #[test]
    fn a_volume_that_never_holds_still_fails_with_the_words_of_the_manual() {
        let halt = Halt::from(VolumeError::SourceChanged { doing: "copied" });
        let Halt::Lasting(trouble) = halt else {
            panic!("{halt:?} lasts");
        };
        assert!(
            trouble
                .sentence
                .contains("source changed while being copied")
        );
    }
}
