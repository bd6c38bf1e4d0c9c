//! `[backup]`: the backup target and the form of what is written there.
//!
//! The api-service reads the form (it computes names and options), the worker reads the place.

use std::path::PathBuf;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::{ConfigError, Nfs};
use crate::domain::{Compression, Token};
use crate::messages::sheet::StoreOptions;

/// The backup target.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backup {
    /// What drives it.
    pub driver: BackupDriver,
    /// Root directory, for `posix`.
    pub path: PathBuf,
    /// The share, for `nfs`.
    pub nfs: Nfs,
    /// Its name in queue keys.
    pub target: Token,
    /// The target that must be found there before anything is written: the `target_id` in its
    /// `.emberkeep-target` file. Without it any marked target will do.
    pub target_id: Option<uuid::Uuid>,
    /// Algorithm for data objects.
    pub compression: Compression,
    /// Bytes of the volume in one object, a multiple of `block_size`, at most 52428800.
    pub object_size: ByteSize,
    /// Bytes one SHA-256 covers.
    pub block_size: ByteSize,
}

/// What drives the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupDriver {
    /// A directory of a mounted file system.
    Posix,
    /// A share that the worker mounts itself.
    Nfs,
}

/// Largest object: what Swift, S3 and GCS drivers of Cinder use by default.
const OBJECT_SIZE_MAX: u64 = 52_428_800;

impl Default for Backup {
    fn default() -> Self {
        Self {
            driver: BackupDriver::Posix,
            path: PathBuf::from("/var/lib/emberkeep/backups"),
            nfs: Nfs::default(),
            target: Token::new("default").expect("`default` is a token"),
            target_id: None,
            compression: Compression::Lz4,
            object_size: ByteSize::mib(8),
            block_size: ByteSize::kib(32),
        }
    }
}

impl Backup {
    /// Checks what the form of objects must keep to, and that the place can be one.
    ///
    /// # Errors
    /// The first rule that is broken, with its key.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.driver == BackupDriver::Nfs {
            self.nfs.check()?;
        }
        let (object, block) = (self.object_size.as_u64(), self.block_size.as_u64());
        if block == 0 || !block.is_multiple_of(512) {
            return Err(ConfigError::invalid(
                "backup.block_size",
                "must be a positive multiple of 512",
            ));
        }
        if object == 0 || !object.is_multiple_of(block) {
            return Err(ConfigError::invalid(
                "backup.object_size",
                "must be a positive multiple of backup.block_size",
            ));
        }
        if object > OBJECT_SIZE_MAX {
            return Err(ConfigError::invalid(
                "backup.object_size",
                format_args!("must not be above {OBJECT_SIZE_MAX}"),
            ));
        }
        Ok(())
    }

    /// The form of objects, for a sheet.
    #[must_use]
    pub fn store_options(&self) -> StoreOptions {
        let checked = |size: ByteSize| {
            u32::try_from(size.as_u64()).expect("`check` bounds object and block size")
        };
        StoreOptions {
            compression: self.compression,
            object_size_bytes: checked(self.object_size),
            block_size_bytes: checked(self.block_size),
        }
    }
}
