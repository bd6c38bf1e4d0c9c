//! Quota: what a project has, what it may have, and whether one more fits.

use super::Refusal;

/// What a project has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// How many.
    pub count: i64,
    /// The sum of their sizes in GiB.
    pub gigabytes: i64,
}

/// What a project may have; -1 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaLimit {
    /// How many.
    pub count: i64,
    /// The sum of their sizes in GiB.
    pub gigabytes: i64,
}

impl QuotaLimit {
    /// Whether it limits anything.
    #[must_use]
    pub fn is_one(&self) -> bool {
        self.count >= 0 || self.gigabytes >= 0
    }
}

/// What a project has of everything that is counted, and may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaUse {
    /// Backups.
    pub backups: Usage,
    /// And their limit.
    pub backups_limit: QuotaLimit,
    /// Volumes; the sum is that of volumes and snapshots.
    pub volumes: Usage,
    /// And their limit.
    pub volumes_limit: QuotaLimit,
    /// How many snapshots.
    pub snapshots: i64,
    /// And their limit.
    pub snapshots_limit: i64,
}

fn exceeds(limit: i64, used: i64, requested: i64) -> bool {
    limit >= 0 && used.saturating_add(requested) > limit
}

/// Whether one more backup of a volume of this size fits. An incremental counts in full.
pub fn may_add_backup(used: Usage, limit: QuotaLimit, size_gib: u32) -> Result<(), Refusal> {
    let requested = i64::from(size_gib);
    if exceeds(limit.gigabytes, used.gigabytes, requested) {
        return Err(Refusal::BackupGigabytesQuota {
            requested,
            limit: limit.gigabytes,
            used: used.gigabytes,
        });
    }
    if exceeds(limit.count, used.count, 1) {
        return Err(Refusal::BackupQuota { limit: limit.count });
    }
    Ok(())
}

/// Whether one more volume of this size fits.
pub fn may_add_volume(used: Usage, limit: QuotaLimit, size_gib: u32) -> Result<(), Refusal> {
    let requested = i64::from(size_gib);
    if exceeds(limit.gigabytes, used.gigabytes, requested) {
        return Err(Refusal::GigabytesQuota {
            requested,
            limit: limit.gigabytes,
            used: used.gigabytes,
        });
    }
    if exceeds(limit.count, used.count, 1) {
        return Err(Refusal::VolumeQuota { limit: limit.count });
    }
    Ok(())
}

/// Whether one more snapshot of this size fits. It counts as much as its volume does.
pub fn may_add_snapshot(used: &QuotaUse, size_gib: u32) -> Result<(), Refusal> {
    let requested = i64::from(size_gib);
    let limit = used.volumes_limit.gigabytes;
    if exceeds(limit, used.volumes.gigabytes, requested) {
        return Err(Refusal::GigabytesQuota {
            requested,
            limit,
            used: used.volumes.gigabytes,
        });
    }
    let limit = used.snapshots_limit;
    if exceeds(limit, used.snapshots, 1) {
        return Err(Refusal::SnapshotQuota { limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_fits_and_one_more_does_not() {
        let limit = QuotaLimit {
            count: 2,
            gigabytes: 10,
        };
        let used = Usage {
            count: 1,
            gigabytes: 5,
        };
        assert_eq!(may_add_backup(used, limit, 5), Ok(()));
        assert_eq!(
            may_add_backup(used, limit, 6),
            Err(Refusal::BackupGigabytesQuota {
                requested: 6,
                limit: 10,
                used: 5
            })
        );
        let full = Usage {
            count: 2,
            gigabytes: 5,
        };
        assert_eq!(
            may_add_backup(full, limit, 1),
            Err(Refusal::BackupQuota { limit: 2 })
        );
        assert_eq!(
            may_add_volume(full, limit, 1),
            Err(Refusal::VolumeQuota { limit: 2 })
        );
    }

    #[test]
    fn minus_one_is_no_limit() {
        let limit = QuotaLimit {
            count: -1,
            gigabytes: -1,
        };
        let used = Usage {
            count: 1_000_000,
            gigabytes: 1_000_000,
        };
        assert_eq!(may_add_volume(used, limit, 1), Ok(()));
    }
}
