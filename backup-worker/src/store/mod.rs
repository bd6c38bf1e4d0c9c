//! The backup target behind a seam.
//!
//! A store keeps named objects in containers. Engine and jobs know only [`BackupStore`]; each
//! driver is a file here. Calls block: they run on a job's own threads, never on the runtime's.
//!
//! **Invariants.** Nothing is visible under its final name before it is whole and durable. A name
//! never leads out of the target's root. A target whose marker is not the expected one is never
//! written to.

#[cfg(test)]
pub(crate) mod conformance;
pub(crate) mod measured;
pub(crate) mod nfs;
pub mod posix;

use std::fmt::Debug;
use std::io::{self, Read};

use common::domain::ContainerName;

/// What a store can fail with.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The container is not there.
    #[error("container `{container}` does not exist")]
    NoSuchContainer {
        /// Which.
        container: ContainerName,
    },
    /// The object is not there.
    #[error("object `{object}` does not exist in container `{container}`")]
    NoSuchObject {
        /// Where it was looked for.
        container: ContainerName,
        /// Its name.
        object: String,
    },
    /// The name would lead out of the root, or over a symbolic link.
    #[error("`{path}` on the backup target is refused: {why}")]
    Refused {
        /// The path below the root.
        path: String,
        /// The rule.
        why: &'static str,
    },
    /// The target has no marker, or another's.
    #[error("the backup target at `{root}` is not this deployment's: {why}")]
    WrongTarget {
        /// Where it is.
        root: String,
        /// What was found.
        why: String,
    },
    /// An object that is there cannot be read.
    #[error("read `{object}` in container `{container}`")]
    Unreadable {
        /// Where it is.
        container: ContainerName,
        /// Its name.
        object: String,
        /// Why not.
        source: io::Error,
    },
    /// The system refused.
    #[error("{verb} `{path}` on the backup target")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what, below the root.
        path: String,
        /// Why not.
        source: io::Error,
    },
}

impl StoreError {
    /// Whether trying later may help: the target is full, away or slow.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoSuchContainer { .. } | Self::NoSuchObject { .. } | Self::Refused { .. } => {
                false
            }
            Self::WrongTarget { .. } => true, // an unmounted share: it may come back
            Self::Unreadable { source, .. } | Self::Io { source, .. } => !matches!(
                source.kind(),
                io::ErrorKind::InvalidInput
                    | io::ErrorKind::InvalidData
                    | io::ErrorKind::InvalidFilename
            ),
        }
    }

    /// Whether what was looked for is not there.
    #[must_use]
    pub fn tells_of_absence(&self) -> bool {
        matches!(
            self,
            Self::NoSuchContainer { .. } | Self::NoSuchObject { .. }
        )
    }
}

/// A part: bytes under a temporary name in a scratch place, on their way to become an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name inside the scratch place.
    pub name: String,
    /// How many bytes it has.
    pub bytes: u64,
}

/// A place for named objects in containers. Implementations are cheap to share between threads.
pub trait BackupStore: Debug + Send + Sync {
    /// Fails unless this is the expected target; called before the first write of each job.
    ///
    /// # Errors
    /// [`StoreError::WrongTarget`].
    fn check_marker(&self) -> Result<(), StoreError>;

    /// Takes down what the driver set up on this machine to reach the target, such as a mount: the worker ends. Calls that
    /// come later, or wait for the target, may fail. Does not wait for the target. Most drivers set nothing up.
    fn leave(&self) {}

    /// Makes the container if it is not there, and the scratch place in it. What is in the scratch place is
    /// durable then, also what a crashed execution named and did not come to make durable.
    ///
    /// # Errors
    /// When it cannot be made.
    fn prepare(&self, container: &ContainerName, scratch: &str) -> Result<(), StoreError>;

    /// Writes a part into the scratch place, replacing one of the same name. Not yet durable.
    ///
    /// # Errors
    /// When it cannot be written; what was written of it may be left for [`BackupStore::remove_scratch`].
    fn write_part(
        &self,
        container: &ContainerName,
        scratch: &str,
        part: &str,
        data: &[u8],
    ) -> Result<Part, StoreError>;

    /// Removes the parts whose names begin with `prefix` and that were not published: what one execution wrote in vain.
    /// Gone already is no error.
    ///
    /// # Errors
    /// When the system refuses; some may be removed.
    fn discard_parts(
        &self,
        container: &ContainerName,
        scratch: &str,
        prefix: &str,
    ) -> Result<(), StoreError>;

    /// Makes parts durable and gives them their final names; returns when names and contents are durable. It is
    /// called once for each sealed batch, so that what durability costs is paid by batch and not by object. Repeating it
    /// after a crash is harmless.
    ///
    /// # Errors
    /// When a part is gone or the system refuses. A part that could not be made durable is discarded: it has to be
    /// written again.
    fn publish_parts(
        &self,
        container: &ContainerName,
        scratch: &str,
        parts: &[(Part, String)],
    ) -> Result<(), StoreError>;

    /// Streams one object: written under a temporary name in the scratch place by `write`, then durable, then
    /// named. Also used for segments, whose final name is inside the scratch place (`in_scratch`).
    ///
    /// # Errors
    /// When `write` fails or the system refuses. The final name is then untouched, or has the whole object and is
    /// perhaps not durable.
    fn put_stream(
        &self,
        container: &ContainerName,
        scratch: &str,
        object: &str,
        in_scratch: bool,
        write: &mut dyn FnMut(&mut dyn io::Write) -> io::Result<()>,
    ) -> Result<(), StoreError>;

    /// Opens an object for reading from its start, and tells its size.
    ///
    /// # Errors
    /// [`StoreError::NoSuchObject`] when it is not there.
    fn open(
        &self,
        container: &ContainerName,
        object: &str,
    ) -> Result<(Box<dyn Read + Send>, u64), StoreError>;

    /// Says that all of an object will be read before long, so that it can be fetched meanwhile. A hint, which fails in silence.
    fn will_read(&self, _container: &ContainerName, _object: &str) {}

    /// Opens a segment in the scratch place.
    ///
    /// # Errors
    /// [`StoreError::NoSuchObject`] when it is not there.
    fn open_in_scratch(
        &self,
        container: &ContainerName,
        scratch: &str,
        name: &str,
    ) -> Result<Box<dyn Read + Send>, StoreError>;

    /// Tells the names in the container that begin with `prefix`, one by one and in any order; none when there is no
    /// container. A large backup has hundreds of thousands.
    ///
    /// # Errors
    /// When listing fails; some may have been told.
    fn for_each_name(
        &self,
        container: &ContainerName,
        prefix: &str,
        tell: &mut dyn FnMut(&str),
    ) -> Result<(), StoreError>;

    /// The same names in memory, sorted.
    ///
    /// # Errors
    /// When listing fails.
    fn list(&self, container: &ContainerName, prefix: &str) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        self.for_each_name(container, prefix, &mut |name| names.push(name.to_owned()))?;
        names.sort_unstable();
        Ok(names)
    }

    /// Names in the scratch place, sorted; empty when it is not there.
    ///
    /// # Errors
    /// When listing fails.
    fn list_scratch(
        &self,
        container: &ContainerName,
        scratch: &str,
    ) -> Result<Vec<String>, StoreError>;

    /// Removes objects, durably. One that is gone already is no error.
    ///
    /// # Errors
    /// When the system refuses; some may be removed.
    fn remove(&self, container: &ContainerName, objects: &[String]) -> Result<(), StoreError>;

    /// Removes the scratch place and all in it. Gone already is no error.
    ///
    /// # Errors
    /// When the system refuses.
    fn remove_scratch(&self, container: &ContainerName, scratch: &str) -> Result<(), StoreError>;
}
