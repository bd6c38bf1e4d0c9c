use std::cell::Cell;
use std::io::{self, Read};

use common::domain::{Compression, ContainerName, ObjectPrefix};
use jiff::Timestamp;
use proptest::prelude::*;

use crate::format::FormatError;
use crate::format::metadata::{self, Emberkeep, MetadataHead, ObjectEntry};
use crate::format::sha256file::{self, Digest, DigestStream, Sha256Head};
use crate::store::BackupStore;
use crate::store::posix::{PosixStore, init_target};

fn read(json: &str) -> Result<(MetadataHead, Vec<ObjectEntry>), FormatError> {
    let mut objects = Vec::new();
    let head = metadata::read(json.as_bytes(), &mut |object| {
        objects.push(object);
        Ok(())
    })?;
    Ok((head, objects))
}

fn refusal(json: &str) -> String {
    let error = read(json).expect_err(json);
    assert!(!error.is_transient(), "{error:?}");
    let source = std::error::Error::source(&error).map(ToString::to_string);
    format!("{error}: {}", source.unwrap_or_default())
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    (-60_000_000_000_i64..250_000_000_000, 0..1_000_000_i64).prop_map(|(second, micro)| {
        Timestamp::from_microsecond(second * 1_000_000 + micro).unwrap()
    })
}

prop_compose! {
    fn any_head()(
        texts in proptest::array::uniform6(any::<Option<String>>()),
        created_at in proptest::option::of(any_time()),
        ours in proptest::option::of((any::<(String, String, u32, Option<String>)>(), any_time(),
            proptest::collection::btree_map(any::<String>(), any::<String>(), 0..4))),
    ) -> MetadataHead {
        let [description, id, name, parent, volume, meta] = texts;
        MetadataHead {
            backup_description: description,
            backup_id: id,
            backup_name: name,
            created_at,
            emberkeep: ours.map(|((project, user, size_gib, zone), time, metadata)| Emberkeep {
                availability_zone: zone,
                data_timestamp: Some(time),
                metadata,
                project_id: project.into(),
                size_gib,
                snapshot_id: None,
                user_id: user.into(),
            }),
            parent_id: parent,
            volume_id: volume,
            volume_meta: meta,
        }
    }
}

fn any_object() -> impl Strategy<Value = ObjectEntry> {
    (
        any::<(String, u64, Option<u64>, Option<[u8; 16]>)>(),
        proptest::sample::select(&Compression::ALL),
    )
        .prop_map(|((name, offset, length, md5), compression)| ObjectEntry {
            name,
            offset,
            length,
            compression,
            md5,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_metadata_survives(
        head in any_head(),
        objects in proptest::collection::vec(any_object(), 0..8),
    ) {
        let mut bytes = Vec::new();
        metadata::write(&mut bytes, &head, &mut objects.clone().into_iter().map(Ok)).unwrap();
        prop_assert!(bytes.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n')), "ASCII only");
        let text = String::from_utf8(bytes).unwrap();
        prop_assert!(!text.ends_with('\n'));
        let (head_again, objects_again) = read(&text).unwrap();
        prop_assert_eq!(head_again, head);
        prop_assert_eq!(objects_again, objects);
    }

    #[test]
    fn any_digests_survive(digests in proptest::collection::vec(any::<Digest>(), 0..50), head in any_head()) {
        let mut bytes = Vec::new();
        let head = Sha256Head::beside(&head, 512);
        sha256file::write(&mut bytes, &head, &mut digests.iter().copied().map(Ok)).unwrap();
        let mut again = Vec::new();
        let block_size = sha256file::read(&bytes[..], &mut |digest| {
            again.push(digest);
            Ok(())
        });
        prop_assert_eq!(block_size.unwrap(), 512);
        prop_assert_eq!(again, digests);
    }

    #[test]
    fn a_cut_metadata_file_is_no_metadata_file(head in any_head(), at in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        metadata::write(&mut bytes, &head, &mut std::iter::empty()).unwrap();
        let cut = &bytes[..at.index(bytes.len())];
        prop_assert!(metadata::read(cut, &mut |_| Ok(())).is_err());
    }
}

#[test]
fn our_metadata_file_looks_like_this() {
    let head = MetadataHead {
        backup_name: Some("é 🔥 \"\u{7f}\t".to_owned()),
        backup_id: Some("b".to_owned()),
        created_at: Some("2026-03-01T10:17:07Z".parse().unwrap()),
        volume_id: Some("v".to_owned()),
        volume_meta: Some(r#"{"version": 2}"#.to_owned()),
        emberkeep: Some(Emberkeep {
            availability_zone: None,
            data_timestamp: Some("2026-03-01T10:17:08Z".parse().unwrap()),
            metadata: [("k".to_owned(), "v".to_owned())].into(),
            project_id: "p".to_owned().into(),
            size_gib: 1,
            snapshot_id: None,
            user_id: "u".to_owned().into(),
        }),
        ..MetadataHead::default()
    };
    let object = ObjectEntry {
        name: "x-00001".to_owned(),
        offset: 0,
        length: Some(4),
        compression: Compression::Lz4,
        md5: Some([0xab; 16]),
    };
    let mut bytes = Vec::new();
    metadata::write(&mut bytes, &head, &mut std::iter::once(Ok(object))).unwrap();
    assert_eq!(
        String::from_utf8(bytes).unwrap(),
        r#"{
  "backup_description": null,
  "backup_id": "b",
  "backup_name": "\u00e9 \ud83d\udd25 \"\u007f\t",
  "created_at": "2026-03-01 10:17:07+00:00",
  "emberkeep": {
    "availability_zone": null,
    "data_timestamp": "2026-03-01T10:17:08Z",
    "metadata": {
      "k": "v"
    },
    "project_id": "p",
    "size_gib": 1,
    "snapshot_id": null,
    "user_id": "u"
  },
  "objects": [
    {
      "x-00001": {
        "compression": "lz4",
        "length": 4,
        "md5": "abababababababababababababababab",
        "offset": 0
      }
    }
  ],
  "parent_id": null,
  "version": "1.0.0",
  "volume_id": "v",
  "volume_meta": "{\"version\": 2}"
}"#
    );
}

#[test]
fn what_cinder_accepts_is_accepted() {
    let (head, objects) = read(r#"{"version": "1.0.0", "objects": []}"#).unwrap();
    assert_eq!((head, objects), (MetadataHead::default(), vec![]));

    let (head, objects) = read(
        r#"{"objects":[
            {"b":{"offset":7,"compression":"GZip"},"ignored":{"offset":"x"}},
            {"a":{"md5":null,"length":null,"compression":"off","offset":0,"new":[{}]}}
        ],"x":{"y":[1,2.5,true,null,"z"]},"backup_name":17,"created_at":"long ago",
        "backup_description":"é","version":"1.0.0","volume_meta":null}"#,
    )
    .unwrap();
    assert_eq!(head.backup_name, None);
    assert_eq!(head.backup_description.as_deref(), Some("é"));
    assert_eq!(objects[0].name, "b");
    assert_eq!(
        (objects[0].offset, objects[0].compression),
        (7, Compression::Zlib)
    );
    assert_eq!((objects[1].length, objects[1].md5), (None, None));
}

#[test]
fn what_cinder_refuses_is_refused() {
    for json in [
        "",
        "[]",
        "\u{feff}{\"version\": \"1.0.0\", \"objects\": []}",
        r#"{"version": "1.0.0"}"#,
        r#"{"objects": []}"#,
        r#"{"version": "1.0.1", "objects": []}"#,
        r#"{"version": 1, "objects": []}"#,
        r#"{"version": "1.0.0", "objects": []} x"#,
        r#"{"version": "1.0.0", "objects": {}}"#,
        r#"{"version": "1.0.0", "objects": [{}]}"#,
        r#"{"version": "1.0.0", "objects": [{"a": {"offset": 0}}]}"#,
        r#"{"version": "1.0.0", "objects": [{"a": {"offset": 0, "compression": null}}]}"#,
        r#"{"version": "1.0.0", "objects": [{"a": {"offset": 0, "compression": "rar"}}]}"#,
        r#"{"version": "1.0.0", "objects": [{"a": {"offset": 0.0, "compression": "none"}}]}"#,
        r#"{"version": "1.0.0", "objects": [{"a": {"offset": -1, "compression": "none"}}]}"#,
        r#"{"version": "1.0.0", "objects": [{"a": {"offset": "0", "compression": "none"}}]}"#,
        r#"{"version": "1.0.0", "objects": [], "volume_meta": {}}"#,
        // What Cinder does not look at, but would be a check that silently fell away.
        r#"{"version": "1.0.0", "objects": [{"a": {"offset": 0, "compression": "none", "md5": "xy"}}]}"#,
        r#"{"version": "1.0.0", "objects": [], "objects": []}"#,
    ] {
        refusal(json);
    }
    assert!(refusal(r#"{"version": "2.0.0", "objects": []}"#).contains("2.0.0"));
}

/// So many bytes of one kind, between a beginning and an end.
fn endless<'a>(head: &'a str, filler: u8, bytes: u64, tail: &'a str) -> impl Read + 'a {
    head.as_bytes()
        .chain(io::repeat(filler).take(bytes))
        .chain(tail.as_bytes())
}

#[test]
fn a_text_beyond_measure_is_refused_and_an_unknown_member_is_not() {
    let size = 64 << 20;
    let tail = r#"", "version": "1.0.0", "objects": []}"#;
    for head in [
        r#"{"backup_name": ""#,
        r#"{"volume_meta": ""#,
        r#"{""#,
        r#"{"objects": [{""#,
    ] {
        let error = metadata::read(endless(head, b'x', size, tail), &mut |_| Ok(())).unwrap_err();
        assert!(!error.is_transient(), "{error:?}");
    }
    metadata::read(endless(r#"{"unknown": ""#, b'x', size, tail), &mut |_| {
        Ok(())
    })
    .unwrap();
}

#[test]
fn the_callers_own_error_comes_back() {
    let json = r#"{"version": "1.0.0", "objects": [{"a": {"offset": 0, "compression": "none"}}]}"#;
    let error = metadata::read(json.as_bytes(), &mut |_| {
        Err(FormatError::Refused {
            file: "test",
            why: "enough".to_owned(),
        })
    });
    assert!(matches!(
        error,
        Err(FormatError::Refused { file: "test", .. })
    ));

    let mut objects = [Err(io::Error::from(io::ErrorKind::HostUnreachable))].into_iter();
    let error = metadata::write(&mut Vec::new(), &MetadataHead::default(), &mut objects);
    assert_eq!(error.unwrap_err().kind(), io::ErrorKind::HostUnreachable);
}

struct Target {
    store: PosixStore,
    container: ContainerName,
    prefix: ObjectPrefix,
    _directory: tempfile::TempDir,
}

const SCRATCH: &str = ".emberkeep-test";

fn target() -> Target {
    let directory = tempfile::tempdir().unwrap();
    init_target(directory.path()).unwrap();
    let store = PosixStore::new(directory.path(), None);
    let container = ContainerName::new("box").unwrap();
    store.prepare(&container, SCRATCH).unwrap();
    let prefix = ObjectPrefix::new("v_backup_2f863a48-cc5c-4d12-8a5c-6bb29d30f9a1").unwrap();
    Target {
        store,
        container,
        prefix,
        _directory: directory,
    }
}

impl Target {
    fn put(&self, object: &str, bytes: &[u8]) {
        self.store
            .put_stream(&self.container, SCRATCH, object, false, &mut |out| {
                out.write_all(bytes)
            })
            .unwrap();
    }

    fn stream(&self) -> Result<Option<DigestStream>, FormatError> {
        DigestStream::open(&self.store, &self.container, &self.prefix)
    }
}

fn digest(number: u64) -> Digest {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&number.to_le_bytes());
    digest
}

#[test]
fn digests_come_in_order_and_as_many_as_are_wanted() {
    let target = target();
    assert!(target.stream().unwrap().is_none(), "there is none yet");
    let mut bytes = Vec::new();
    let head = Sha256Head::beside(&MetadataHead::default(), 32_768);
    sha256file::write(&mut bytes, &head, &mut (0..20_000).map(digest).map(Ok)).unwrap();
    target.put(&target.prefix.sha256file(), &bytes);

    let mut stream = target.stream().unwrap().unwrap();
    let mut digests = Vec::new();
    for wanted in [0, 1, 4095, 5000, 3, 100_000, 1] {
        let before = digests.len();
        stream.next_digests(&mut digests, wanted).unwrap();
        assert_eq!(digests.len() - before, wanted.min(20_000 - before));
    }
    assert!(digests.into_iter().eq((0..20_000).map(digest)));

    drop(target.stream()); // unread: its thread must not hold anything up
}

#[test]
fn digests_are_read_whatever_the_order_of_members() {
    let target = target();
    let digests = format!(r#"["{}"]"#, "AB".repeat(32));
    for json in [
        format!(r#"{{"chunk_size": 512, "sha256s": {digests}}}"#),
        format!(r#"{{"sha256s": {digests}, "new": {{}}, "version": "1.0.0", "chunk_size": 512}}"#),
    ] {
        target.put(&target.prefix.sha256file(), json.as_bytes());
        let mut stream = target.stream().unwrap().unwrap();
        assert_eq!(stream.block_size(), 512);
        let mut found = Vec::new();
        stream.next_digests(&mut found, 10).unwrap();
        assert_eq!(found, [[0xab; 32]]);
    }
}

#[test]
fn a_damaged_sha256_file_is_told_before_its_end_is() {
    let target = target();
    let digest = "ab".repeat(32);
    for json in [
        format!(r#"{{"chunk_size": 512, "sha256s": ["{digest}", "ab"]}}"#),
        format!(r#"{{"chunk_size": 512, "sha256s": ["{digest}""#),
        format!(r#"{{"chunk_size": 512, "sha256s": ["{digest}"], "version": "9"}}"#),
        r#"{"chunk_size": 512}"#.to_owned(),
        format!(r#"{{"chunk_size": 0, "sha256s": ["{digest}"]}}"#),
        format!(r#"{{"sha256s": ["{digest}"]}}"#),
    ] {
        target.put(&target.prefix.sha256file(), json.as_bytes());
        let outcome = target.stream().and_then(|stream| {
            let mut digests = Vec::new();
            stream.expect("it is there").next_digests(&mut digests, 10)
        });
        assert!(!outcome.expect_err(&json).is_transient());
    }
}

#[test]
fn digests_are_written_as_they_are_drawn() {
    /// Counts what was written, and keeps nothing.
    struct Counting<'a>(&'a Cell<u64>);
    impl io::Write for Counting<'_> {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            self.0.set(self.0.get() + data.len() as u64);
            Ok(data.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let written = Cell::new(0);
    let head = Sha256Head::beside(&MetadataHead::default(), 512);
    let mut digests = (0..10_000).map(|number| {
        assert!(written.get() >= number * 72, "digests pile up");
        Ok(digest(number))
    });
    sha256file::write(&mut Counting(&written), &head, &mut digests).unwrap();
}
