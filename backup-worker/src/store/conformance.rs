//! The tests every driver inherits: it brings a factory of fresh, marked targets, and
//! `inherit_conformance!(factory)` makes one `#[test]` of each function here. A factory that has said why there
//! can be no target on this machine gives `None`.

use std::io::{self, Read};

use common::domain::ContainerName;

use super::{BackupStore, Part, StoreError};

const SCRATCH: &str = ".emberkeep-conformance-a1";

/// A driver's fresh target, kept as long as the value lives.
pub(crate) trait Target {
    /// The store on it.
    fn store(&self) -> &dyn BackupStore;
}

macro_rules! inherit_conformance {
    ($fresh:path) => {
        $crate::store::conformance::inherit_conformance! { $fresh:
            a_part_is_no_object_until_it_is_published,
            publishing_again_is_harmless,
            a_part_that_is_gone_is_told,
            a_part_replaces_one_of_its_name,
            only_the_parts_of_one_execution_are_discarded,
            a_stream_that_fails_leaves_the_old_object,
            a_stream_may_go_to_the_scratch_place,
            listing_is_by_prefix_and_sorted,
            removing_is_repeatable,
            what_is_not_there_is_told_apart,
            preparing_again_keeps_what_is_there,
            names_that_lead_elsewhere_are_refused,
            streams_and_parts_of_many_threads_do_not_meet,
        }
    };
    ($fresh:path: $($test:ident),+ $(,)?) => {$(
        #[test]
        fn $test() {
            let Some(target) = $fresh() else { return };
            $crate::store::conformance::$test($crate::store::conformance::Target::store(&target));
        }
    )+};
}
pub(crate) use inherit_conformance;

fn container() -> ContainerName {
    ContainerName::new("2f/86/2f863a48-cc5c-4d12-8a5c-6bb29d30f9a1").unwrap()
}

fn prepared(store: &dyn BackupStore) -> ContainerName {
    let container = container();
    store.check_marker().unwrap();
    store.prepare(&container, SCRATCH).unwrap();
    container
}

fn put(store: &dyn BackupStore, object: &str, bytes: &[u8]) {
    store
        .put_stream(&container(), SCRATCH, object, false, &mut |out| {
            out.write_all(bytes)
        })
        .unwrap();
}

fn read_all(mut input: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes).unwrap();
    bytes
}

fn content(store: &dyn BackupStore, object: &str) -> Vec<u8> {
    let (input, size) = store.open(&container(), object).unwrap();
    let bytes = read_all(input);
    assert_eq!(bytes.len() as u64, size);
    bytes
}

fn no_such_object<T>(outcome: Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::NoSuchObject { .. }))
}

pub(crate) fn a_part_is_no_object_until_it_is_published(store: &dyn BackupStore) {
    let container = prepared(store);
    let first = store.write_part(&container, SCRATCH, "1", b"one").unwrap();
    let second = store.write_part(&container, SCRATCH, "2", b"").unwrap();
    assert_eq!((first.bytes, second.bytes), (3, 0));
    assert!(no_such_object(store.open(&container, "p-00001")));
    assert!(store.list(&container, "p").unwrap().is_empty());
    let parts = [
        (first, "p-00001".to_owned()),
        (second, "p-00002".to_owned()),
    ];
    store.publish_parts(&container, SCRATCH, &parts).unwrap();
    assert_eq!(content(store, "p-00001"), b"one");
    assert_eq!(content(store, "p-00002"), b"");
    assert!(store.list_scratch(&container, SCRATCH).unwrap().is_empty());
}

pub(crate) fn publishing_again_is_harmless(store: &dyn BackupStore) {
    let container = prepared(store);
    put(store, "p-00001", b"an older execution's");
    let part = store.write_part(&container, SCRATCH, "1", b"one").unwrap();
    let parts = [(part, "p-00001".to_owned())];
    for _ in 0..2 {
        store.publish_parts(&container, SCRATCH, &parts).unwrap();
        assert_eq!(content(store, "p-00001"), b"one");
    }
    store.publish_parts(&container, SCRATCH, &[]).unwrap();
}

pub(crate) fn a_part_that_is_gone_is_told(store: &dyn BackupStore) {
    let container = prepared(store);
    let part = Part {
        name: "1".to_owned(),
        bytes: 3,
    };
    let parts = [(part, "p-00001".to_owned())];
    assert!(no_such_object(
        store.publish_parts(&container, SCRATCH, &parts)
    ));
    put(store, "p-00001", b"not three bytes");
    assert!(no_such_object(
        store.publish_parts(&container, SCRATCH, &parts)
    ));
}

pub(crate) fn a_part_replaces_one_of_its_name(store: &dyn BackupStore) {
    let container = prepared(store);
    store
        .write_part(&container, SCRATCH, "1", b"longer")
        .unwrap();
    store.write_part(&container, SCRATCH, "1", b"new").unwrap();
    let part = store.open_in_scratch(&container, SCRATCH, "1").unwrap();
    assert_eq!(read_all(part), b"new");
}

pub(crate) fn only_the_parts_of_one_execution_are_discarded(store: &dyn BackupStore) {
    let container = prepared(store);
    for part in ["part-g1-1", "part-g1-2", "part-g12-1"] {
        store.write_part(&container, SCRATCH, part, b"x").unwrap();
    }
    for _ in 0..2 {
        store
            .discard_parts(&container, SCRATCH, "part-g1-")
            .unwrap();
        let left = store.list_scratch(&container, SCRATCH).unwrap();
        assert_eq!(left, ["part-g12-1"]);
    }
}

pub(crate) fn a_stream_that_fails_leaves_the_old_object(store: &dyn BackupStore) {
    let container = prepared(store);
    put(store, "p_metadata", b"old");
    let outcome = store.put_stream(&container, SCRATCH, "p_metadata", false, &mut |out| {
        out.write_all(&vec![b'n'; 1 << 20])?;
        Err(io::Error::other("the source failed"))
    });
    let Err(StoreError::Io { source, .. }) = outcome else {
        panic!("the failure is not told: {outcome:?}");
    };
    assert_eq!(source.to_string(), "the source failed");
    assert_eq!(content(store, "p_metadata"), b"old");
    assert!(store.list_scratch(&container, SCRATCH).unwrap().is_empty());
    put(store, "p_metadata", b"new");
    assert_eq!(content(store, "p_metadata"), b"new");
}

pub(crate) fn a_stream_may_go_to_the_scratch_place(store: &dyn BackupStore) {
    let container = prepared(store);
    store
        .put_stream(&container, SCRATCH, "segment-1", true, &mut |out| {
            out.write_all(b"seg")?;
            out.write_all(b"ment")
        })
        .unwrap();
    assert_eq!(
        store.list_scratch(&container, SCRATCH).unwrap(),
        ["segment-1"]
    );
    assert!(store.list(&container, "segment").unwrap().is_empty());
    let segment = store
        .open_in_scratch(&container, SCRATCH, "segment-1")
        .unwrap();
    assert_eq!(read_all(segment), b"segment");
}

pub(crate) fn listing_is_by_prefix_and_sorted(store: &dyn BackupStore) {
    let container = prepared(store);
    for object in ["p-00010", "q-00001", "p_metadata", "p-00002", "P-00001"] {
        put(store, object, b"");
    }
    assert_eq!(
        store.list(&container, "p").unwrap(),
        ["p-00002", "p-00010", "p_metadata"]
    );
    let nowhere = ContainerName::new("nowhere").unwrap();
    assert!(store.list(&nowhere, "p").unwrap().is_empty());
    assert!(store.list_scratch(&nowhere, SCRATCH).unwrap().is_empty());
    assert!(
        store
            .list_scratch(&container, ".emberkeep-none")
            .unwrap()
            .is_empty()
    );
}

pub(crate) fn removing_is_repeatable(store: &dyn BackupStore) {
    let container = prepared(store);
    put(store, "p-00001", b"1");
    put(store, "p-00002", b"2");
    put(store, "q-00001", b"another backup's");
    store.write_part(&container, SCRATCH, "1", b"one").unwrap();
    let objects = [
        "p-00001".to_owned(),
        "p-00002".to_owned(),
        "p-00003".to_owned(),
    ];
    for _ in 0..2 {
        store.remove(&container, &objects).unwrap();
        store.remove_scratch(&container, SCRATCH).unwrap();
        assert!(store.list(&container, "p").unwrap().is_empty());
        assert!(store.list_scratch(&container, SCRATCH).unwrap().is_empty());
    }
    assert_eq!(content(store, "q-00001"), b"another backup's");
    let nowhere = ContainerName::new("nowhere").unwrap();
    store.remove(&nowhere, &objects).unwrap();
    store.remove_scratch(&nowhere, SCRATCH).unwrap();
}

pub(crate) fn what_is_not_there_is_told_apart(store: &dyn BackupStore) {
    let container = prepared(store);
    assert!(no_such_object(store.open(&container, "p-00001")));
    assert!(no_such_object(
        store.open_in_scratch(&container, SCRATCH, "1")
    ));
    let nowhere = ContainerName::new("nowhere").unwrap();
    let outcome = store.open(&nowhere, "p-00001");
    assert!(matches!(outcome, Err(StoreError::NoSuchContainer { .. })));
}

pub(crate) fn preparing_again_keeps_what_is_there(store: &dyn BackupStore) {
    let container = prepared(store);
    put(store, "p-00001", b"1");
    store.write_part(&container, SCRATCH, "1", b"one").unwrap();
    store.prepare(&container, SCRATCH).unwrap();
    store
        .prepare(&container, ".emberkeep-conformance-a2")
        .unwrap();
    assert_eq!(content(store, "p-00001"), b"1");
    assert_eq!(store.list_scratch(&container, SCRATCH).unwrap(), ["1"]);
}

pub(crate) fn names_that_lead_elsewhere_are_refused(store: &dyn BackupStore) {
    let container = prepared(store);
    let refused =
        |outcome: Result<(), StoreError>| matches!(outcome, Err(StoreError::Refused { .. }));
    for bad in [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/etc/passwd",
        "a\0b",
        SCRATCH,
        ".emberkeep-target",
    ] {
        assert!(
            refused(store.open(&container, bad).map(drop)),
            "open {bad:?}"
        );
        assert!(
            refused(store.remove(&container, &[bad.to_owned()])),
            "remove {bad:?}"
        );
        let stream = store.put_stream(&container, SCRATCH, bad, false, &mut |_| Ok(()));
        assert!(refused(stream), "put {bad:?}");
        let part = store.write_part(&container, SCRATCH, bad, b"");
        assert!(refused(part.map(drop)), "part {bad:?}");
        let part = store.write_part(&container, SCRATCH, "1", b"").unwrap();
        let published = store.publish_parts(&container, SCRATCH, &[(part, bad.to_owned())]);
        assert!(refused(published), "publish {bad:?}");
    }
    for bad in ["", "..", "x", ".emberkeep-../x", ".emberkeep-target/x"] {
        assert!(refused(store.prepare(&container, bad)), "prepare {bad:?}");
        assert!(
            refused(store.remove_scratch(&container, bad)),
            "remove scratch {bad:?}"
        );
        assert!(
            refused(store.list_scratch(&container, bad).map(drop)),
            "list {bad:?}"
        );
    }
}

pub(crate) fn streams_and_parts_of_many_threads_do_not_meet(store: &dyn BackupStore) {
    let container = prepared(store);
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let container = &container;
            scope.spawn(move || {
                for round in 0..20 {
                    let name = format!("{thread}-{round}");
                    let part = store
                        .write_part(container, SCRATCH, &name, &[thread; 999])
                        .unwrap();
                    let parts = [(part, format!("p-{name}"))];
                    store.publish_parts(container, SCRATCH, &parts).unwrap();
                    put(store, "p_metadata", &[thread; 70_000]); // all at the same name
                }
            });
        }
    });
    assert_eq!(store.list(&container, "p-").unwrap().len(), 80);
    let last = content(store, "p_metadata");
    assert!(last.len() == 70_000 && last.iter().all(|byte| *byte == last[0]));
    assert!(store.list_scratch(&container, SCRATCH).unwrap().is_empty());
}
