//! Names and trees that want to lead out of the root.

use std::os::unix::fs::symlink;

use super::*;

#[test]
fn planted_links_pipes_and_directories_are_refused_everywhere() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), vec![1; 4096]).unwrap();
    let (dir, driver) = fixture();
    symlink(outside.path().join("secret"), dir.path().join("link")).unwrap();
    symlink(outside.path(), dir.path().join("out")).unwrap();
    symlink("vol", dir.path().join("alias")).unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    let pipe = dir.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();

    for hostile in ["link", "out/secret", "alias", "folder", "pipe"] {
        let volume = volume(hostile);
        for (verb, refused) in [
            ("inspect", driver.inspect(&volume).is_err()),
            ("create", driver.create(&volume).is_err()),
            ("delete", driver.delete(&volume).is_err()),
            (
                "freeze",
                driver.freeze(&volume, SNAPSHOT, 1, false).is_err(),
            ),
            ("copy", driver.freeze(&volume, SNAPSHOT, 1, true).is_err()),
            ("open_target", driver.open_target(&volume).is_err()),
        ] {
            assert!(refused, "{verb} of {hostile} was not refused");
        }
    }
    assert_eq!(names(outside.path()), ["secret"]);
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), [1; 4096]);
    let all = ["alias", "folder", "link", "out", "pipe", "vol"];
    assert_eq!(names(dir.path()), all, "nothing came and nothing went");
}

#[test]
fn a_link_planted_at_the_snapshots_name_is_neither_read_nor_followed() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), b"secret").unwrap();
    let (dir, driver) = fixture();
    let stage = format!("{SNAPSHOT}.g1");
    symlink(outside.path().join("secret"), dir.path().join(&stage)).unwrap();
    symlink(outside.path().join("secret"), dir.path().join(SNAPSHOT)).unwrap();
    assert!(driver.freeze(&volume("vol"), SNAPSHOT, 1, true).is_err());
    driver.remove_snapshot(&volume("vol"), SNAPSHOT).unwrap();
    assert_eq!(names(dir.path()), ["vol"]);
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"secret");
}

#[test]
fn only_names_that_begin_with_bk_are_removed() {
    let (dir, driver) = fixture();
    for foreign in [
        "vol",
        "",
        "..",
        "bk-/../vol",
        "bk-x/../vol",
        "bk-\0",
        "./bk-x",
    ] {
        assert!(
            matches!(
                driver.remove_snapshot(&volume("vol"), foreign),
                Err(VolumeError::Refused { .. })
            ),
            "{foreign:?}"
        );
    }
    let kept = [
        "bk-a-a10",
        "bk-a-a1.gx",
        "bk-a-a1.g",
        "bk-a-a1x",
        "xbk-a-a1",
    ];
    for name in kept.iter().chain(&["bk-a-a1", "bk-a-a1.g1", "bk-a-a1.g23"]) {
        fs::write(dir.path().join(name), b"").unwrap();
    }
    driver.remove_snapshot(&volume("vol"), "bk-a-a1").unwrap();
    driver.remove_snapshot(&volume("vol"), "bk-a-a1").unwrap();
    driver
        .remove_snapshot(&volume("gone/vol"), "bk-a-a1")
        .unwrap();
    let mut expected: Vec<_> = kept
        .iter()
        .chain(&["vol"])
        .map(ToString::to_string)
        .collect();
    expected.sort();
    assert_eq!(names(dir.path()), expected);
}
