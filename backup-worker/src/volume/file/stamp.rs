//! What tells one file, and one content of it, from another.

use std::os::fd::AsFd;

use jiff::Timestamp;
use rustix::fs::{AtFlags, StatxFlags, StatxTimestamp};
use rustix::io::Errno;

/// Everything the file system says about a file that changes when the file does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) device: (u32, u32),
    inode: u64,
    born: Option<(i64, u32)>,
    pub(super) size_bytes: u64,
    modified: (i64, u32),
    changed: (i64, u32),
}

impl Stamp {
    pub(super) fn of(file: impl AsFd) -> Result<Self, Errno> {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        let stat = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, wanted)?;
        let time = |at: StatxTimestamp| (at.tv_sec, at.tv_nsec);
        Ok(Self {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            born: (stat.stx_mask & StatxFlags::BTIME.bits() != 0).then(|| time(stat.stx_btime)),
            size_bytes: stat.stx_size,
            modified: time(stat.stx_mtime),
            changed: time(stat.stx_ctime),
        })
    }

    /// When its bytes were last written: for a snapshot, when it was made.
    pub(super) fn modified_at(&self) -> Option<Timestamp> {
        let (seconds, nanos) = self.modified;
        Timestamp::new(seconds, i32::try_from(nanos).ok()?).ok()
    }

    /// For a snapshot: a file of ours that nobody writes, told by inode and birth time.
    pub(super) fn file_identity(&self) -> String {
        format!("file inode={} born={}", self.inode, shown(self.born))
    }

    /// For a volume that is read in place: also its size and times.
    pub(super) fn content_identity(&self) -> String {
        format!(
            "volume inode={} born={} size={} modified={} changed={}",
            self.inode,
            shown(self.born),
            self.size_bytes,
            shown(Some(self.modified)),
            shown(Some(self.changed)),
        )
    }
}

fn shown(time: Option<(i64, u32)>) -> String {
    time.map_or_else(
        || "unknown".to_owned(),
        |(seconds, nanos)| format!("{seconds}.{nanos:09}"),
    )
}
