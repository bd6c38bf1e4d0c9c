//! Freezing without reflink: copies and reading in place.

use super::*;

#[test]
fn a_copy_of_an_attached_volume_keeps_bytes_and_holes() {
    let (dir, driver) = fixture();
    let frozen = driver.freeze(&volume("vol"), SNAPSHOT, 3, true).unwrap();
    assert_eq!(names(dir.path()), [SNAPSHOT, "vol"]);
    let before = fs::read(dir.path().join("vol")).unwrap();
    fs::write(dir.path().join("vol"), vec![0xEE; 16 << 20]).unwrap();
    assert!(
        bytes_of(&*frozen) == before,
        "a frozen view does not change"
    );
    assert_eq!(runs_of(&*frozen), [(0, 1 << 20), (8 << 20, 4096)]);
    frozen
        .check_unchanged()
        .expect("a snapshot has nothing to check");
}

#[test]
fn an_unattached_volume_is_read_in_place_and_a_change_is_seen() {
    if reflinks(&std::env::temp_dir()) {
        return skipped("the temporary directory shares blocks, so nothing is read in place");
    }
    let (dir, driver) = fixture();
    let frozen = driver.freeze(&volume("vol"), SNAPSHOT, 1, false).unwrap();
    assert_eq!(names(dir.path()), ["vol"], "no snapshot was left");
    assert!(frozen.identity().contains("size=16777216"));
    frozen.check_unchanged().unwrap();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(dir.path().join("vol"))
        .unwrap();
    file.write_all_at(b"x", 5000).unwrap();
    assert!(matches!(
        frozen.check_unchanged(),
        Err(VolumeError::SourceChanged { doing: "read" })
    ));
}

#[test]
fn of_two_generations_that_freeze_both_get_the_same_snapshot() {
    let (dir, driver) = fixture();
    let first = driver.freeze(&volume("vol"), SNAPSHOT, 1, true).unwrap();
    fs::write(dir.path().join("vol"), b"later").unwrap();
    let second = driver.freeze(&volume("vol"), SNAPSHOT, 2, true).unwrap();
    assert_eq!(first.identity(), second.identity());
    assert_eq!(names(dir.path()), [SNAPSHOT, "vol"]);

    // The slower of two that copy at the same time adopts what the other published.
    fs::remove_file(dir.path().join("vol")).unwrap();
    let driver = root_with_volume(dir.path());
    let source = driver.place(&volume("vol")).unwrap();
    let name = source.beside(SNAPSHOT).unwrap();
    let late = snapshot::make(&Making {
        source: &source,
        name: &name,
        stage: &snapshot::stage(&name, 3).unwrap(),
        copy_if_need_be: true,
        size_bytes_min: 0,
    })
    .unwrap();
    assert_eq!(late, Made::Published);
    let third = FrozenFile::snapshot(name, None).unwrap().unwrap();
    assert_eq!(third.identity(), first.identity());
    assert_eq!(names(dir.path()), [SNAPSHOT, "vol"]);
}

#[test]
fn a_snapshot_made_anew_under_an_old_name_has_another_identity() {
    let (_dir, driver) = fixture();
    let first = driver.freeze(&volume("vol"), SNAPSHOT, 1, true).unwrap();
    driver.remove_snapshot(&volume("vol"), SNAPSHOT).unwrap();
    let again = driver.freeze(&volume("vol"), SNAPSHOT, 2, true).unwrap();
    assert_ne!(first.identity(), again.identity());
}

#[test]
fn a_volume_that_never_holds_still_is_not_copied() {
    let (dir, driver) = fixture();
    let source = driver.place(&volume("vol")).unwrap();
    let opened = source.open_existing(OFlags::RDONLY).unwrap();
    let writer = fs::OpenOptions::new()
        .write(true)
        .open(dir.path().join("vol"))
        .unwrap();
    let stage = tempfile::tempfile().unwrap();
    let mut copies = 0;
    let outcome = snapshot::copy_when_steady(&source, &opened, &stage, || {
        copies += 1;
        writer.write_all_at(&[copies], 77).unwrap();
    });
    let error = outcome.unwrap_err();
    assert_eq!(error.to_string(), "source changed while being copied");
    assert_eq!(copies, 3);
}

#[test]
fn a_copy_is_taken_again_until_the_volume_holds_still() {
    let (dir, driver) = fixture();
    let source = driver.place(&volume("vol")).unwrap();
    let opened = source.open_existing(OFlags::RDONLY).unwrap();
    let writer = fs::OpenOptions::new()
        .write(true)
        .open(dir.path().join("vol"))
        .unwrap();
    let mut stage = tempfile::tempfile().unwrap();
    let mut copies = 0;
    snapshot::copy_when_steady(&source, &opened, &stage, || {
        copies += 1;
        if copies < 3 {
            writer.set_len(copies << 20).unwrap(); // also a volume that shrinks
        }
    })
    .unwrap();
    let mut copied = Vec::new();
    stage.read_to_end(&mut copied).unwrap();
    assert!(copied == fs::read(dir.path().join("vol")).unwrap());
}

fn reflinks(dir: &Path) -> bool {
    let (one, two) = (
        tempfile::tempfile_in(dir).unwrap(),
        tempfile::tempfile_in(dir).unwrap(),
    );
    rustix::fs::ioctl_ficlone(&two, &one).is_ok()
}
