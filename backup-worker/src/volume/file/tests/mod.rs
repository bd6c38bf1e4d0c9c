mod freezing;
mod hostile;
mod kept;
mod snapshots;
mod xfs;

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::domain::{GIB, Token, VolumeId, VolumeSource};
use tempfile::TempDir;

use super::super::testing::{Kind, Mount, is_cached, skipped};
use super::super::{Extent, FrozenVolume};
use super::*;

const SNAPSHOT: &str = "bk-2f863a48-cc5c-4d12-8a5c-6bb29d30f9a1-a1";

fn volume(source: &str) -> VolumeRef {
    VolumeRef {
        volume_id: VolumeId::new(),
        backend: Token::new("fast").unwrap(),
        source: VolumeSource::new(source).unwrap(),
        size_gib: 1,
    }
}

/// A root directory with one sparse volume `vol`: 1 MiB of data, a hole, 4 KiB of data at 8 MiB.
fn root_with_volume(at: &Path) -> FileVolumes {
    let mut file = fs::File::create(at.join("vol")).unwrap();
    file.set_len(16 << 20).unwrap();
    file.write_all(&[7; 1 << 20]).unwrap();
    file.seek(SeekFrom::Start(8 << 20)).unwrap();
    file.write_all(&[9; 4096]).unwrap();
    file.sync_all().unwrap();
    FileVolumes::new(at)
}

fn fixture() -> (TempDir, FileVolumes) {
    let dir = tempfile::tempdir().unwrap();
    let driver = root_with_volume(dir.path());
    (dir, driver)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn bytes_of(frozen: &dyn FrozenVolume) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(frozen.size_bytes()).unwrap()];
    frozen.read_at(0, &mut bytes).unwrap();
    bytes
}

fn runs_of(frozen: &dyn FrozenVolume) -> Vec<(u64, u64)> {
    let mut runs = Vec::new();
    let mut at = 0;
    while let Some(run) = frozen.next_data(at).unwrap() {
        runs.push((run.offset, run.length));
        at = run.end();
    }
    runs
}

#[test]
fn a_new_volume_is_sparse_and_reads_as_zeros() {
    let (dir, driver) = fixture();
    driver.create(&volume("volume-1")).unwrap();
    let metadata = fs::metadata(dir.path().join("volume-1")).unwrap();
    assert_eq!(metadata.len(), GIB);
    assert_eq!(metadata.blocks(), 0);
    assert_eq!(metadata.mode() & 0o777, 0o600);
    driver.create(&volume("volume-1")).expect("made already");
    assert_eq!(driver.inspect(&volume("volume-1")).unwrap(), GIB);
}

#[test]
fn a_file_of_another_size_is_not_taken_for_the_new_volume() {
    let (dir, driver) = fixture();
    assert!(matches!(
        driver.create(&volume("vol")),
        Err(VolumeError::Refused { .. })
    ));
    assert_eq!(
        fs::metadata(dir.path().join("vol")).unwrap().len(),
        16 << 20
    );
    fs::write(dir.path().join("half-made"), b"").unwrap();
    driver.create(&volume("half-made")).unwrap();
    assert_eq!(driver.inspect(&volume("half-made")).unwrap(), GIB);
}

#[test]
fn deleting_twice_is_success_and_takes_only_the_volume() {
    let (dir, driver) = fixture();
    fs::write(dir.path().join("other"), b"stays").unwrap();
    driver.delete(&volume("vol")).unwrap();
    driver.delete(&volume("vol")).unwrap();
    driver.delete(&volume("no/such/place")).unwrap();
    assert_eq!(names(dir.path()), ["other"]);
}

/// Ends and awaits the child, whatever the test does.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_target_locked_by_another_process_is_held_until_that_one_is_gone() {
    let (dir, driver) = fixture();
    let path = dir.path().join("vol");
    let holder = Command::new("flock")
        .args(["--exclusive", "--no-fork"])
        .arg(&path)
        .args(["sh", "-c", "echo locked; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(holder) = holder else {
        return skipped("there is no flock command");
    };
    let mut holder = Ended(holder);
    let mut locked = [0; 7];
    holder
        .0
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut locked)
        .unwrap();
    assert!(matches!(
        driver.open_target(&volume("vol")),
        Err(VolumeError::Held { .. })
    ));
    drop(holder);
    let target = driver.open_target(&volume("vol")).unwrap();
    assert!(matches!(
        driver.open_target(&volume("vol")),
        Err(VolumeError::Held { .. })
    ));
    drop(target);
    driver.open_target(&volume("vol")).unwrap();
}

#[test]
fn what_a_restore_writes_is_there_after_a_sync() {
    let (dir, driver) = fixture();
    let target = driver.open_target(&volume("vol")).unwrap();
    assert_eq!(target.size_bytes(), 16 << 20);
    target.write_at(12 << 20, b"restored").unwrap();
    target.sync().unwrap();
    let mut back = [0; 8];
    target.read_at(12 << 20, &mut back).unwrap();
    assert_eq!(&back, b"restored");
    let file = fs::read(dir.path().join("vol")).unwrap();
    assert_eq!(&file[12 << 20..(12 << 20) + 8], b"restored");
    assert_eq!(file.len(), 16 << 20);
}

#[test]
fn what_was_read_for_a_backup_does_not_stay_in_the_page_cache() {
    let (dir, driver) = fixture();
    let file = fs::File::open(dir.path().join("vol")).unwrap();
    let frozen = driver.freeze(&volume("vol"), SNAPSHOT, 1, false).unwrap();
    let extent = Extent {
        offset: 0,
        length: 1 << 20,
    };
    frozen.read_at(0, &mut vec![0; 1 << 20]).unwrap();
    if is_cached(&file) != Some(true) {
        return skipped(
            "this file system does not tell what is in the page cache, or shares blocks",
        );
    }
    frozen.was_read(extent);
    assert_eq!(is_cached(&file), Some(false));
}

#[test]
fn a_backend_that_is_not_mounted_may_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let driver = FileVolumes::new(dir.path().join("not-mounted"));
    let error = driver.inspect(&volume("vol")).unwrap_err();
    assert!(matches!(error, VolumeError::BackendAway(_)) && error.is_transient());
}
