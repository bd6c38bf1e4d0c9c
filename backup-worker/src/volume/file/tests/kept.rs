//! The snapshot that is kept of the last backup, and what it tells.

use common::domain::BackupId;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::volume::Extent;

/// A driver that keeps, and its volume `vol`.
fn keeping(at: &Path) -> (FileVolumes, VolumeRef) {
    (root_with_volume(at).keeping_snapshots(true), volume("vol"))
}

/// A backup is made of the volume as it is: its id.
fn backed_up(driver: &FileVolumes, volume: &VolumeRef) -> BackupId {
    let backup_id = BackupId::new();
    let temporary = format!("bk-{backup_id}-a1");
    let frozen = driver.freeze(volume, &temporary, 1, true).unwrap();
    let identity = Some(frozen.identity());
    let backup = BackedUp {
        backup_id,
        identity,
    };
    driver.retire_snapshot(volume, &temporary, &backup).unwrap();
    backup_id
}

fn kept_name(volume: &VolumeRef, backup: BackupId) -> String {
    format!("bk-kept-{}-{backup}", volume.volume_id)
}

fn unchanged(frozen: &dyn FrozenVolume, parent: BackupId) -> Option<Vec<Extent>> {
    let unchanged = frozen.unchanged_since(parent)?;
    let mut ranges = Vec::new();
    let all = Extent {
        offset: 0,
        length: frozen.size_bytes(),
    };
    unchanged.unchanged_in(all, &mut ranges);
    Some(ranges)
}

#[test]
fn one_snapshot_is_kept_the_last_and_putting_it_away_again_changes_nothing() {
    for mount in Mount::all() {
        let (driver, volume) = keeping(mount.path());
        let first = backed_up(&driver, &volume);
        assert_eq!(names(mount.path()), [&*kept_name(&volume, first), "vol"]);
        // A backup that came to nothing leaves it alone.
        driver.freeze(&volume, SNAPSHOT, 1, false).unwrap();
        driver.remove_snapshot(&volume, SNAPSHOT).unwrap();
        assert_eq!(names(mount.path()), [&*kept_name(&volume, first), "vol"]);

        let backup_id = BackupId::new();
        let temporary = format!("bk-{backup_id}-a1");
        let frozen = driver.freeze(&volume, &temporary, 1, true).unwrap();
        let backup = BackedUp {
            backup_id,
            identity: Some(frozen.identity()),
        };
        let kept = kept_name(&volume, backup_id);
        fs::write(mount.path().join(format!("{temporary}.g7")), b"half").unwrap();
        for _ in 0..2 {
            driver
                .retire_snapshot(&volume, &temporary, &backup)
                .unwrap();
            assert_eq!(names(mount.path()), [&*kept, "vol"]);
        }
        // An execution that sleeps in step 4 makes the temporary one again, of what the volume is by then.
        let inode = fs::metadata(mount.path().join(&kept)).unwrap().ino();
        let late = driver.freeze(&volume, &temporary, 1, true).unwrap();
        for identity in [frozen.identity(), late.identity()] {
            let identity = Some(identity);
            let backup = BackedUp { identity, ..backup };
            driver
                .retire_snapshot(&volume, &temporary, &backup)
                .unwrap();
            assert_eq!(names(mount.path()), [&*kept, "vol"]);
            assert_eq!(fs::metadata(mount.path().join(&kept)).unwrap().ino(), inode);
            driver.freeze(&volume, &temporary, 1, true).unwrap();
        }
        // What clean-up of the attempt removes does not include it.
        driver.remove_snapshot(&volume, &temporary).unwrap();
        assert_eq!(names(mount.path()), [&*kept, "vol"]);
        driver.delete(&volume).unwrap();
        assert!(names(mount.path()).is_empty());
    }
}

#[test]
fn a_driver_that_keeps_nothing_removes_what_was_kept_of_the_volume_and_of_no_other() {
    for mount in Mount::all() {
        let (driver, volume) = keeping(mount.path());
        let other = super::volume("vol");
        let others = kept_name(&other, backed_up(&driver, &other));
        backed_up(&driver, &volume);
        assert_eq!(names(mount.path()).len(), 3);
        let driver = driver.keeping_snapshots(false);
        backed_up(&driver, &volume);
        assert_eq!(names(mount.path()), [&*others, "vol"]);
    }
}

#[test]
fn what_is_not_what_the_backup_was_read_from_is_not_kept() {
    for mount in Mount::all() {
        let (driver, volume) = keeping(mount.path());
        for identity in [None, Some("file inode=1 born=1.0")] {
            driver.freeze(&volume, SNAPSHOT, 1, true).unwrap();
            let backup = BackedUp {
                backup_id: BackupId::new(),
                identity,
            };
            driver.retire_snapshot(&volume, SNAPSHOT, &backup).unwrap();
            assert_eq!(names(mount.path()), ["vol"]);
        }
    }
}

#[test]
fn a_copy_is_not_kept_and_nothing_is_told_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (driver, volume) = keeping(dir.path());
    if driver
        .freeze(&volume, SNAPSHOT, 1, false)
        .unwrap()
        .frozen_at()
        .is_some()
    {
        return skipped("the directory for temporary files shares blocks between files");
    }
    let first = backed_up(&driver, &volume);
    assert_eq!(names(dir.path()), ["vol"]);
    let frozen = driver.freeze(&volume, SNAPSHOT, 1, true).unwrap();
    assert!(frozen.unchanged_since(first).is_none());
}

#[test]
fn only_the_parent_whose_snapshot_is_kept_is_known_and_only_at_the_same_size() {
    for mount in Mount::all() {
        let (driver, volume) = keeping(mount.path());
        let first = backed_up(&driver, &volume);
        let second = backed_up(&driver, &volume);
        let frozen = driver.freeze(&volume, SNAPSHOT, 1, true).unwrap();
        assert_eq!(unchanged(&*frozen, first), None);
        let all = Extent {
            offset: 0,
            length: 16 << 20,
        };
        assert_eq!(unchanged(&*frozen, second), Some(vec![all]));
        let off = driver.clone().keeping_snapshots(false);
        let identity = frozen.identity();
        let again = off.reopen(&volume, SNAPSHOT, identity).unwrap().unwrap();
        assert_eq!(unchanged(&*again, second), None);

        driver.remove_snapshot(&volume, SNAPSHOT).unwrap();
        let file = fs::OpenOptions::new()
            .write(true)
            .open(mount.path().join("vol"));
        file.unwrap().set_len(17 << 20).unwrap();
        let frozen = driver.freeze(&volume, SNAPSHOT, 1, true).unwrap();
        assert_eq!(unchanged(&*frozen, second), None);
    }
}

#[test]
fn what_was_written_is_told_to_a_block_and_the_rest_is_unchanged() {
    for mount in Mount::all() {
        let (driver, volume) = keeping(mount.path());
        let parent = backed_up(&driver, &volume);
        let file = fs::OpenOptions::new()
            .write(true)
            .open(mount.path().join("vol"));
        file.unwrap().write_all_at(&[8; 4096], 512 << 10).unwrap();
        let frozen = driver.freeze(&volume, SNAPSHOT, 1, true).unwrap();
        let told = unchanged(&*frozen, parent).unwrap();
        let told: Vec<_> = told
            .iter()
            .map(|range| (range.offset, range.end()))
            .collect();
        let after = (512 << 10) + 4096;
        assert_eq!(told, [(0, 512 << 10), (after, 16 << 20)]);
    }
}

/// What may happen to a volume between two backups.
#[derive(Debug, Clone)]
enum Step {
    Write(u64, usize, u8),
    Punch(u64, u64),
    Zero(u64, u64),
    /// Shorter, and long again.
    Cut(u64),
    Sync,
}

const LENGTH: u64 = 16 << 20;

fn step() -> impl Strategy<Value = Step> {
    let at = 0..LENGTH;
    prop_oneof![
        5 => (at.clone(), 1..300_000_usize, any::<u8>()).prop_map(|(at, n, b)| Step::Write(at, n, b)),
        2 => (at.clone(), 1..2_000_000_u64).prop_map(|(at, n)| Step::Punch(at, n)),
        1 => (at.clone(), 1..2_000_000_u64).prop_map(|(at, n)| Step::Zero(at, n)),
        1 => at.prop_map(Step::Cut),
        1 => Just(Step::Sync),
    ]
}

fn take(path: &Path, step: &Step) {
    use rustix::fs::FallocateFlags;
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match *step {
        Step::Write(at, length, byte) => {
            let length = length.min(usize::try_from(LENGTH - at).unwrap());
            file.write_all_at(&vec![byte; length], at).unwrap();
        }
        Step::Punch(at, length) => {
            rustix::fs::fallocate(&file, punch, at, length.min(LENGTH - at)).unwrap();
        }
        Step::Zero(at, length) => {
            let zero = FallocateFlags::ZERO_RANGE;
            rustix::fs::fallocate(&file, zero, at, length.min(LENGTH - at)).unwrap();
        }
        Step::Cut(at) => {
            file.set_len(at).unwrap();
            file.set_len(LENGTH).unwrap();
        }
        Step::Sync => file.sync_all().unwrap(),
    }
}

#[test]
fn every_byte_that_differs_lies_outside_of_what_is_told_unchanged() {
    for mount in Mount::all() {
        let (driver, volume) = keeping(mount.path());
        let path = mount.path().join("vol");
        let steps = || prop::collection::vec(step(), 0..20);
        let config = Config {
            failure_persistence: None,
            ..Config::with_cases(40)
        };
        let told_bytes = std::cell::Cell::new(0);
        let history = TestRunner::new(config).run(&(steps(), steps()), |(before, between)| {
            before.iter().for_each(|step| take(&path, step));
            let old = fs::read(&path).unwrap();
            let parent = backed_up(&driver, &volume);
            between.iter().for_each(|step| take(&path, step));
            let frozen = driver.freeze(&volume, SNAPSHOT, 1, true).unwrap();
            let new = bytes_of(&*frozen);
            for range in unchanged(&*frozen, parent).unwrap() {
                let bytes =
                    usize::try_from(range.offset).unwrap()..usize::try_from(range.end()).unwrap();
                prop_assert!(old[bytes.clone()] == new[bytes], "{range:?}");
                told_bytes.set(told_bytes.get() + range.length);
            }
            driver.remove_snapshot(&volume, SNAPSHOT).unwrap();
            Ok(())
        });
        history.unwrap();
        assert!(told_bytes.get() > LENGTH, "something is told at all");
    }
}
