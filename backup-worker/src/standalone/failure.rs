//! What a command ends with when it does not end well, and what that says to the shell.

use std::fmt;

use common::domain::BackupId;
use common::telemetry::error_chain;
use serde::Serialize;

use crate::engine::{BadExtent, Damage, EngineError};
use crate::format::FormatError;
use crate::store::StoreError;
use crate::volume::VolumeError;

/// Could not run.
pub(super) const COULD_NOT: u8 = 1;
/// Wrong usage; also what the command line's parser ends with.
pub(super) const USAGE: u8 = 2;
/// Stored data is not what was stored.
pub(super) const DAMAGED: u8 = 3;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It could not be done; nothing is known to be wrong with stored data.
    #[error("{0}")]
    CouldNot(String),
    /// What was asked makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Stored data is not what was stored.
    #[error("{0}")]
    Damaged(Findings),
}

/// One thing that is wrong with stored data.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Finding {
    /// The backup it is stored for.
    pub backup_id: BackupId,
    /// The object or closing file.
    pub object: Option<String>,
    /// Where in the volume the bytes belong.
    pub offset: u64,
    /// How many bytes of the volume are concerned; none where that is all that follow.
    pub length: Option<u64>,
    /// What was found.
    pub why: String,
}

/// All that was found: the first by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// By name.
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub more: u64,
    /// What was done all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Failure {
    /// That `deed` failed.
    pub(super) fn to(deed: impl fmt::Display, source: &dyn std::error::Error) -> Self {
        Self::CouldNot(format!("{deed}: {}", error_chain(source)))
    }

    /// What the engine, at work on `backup_id`, failed with.
    pub(super) fn of_engine(backup_id: BackupId, error: EngineError) -> Self {
        match error {
            EngineError::Damaged(damage) => Self::Damaged(damage.into()),
            EngineError::File {
                backup_id,
                object,
                source,
            } if !source.is_transient() => Self::file(backup_id, object, &source),
            EngineError::Chain { backup_id, why } => Self::backup(backup_id, why),
            EngineError::Store(
                source @ (StoreError::Refused { .. }
                | StoreError::NoSuchContainer { .. }
                | StoreError::NoSuchObject { .. }),
            ) => Self::backup(backup_id, source.to_string()),
            EngineError::Stopped(_) => Self::CouldNot("interrupted".to_owned()),
            other => Self::CouldNot(other.sentence()),
        }
    }

    /// A closing file that cannot be used: then nothing of the volume can be had.
    pub(super) fn file(backup_id: BackupId, object: String, source: &FormatError) -> Self {
        Self::found(Finding {
            backup_id,
            object: Some(object),
            offset: 0,
            length: None,
            why: error_chain(source),
        })
    }

    /// A backup that cannot be read at all.
    pub(super) fn backup(backup_id: BackupId, why: impl Into<String>) -> Self {
        Self::found(Finding {
            backup_id,
            object: None,
            offset: 0,
            length: None,
            why: why.into(),
        })
    }

    fn found(finding: Finding) -> Self {
        Self::Damaged(Findings {
            findings: vec![finding],
            ..Findings::default()
        })
    }

    /// What it says to the shell.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::CouldNot(_) => COULD_NOT,
            Self::Usage(_) => USAGE,
            Self::Damaged(_) => DAMAGED,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::CouldNot(error_chain(&error))
    }
}

impl From<VolumeError> for Failure {
    fn from(error: VolumeError) -> Self {
        Self::CouldNot(error_chain(&error))
    }
}

impl From<Damage> for Findings {
    fn from(damage: Damage) -> Self {
        let more = damage.total - damage.extents.len() as u64;
        let findings = damage.extents.into_iter().map(Finding::from).collect();
        Self {
            findings,
            more,
            note: None,
        }
    }
}

impl From<BadExtent> for Finding {
    fn from(extent: BadExtent) -> Self {
        Self {
            backup_id: extent.backup_id,
            object: Some(extent.object),
            offset: extent.offset,
            length: Some(extent.length),
            why: extent.why,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "backup {}", self.backup_id)?;
        if let Some(object) = &self.object {
            write!(f, ", object {object}")?;
        }
        write!(f, ", volume offset {}", self.offset)?;
        match self.length {
            Some(length) => write!(f, ", length {length}")?,
            None => f.write_str(", all that follows")?,
        }
        write!(f, ": {}", self.why)
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stored data is damaged")?;
        for finding in &self.findings {
            write!(f, "\n  {finding}")?;
        }
        if self.more > 0 {
            write!(f, "\n  and {} more", self.more)?;
        }
        if let Some(note) = &self.note {
            write!(f, "\n{note}")?;
        }
        Ok(())
    }
}
