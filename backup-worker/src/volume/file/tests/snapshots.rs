//! Snapshots that owners ask for, and volumes made from them.

use common::domain::{SnapshotId, SnapshotName};

use super::*;

fn snapshot_of(source: &str) -> SnapshotRef {
    SnapshotRef {
        volume: volume(source),
        name: SnapshotName::of(SnapshotId::new()),
    }
}

#[test]
fn a_snapshot_keeps_bytes_and_holes_whatever_becomes_of_the_volume() {
    let (dir, driver) = fixture();
    let snapshot = snapshot_of("vol");
    driver.create_snapshot(&snapshot, 1).unwrap();
    assert_eq!(names(dir.path()), [snapshot.name.as_str(), "vol"]);
    let before = fs::read(dir.path().join("vol")).unwrap();
    fs::write(dir.path().join("vol"), vec![0xEE; 16 << 20]).unwrap();
    let frozen = driver.open_snapshot(&snapshot).unwrap();
    assert!(bytes_of(&*frozen) == before);
    assert_eq!(runs_of(&*frozen), [(0, 1 << 20), (8 << 20, 4096)]);
    frozen.check_unchanged().unwrap();
    let again = driver.open_snapshot(&snapshot).unwrap();
    assert_eq!(again.identity(), frozen.identity());
}

#[test]
fn a_snapshot_made_twice_is_made_once_and_leaves_no_stage() {
    let (dir, driver) = fixture();
    let snapshot = snapshot_of("vol");
    let name = &snapshot.name;
    // What a killed first generation leaves; and a later one that makes it now.
    fs::write(dir.path().join(format!("{name}.g1")), b"half").unwrap();
    fs::write(dir.path().join(format!("{name}.g9")), b"half").unwrap();
    driver.create_snapshot(&snapshot, 2).unwrap();
    let identity = driver
        .open_snapshot(&snapshot)
        .unwrap()
        .identity()
        .to_owned();
    fs::write(dir.path().join("vol"), b"later").unwrap();
    driver.create_snapshot(&snapshot, 3).unwrap();
    assert_eq!(
        driver.open_snapshot(&snapshot).unwrap().identity(),
        identity
    );
    let later = format!("{name}.g9");
    assert_eq!(names(dir.path()), [name.as_str(), later.as_str(), "vol"]);
}

#[test]
fn deleting_a_snapshot_takes_its_stages_and_nothing_else() {
    let (dir, driver) = fixture();
    let (gone, kept) = (snapshot_of("vol"), snapshot_of("vol"));
    driver.create_snapshot(&gone, 1).unwrap();
    driver.create_snapshot(&kept, 1).unwrap();
    fs::write(dir.path().join(format!("{}.g7", gone.name)), b"half").unwrap();
    driver.delete_snapshot(&gone).unwrap();
    driver.delete_snapshot(&gone).unwrap();
    driver
        .delete_snapshot(&snapshot_of("no/such/place"))
        .unwrap();
    assert_eq!(names(dir.path()), [kept.name.as_str(), "vol"]);
    assert!(matches!(
        driver.open_snapshot(&gone),
        Err(VolumeError::NoSuchSnapshot { .. })
    ));
    // The clean-up of backups does not reach it.
    assert!(matches!(
        driver.remove_snapshot(&volume("vol"), kept.name.as_str()),
        Err(VolumeError::Refused { .. })
    ));
}

#[test]
fn a_snapshot_lies_beside_its_volume() {
    let (dir, driver) = fixture();
    fs::create_dir(dir.path().join("a")).unwrap();
    fs::rename(dir.path().join("vol"), dir.path().join("a/vol")).unwrap();
    let snapshot = snapshot_of("a/vol");
    driver.create_snapshot(&snapshot, 1).unwrap();
    assert_eq!(
        names(&dir.path().join("a")),
        [snapshot.name.as_str(), "vol"]
    );
    driver.delete_snapshot(&snapshot).unwrap();
    assert_eq!(names(&dir.path().join("a")), ["vol"]);
}

#[test]
fn a_volume_from_a_snapshot_has_its_bytes_and_zeros_behind_them() {
    let (dir, driver) = fixture();
    let snapshot = snapshot_of("vol");
    driver.create_snapshot(&snapshot, 1).unwrap();
    let before = fs::read(dir.path().join("vol")).unwrap();
    let new = volume("volume-1");
    let staged = format!("bk-volume-{}.g1", new.volume_id);
    fs::write(dir.path().join(&staged), b"half").unwrap();
    driver.create_from(&new, &snapshot, 2).unwrap();
    assert_eq!(
        names(dir.path()),
        [snapshot.name.as_str(), "vol", "volume-1"]
    );
    let path = dir.path().join("volume-1");
    assert_eq!(fs::metadata(&path).unwrap().len(), GIB);
    let file = fs::File::open(&path).unwrap();
    let mut head = vec![0; before.len()];
    file.read_exact_at(&mut head, 0).unwrap();
    assert!(head == before);

    // It is the owner's now: nobody makes it a second time.
    let writer = fs::OpenOptions::new().write(true).open(&path).unwrap();
    writer.write_all_at(b"mine", 0).unwrap();
    driver.create_from(&new, &snapshot, 3).unwrap();
    file.read_exact_at(&mut head, 0).unwrap();
    assert_eq!(&head[..4], b"mine");
    driver.delete_snapshot(&snapshot).unwrap();
    driver
        .create_from(&volume("volume-2"), &snapshot, 1)
        .unwrap_err();

    fs::write(dir.path().join(&staged), b"half").unwrap();
    driver.delete(&new).unwrap();
    assert_eq!(names(dir.path()), ["vol"]);
}
