use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::store::conformance::{Target, inherit_conformance};
use crate::volume::testing::skipped;

struct Directory {
    store: PosixStore,
    // Dropped after the store.
    directory: tempfile::TempDir,
}

impl Target for Directory {
    fn store(&self) -> &dyn BackupStore {
        &self.store
    }
}

fn fresh() -> Directory {
    let directory = tempfile::tempdir().unwrap();
    let id = init_target(directory.path()).unwrap();
    let store = PosixStore::new(directory.path(), Some(id));
    Directory { store, directory }
}

/// The same on a system without `openat2`.
fn fresh_stepwise() -> Directory {
    let mut target = fresh();
    target.store.stepwise = true;
    target
}

mod with_openat2 {
    use super::{Directory, inherit_conformance};

    fn target() -> Option<Directory> {
        Some(super::fresh())
    }
    inherit_conformance!(target);
}

mod step_by_step {
    use super::{Directory, inherit_conformance};

    fn target() -> Option<Directory> {
        Some(super::fresh_stepwise())
    }
    inherit_conformance!(target);
}

const SCRATCH: &str = ".emberkeep-test-a1";

fn container(name: &str) -> ContainerName {
    ContainerName::new(name).unwrap()
}

fn mode_of(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Bytes that the disk gave this process so far.
fn fetched() -> u64 {
    let counters = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = counters
        .lines()
        .find_map(|line| line.strip_prefix("read_bytes: "));
    line.map_or(0, |bytes| bytes.parse().unwrap())
}

#[test]
fn an_object_that_will_be_read_is_fetched_meanwhile() {
    const LENGTH: usize = 1 << 20;
    let target = fresh();
    let (store, name) = (&target.store, container("2f/86/2f86"));
    store.prepare(&name, SCRATCH).unwrap();
    let parts = ["p-00001", "p-00002"].map(|object| {
        let part = store.write_part(&name, SCRATCH, object, &[7; LENGTH]);
        (part.unwrap(), object.to_owned())
    });
    store.publish_parts(&name, SCRATCH, &parts).unwrap();
    for (_, object) in &parts {
        let path = target.directory.path().join("2f/86/2f86").join(object);
        forget(&File::open(path).unwrap());
    }
    let fetches = |deed: &dyn Fn()| {
        let before = fetched();
        deed();
        fetched() - before
    };
    let read = || {
        let mut object = store.open(&name, "p-00002").unwrap().0;
        io::copy(&mut object, &mut io::sink()).unwrap();
    };
    if fetches(&read) < LENGTH as u64 {
        return skipped("this file system keeps what is to be forgotten, or it is not counted");
    }
    assert!(fetches(&|| store.will_read(&name, "p-00001")) >= LENGTH as u64);
    assert_eq!(fetches(&|| store.will_read(&name, "p-00003")), 0);
}

#[test]
fn modes_are_cinders() {
    let target = fresh();
    let name = container("2f/86/2f86");
    target.store.prepare(&name, SCRATCH).unwrap();
    let part = target
        .store
        .write_part(&name, SCRATCH, "1", b"one")
        .unwrap();
    let parts = [(part, "p-00001".to_owned())];
    target.store.publish_parts(&name, SCRATCH, &parts).unwrap();
    let write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()> = &mut |_| Ok(());
    target
        .store
        .put_stream(&name, SCRATCH, "p_metadata", false, write)
        .unwrap();
    let path = target.directory.path().join("2f/86/2f86");
    assert_eq!(mode_of(&path), 0o770);
    assert_eq!(mode_of(&path.join("p-00001")), 0o660);
    assert_eq!(mode_of(&path.join("p_metadata")), 0o660);
}

#[test]
fn no_part_of_a_batch_has_its_name_before_all_are_durable() {
    let target = fresh();
    let (store, name) = (&target.store, container("box"));
    store.prepare(&name, SCRATCH).unwrap();
    let parts: Vec<_> = (1..=20)
        .map(|number| {
            let part = format!("part-{number}");
            let part = store.write_part(&name, SCRATCH, &part, &[number; 9000]);
            (part.unwrap(), format!("p-{number:05}"))
        })
        .collect();
    let gone = target
        .directory
        .path()
        .join("box")
        .join(SCRATCH)
        .join("part-20");
    let kept = std::fs::read(&gone).unwrap();
    std::fs::remove_file(&gone).unwrap();
    let missed = store.publish_parts(&name, SCRATCH, &parts);
    assert!(
        matches!(&missed, Err(StoreError::NoSuchObject { object, .. }) if object == "part-20"),
        "{missed:?}"
    );
    assert_eq!(store.list(&name, "p-").unwrap(), Vec::<String>::new());
    std::fs::write(&gone, kept).unwrap();
    // Twice: a call that fails after the names were given is repeated.
    for _ in 0..2 {
        store.publish_parts(&name, SCRATCH, &parts).unwrap();
        assert_eq!(store.list(&name, "p-").unwrap().len(), 20);
    }
}

#[test]
fn a_container_that_is_there_keeps_its_mode() {
    let target = fresh();
    let path = target.directory.path().join("box");
    std::fs::create_dir(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o2755)).unwrap();
    target.store.prepare(&container("box"), SCRATCH).unwrap();
    assert_eq!(mode_of(&path), 0o2755);
}

#[test]
fn planted_symbolic_links_are_refused_and_lead_nowhere() {
    for fresh in [fresh, fresh_stepwise] {
        let target = fresh();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("p-00001"), b"secret").unwrap();
        std::fs::create_dir(outside.path().join("sub")).unwrap();
        let root = target.directory.path();
        let store = &target.store;
        store.prepare(&container("box"), SCRATCH).unwrap();
        let refused = |outcome: Result<(), StoreError>| {
            assert!(
                matches!(outcome, Err(StoreError::Refused { .. })),
                "{outcome:?}"
            );
        };

        // As a container, and above one; absolute, and within the root.
        symlink(outside.path(), root.join("away")).unwrap();
        symlink("box", root.join("alias")).unwrap();
        for name in ["away", "away/sub", "alias"].map(container) {
            refused(store.prepare(&name, SCRATCH));
            refused(store.open(&name, "p-00001").map(drop));
            refused(store.list(&name, "").map(drop));
            refused(store.remove(&name, &["p-00001".to_owned()]));
            refused(store.remove_scratch(&name, SCRATCH));
        }
        // As an object: not read; replaced or removed as a name.
        let object = root.join("box/p-00001");
        symlink(outside.path().join("p-00001"), &object).unwrap();
        refused(store.open(&container("box"), "p-00001").map(drop));
        store
            .put_stream(&container("box"), SCRATCH, "p-00001", false, &mut |out| {
                out.write_all(b"ours")
            })
            .unwrap();
        assert!(object.symlink_metadata().unwrap().is_file());
        std::fs::remove_file(&object).unwrap();
        symlink(outside.path().join("p-00001"), &object).unwrap();
        store
            .remove(&container("box"), &["p-00001".to_owned()])
            .unwrap();
        // As a part and as a scratch place.
        symlink(
            outside.path().join("p-00001"),
            root.join("box").join(SCRATCH).join("1"),
        )
        .unwrap();
        store
            .write_part(&container("box"), SCRATCH, "1", b"part")
            .unwrap();
        symlink(outside.path(), root.join("box/.emberkeep-planted")).unwrap();
        refused(store.prepare(&container("box"), ".emberkeep-planted"));
        refused(store.remove_scratch(&container("box"), ".emberkeep-planted"));

        assert_eq!(
            std::fs::read(outside.path().join("p-00001")).unwrap(),
            b"secret"
        );
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 2);
    }
}

#[test]
fn what_is_no_plain_file_is_refused() {
    let target = fresh();
    let store = &target.store;
    store.prepare(&container("box"), SCRATCH).unwrap();
    let path = target.directory.path().join("box");
    std::fs::create_dir(path.join("p-00001")).unwrap();
    let fifo = path.join("p-00002");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    for object in ["p-00001", "p-00002"] {
        let outcome = store.open(&container("box"), object).map(drop);
        assert!(
            matches!(outcome, Err(StoreError::Refused { .. })),
            "{outcome:?}"
        );
    }
    std::fs::write(target.directory.path().join("file"), b"").unwrap();
    let outcome = store.prepare(&container("file"), SCRATCH);
    assert!(
        matches!(outcome, Err(StoreError::Refused { .. })),
        "{outcome:?}"
    );
}

#[test]
fn a_target_without_its_marker_is_read_but_never_written() {
    let target = fresh();
    let store = &target.store;
    store.prepare(&container("box"), SCRATCH).unwrap();
    let put = |store: &PosixStore| {
        store.put_stream(&container("box"), SCRATCH, "p-00001", false, &mut |out| {
            out.write_all(b"1")
        })
    };
    put(store).unwrap();
    let marker = target.directory.path().join(".emberkeep-target");
    let id = std::fs::read(&marker).unwrap();
    std::fs::remove_file(&marker).unwrap();
    let wrong = |outcome: Result<(), StoreError>| {
        let error = outcome.expect_err("written");
        assert!(matches!(error, StoreError::WrongTarget { .. }), "{error:?}");
        assert!(error.is_transient());
    };
    wrong(store.check_marker());
    wrong(put(store));
    wrong(store.prepare(&container("box2"), SCRATCH));
    wrong(store.remove(&container("box"), &["p-00001".to_owned()]));
    wrong(store.remove_scratch(&container("box"), SCRATCH));
    assert_eq!(store.list(&container("box"), "p").unwrap(), ["p-00001"]);
    store.open(&container("box"), "p-00001").unwrap();

    for text in ["", "{}", r#"{"target_id": "x"}"#] {
        std::fs::write(&marker, text).unwrap();
        wrong(store.check_marker());
    }
    let other = PosixStore::new(target.directory.path(), Some(Uuid::nil()));
    std::fs::write(&marker, &id).unwrap();
    wrong(other.check_marker());
    wrong(put(&other));
    store.check_marker().unwrap();
    put(store).unwrap();
    PosixStore::new(target.directory.path(), None)
        .check_marker()
        .unwrap();
}

#[test]
fn writing_goes_on_where_the_marker_was_seen_when_another_directory_takes_the_path() {
    let target = fresh();
    let path = target.directory.path().join("mount");
    init_target(&path).unwrap();
    let store = PosixStore::new(&path, None);
    store.prepare(&container("box"), SCRATCH).unwrap();
    let aside = target.directory.path().join("aside");
    std::fs::rename(&path, &aside).unwrap();
    std::fs::create_dir(&path).unwrap();
    store
        .write_part(&container("box"), SCRATCH, "1", b"one")
        .unwrap();
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
    assert!(aside.join("box").join(SCRATCH).join("1").exists());
    store.check_marker().unwrap_err();
    store
        .write_part(&container("box"), SCRATCH, "2", b"two")
        .unwrap_err();
}

#[test]
fn a_target_is_prepared_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("not/there/yet");
    let ids: Vec<Uuid> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| init_target(&path).unwrap()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(init_target(&path).unwrap(), ids[0]);
    let left: Vec<_> = std::fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, [".emberkeep-target"]);
}
