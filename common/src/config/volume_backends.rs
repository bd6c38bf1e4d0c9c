//! `[volume_backends.NAME]`: where volumes are. The api-service knows the names, the workers the places.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One place for volumes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeBackend {
    /// What drives it.
    pub driver: VolumeBackendDriver,
    /// Root directory, for `file`.
    pub path: PathBuf,
    /// Whether the snapshot of each volume's last backup is kept, so that the next one reads only what was written since.
    #[serde(default)]
    pub keep_snapshot: bool,
    /// Whether a restore to an existing volume reads it and writes only what differs.
    #[serde(default)]
    pub restore_differing: bool,
}

/// What drives volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeBackendDriver {
    /// Raw files in a directory; snapshots by reflink where the file system can.
    File,
}
