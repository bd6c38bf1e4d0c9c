//! Freezing by reflink, on a real XFS.

use super::*;

#[test]
fn a_reflink_snapshot_costs_no_blocks_and_does_not_change() {
    let mount = match Mount::new(Kind::Xfs) {
        Ok(mount) => mount,
        Err(why) => return skipped(&why),
    };
    let driver = root_with_volume(mount.path());
    let frozen = driver.freeze(&volume("vol"), SNAPSHOT, 1, false).unwrap();
    assert_eq!(names(mount.path()), [SNAPSHOT, "vol"]);
    assert!(frozen.identity().starts_with("file "));
    let before = fs::read(mount.path().join("vol")).unwrap();
    let volume_file = fs::OpenOptions::new()
        .write(true)
        .open(mount.path().join("vol"))
        .unwrap();
    volume_file.write_all_at(&[0xEE; 1 << 16], 4096).unwrap();
    assert!(bytes_of(&*frozen) == before);
    assert_eq!(runs_of(&*frozen), [(0, 1 << 20), (8 << 20, 4096)]);
    frozen.check_unchanged().unwrap();
    let adopted = driver.freeze(&volume("vol"), SNAPSHOT, 2, false).unwrap();
    assert_eq!(adopted.identity(), frozen.identity());
    drop((frozen, adopted, volume_file));
    driver.remove_snapshot(&volume("vol"), SNAPSHOT).unwrap();
    assert_eq!(names(mount.path()), ["vol"]);
}
