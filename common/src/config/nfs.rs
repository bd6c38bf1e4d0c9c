//! `[backup.nfs]`: a share that workers mount themselves.

use std::path::PathBuf;
use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as friendly;
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// The share, and how it is mounted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nfs {
    /// `host:/path`, as Cinder's `backup_share`: the mount point's name is made of this very text.
    pub share: String,
    /// Directory of the mount points, as Cinder's `backup_mount_point_base`.
    pub mount_base: PathBuf,
    /// Version of the protocol.
    pub version: NfsVersion,
    /// What calls do while the server is away: wait for it (hard), or fail after a while (soft).
    pub hard: bool,
    /// More mount options, for example `nconnect=4,rsize=1048576`.
    pub options: String,
    /// How long a mount may take before it counts as failed.
    #[serde(with = "friendly")]
    pub mount_timeout: Duration,
}

/// A version of the protocol, written with a `v`: an environment variable of digits alone would be a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NfsVersion {
    /// NFS v3. Mounted without locks, of which there are none on a target.
    #[serde(rename = "v3")]
    V3,
    /// NFS v4.0.
    #[serde(rename = "v4.0")]
    V4_0,
    /// NFS v4.1.
    #[serde(rename = "v4.1")]
    V4_1,
    /// NFS v4.2.
    #[serde(rename = "v4.2")]
    V4_2,
}

impl NfsVersion {
    /// As mount options name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V3 => "3",
            Self::V4_0 => "4.0",
            Self::V4_1 => "4.1",
            Self::V4_2 => "4.2",
        }
    }
}

impl Default for Nfs {
    fn default() -> Self {
        Self {
            share: String::new(),
            mount_base: PathBuf::from("/var/lib/emberkeep/mounts"),
            version: NfsVersion::V4_2,
            hard: true,
            options: String::new(),
            mount_timeout: Duration::from_secs(60),
        }
    }
}

/// What other keys decide, or would leave a target that cannot be written or is trusted too much.
const DECIDED: [&str; 12] = [
    "vers",
    "nfsvers",
    "v3",
    "v4",
    "hard",
    "soft",
    "softerr",
    "ro",
    "bg",
    "lookupcache",
    "remount",
    "bind",
];

impl Nfs {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let is_share = self
            .share
            .split_once(":/")
            .is_some_and(|(host, _)| !host.is_empty() && !host.starts_with('-'));
        if !is_share || self.share.contains(char::is_whitespace) {
            return Err(ConfigError::invalid(
                "backup.nfs.share",
                "must be `host:/path`, without spaces",
            ));
        }
        if !self.mount_base.is_absolute() {
            return Err(ConfigError::invalid(
                "backup.nfs.mount_base",
                "must be an absolute path",
            ));
        }
        if self.mount_timeout.is_zero() {
            return Err(ConfigError::invalid(
                "backup.nfs.mount_timeout",
                "must be positive",
            ));
        }
        for option in self.options.split(',').map(str::trim) {
            let name = option.split_once('=').map_or(option, |(name, _)| name);
            if DECIDED.contains(&name) || option.contains(char::is_whitespace) {
                return Err(ConfigError::invalid(
                    "backup.nfs.options",
                    format_args!("`{option}` cannot be given here"),
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Nfs)) -> Result<(), String> {
        let mut nfs = Nfs {
            share: "backup-host:/srv/backups".to_owned(),
            ..Nfs::default()
        };
        change(&mut nfs);
        nfs.check().map_err(|error| error.to_string())
    }

    #[test]
    fn a_share_is_a_host_and_a_path() {
        for good in [
            "h:/",
            "backup-host:/srv/backups",
            "[fe80::1]:/x",
            "10.0.0.1:/x",
        ] {
            assert_eq!(with(|nfs| nfs.share = good.to_owned()), Ok(()), "{good}");
        }
        for bad in ["", "h", "/srv/backups", ":/x", "h:x", "h:/a b", "-o:/x"] {
            let refused = with(|nfs| nfs.share = bad.to_owned()).unwrap_err();
            assert!(refused.contains("backup.nfs.share"), "{refused}");
        }
    }

    #[test]
    fn options_that_other_keys_decide_are_refused() {
        assert_eq!(
            with(|nfs| nfs.options = "nconnect=4,noatime".to_owned()),
            Ok(())
        );
        for bad in ["vers=3", "noatime,soft", "ro", "lookupcache=all", "a b"] {
            let refused = with(|nfs| nfs.options = bad.to_owned()).unwrap_err();
            assert!(refused.contains("backup.nfs.options"), "{refused}");
        }
    }
}
