//! What the real Cinder wrote: all of it is read, and written again to the byte.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use common::domain::{ContainerName, ObjectPrefix};
use md5::Md5;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::format::codec::{Length, Trailing, decode};
use crate::format::metadata::{self, MetadataHead, ObjectEntry};
use crate::format::sha256file::{self, DigestStream, Sha256Head};
use crate::store::BackupStore;
use crate::store::posix::PosixStore;

/// Every case. Fixtures are append-only: one that is gone, or one that nobody listed, is an error.
const CASES: [&str; 15] = [
    "alias-names",
    "block-edges",
    "chain-bz2",
    "chain-none",
    "chain-zlib",
    "chain-zstd",
    "container-option",
    "default-sizes",
    "fork",
    "full-bz2",
    "full-none",
    "full-zlib",
    "full-zstd",
    "incr-unchanged",
    "names",
];

#[derive(Deserialize)]
struct Manifest {
    root: String,
    files: BTreeMap<String, Stored>,
    backups: Vec<Backup>,
}

#[derive(Deserialize)]
struct Stored {
    bytes: u64,
    sha256: String,
}

#[derive(Deserialize)]
struct Backup {
    backup_id: String,
    parent_id: Option<String>,
    volume_id: String,
    volume_bytes: u64,
    container: ContainerName,
    service_metadata: ObjectPrefix,
    object_count: u64,
    block_size: u64,
    extent_bytes: u64,
    name: Option<String>,
    description: Option<String>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/cinder")
}

/// Calls `look` with every backup of every case and the store it is in.
fn for_each_backup(mut look: impl FnMut(&PosixStore, &Backup)) {
    for case in CASES {
        let directory = fixtures().join(case);
        let manifest = std::fs::read(directory.join("manifest.json")).unwrap();
        let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
        let store = PosixStore::new(directory.join(manifest.root), None);
        for backup in &manifest.backups {
            look(&store, backup);
        }
    }
}

fn bytes_of(store: &PosixStore, backup: &Backup, object: &str) -> Vec<u8> {
    let (mut input, size) = store.open(&backup.container, object).unwrap();
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, size);
    bytes
}

fn metadata_of(store: &PosixStore, backup: &Backup) -> (MetadataHead, Vec<ObjectEntry>) {
    let bytes = bytes_of(store, backup, &backup.service_metadata.metadata());
    let mut objects = Vec::new();
    let head = metadata::read(&bytes[..], &mut |object| {
        objects.push(object);
        Ok(())
    });
    (head.unwrap(), objects)
}

#[test]
fn every_fixture_is_listed_and_as_it_was_made() {
    let mut found: Vec<_> = std::fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort_unstable();
    assert_eq!(found, CASES);
    for case in CASES {
        let directory = fixtures().join(case);
        let manifest = std::fs::read(directory.join("manifest.json")).unwrap();
        let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
        for (path, stored) in manifest.files {
            let bytes = std::fs::read(directory.join(&manifest.root).join(&path)).unwrap();
            assert_eq!(bytes.len() as u64, stored.bytes, "{case}/{path}");
            assert_eq!(
                hex::encode(Sha256::digest(&bytes)),
                stored.sha256,
                "{case}/{path}"
            );
        }
    }
}

#[test]
fn cinders_metadata_files_are_written_again_to_the_byte() {
    for_each_backup(|store, backup| {
        let (head, objects) = metadata_of(store, backup);
        assert_eq!(head.backup_id.as_ref(), Some(&backup.backup_id));
        assert_eq!(head.parent_id, backup.parent_id);
        assert_eq!(head.volume_id.as_ref(), Some(&backup.volume_id));
        assert_eq!(head.backup_name, backup.name);
        assert_eq!(head.backup_description, backup.description);
        assert!(!head.is_ours());
        assert_eq!(objects.len() as u64, backup.object_count);
        let covered: u64 = objects.iter().filter_map(|object| object.length).sum();
        assert_eq!(covered, backup.extent_bytes);

        let mut again = Vec::new();
        metadata::write(&mut again, &head, &mut objects.into_iter().map(Ok)).unwrap();
        let cinders = bytes_of(store, backup, &backup.service_metadata.metadata());
        // Cinder records an alias as the operator spelled it; we write the one name.
        let cinders = String::from_utf8(cinders)
            .unwrap()
            .replace(r#""compression": "gzip""#, r#""compression": "zlib""#)
            .replace(r#""compression": "bzip2""#, r#""compression": "bz2""#);
        assert_eq!(String::from_utf8(again).unwrap(), cinders);
    });
}

#[test]
fn cinders_sha256_files_are_written_again_to_the_byte() {
    for_each_backup(|store, backup| {
        let cinders = bytes_of(store, backup, &backup.service_metadata.sha256file());
        let mut digests = Vec::new();
        let block_size = sha256file::read(&cinders[..], &mut |digest| {
            digests.push(digest);
            Ok(())
        });
        assert_eq!(block_size.unwrap(), backup.block_size);
        assert_eq!(
            digests.len() as u64,
            backup.volume_bytes.div_ceil(backup.block_size)
        );

        let (head, _) = metadata_of(store, backup);
        let head = Sha256Head::beside(&head, backup.block_size);
        let mut again = Vec::new();
        sha256file::write(&mut again, &head, &mut digests.iter().copied().map(Ok)).unwrap();
        assert!(again == cinders, "{}", backup.service_metadata);

        let mut streamed = Vec::new();
        let mut stream = DigestStream::open(store, &backup.container, &backup.service_metadata)
            .unwrap()
            .unwrap();
        assert_eq!(stream.block_size(), backup.block_size);
        stream.next_digests(&mut streamed, usize::MAX).unwrap();
        assert!(streamed == digests);
    });
}

#[test]
fn every_data_object_of_cinders_decodes_to_its_length_and_md5() {
    for_each_backup(|store, backup| {
        let (_, objects) = metadata_of(store, backup);
        for object in objects {
            let (input, _) = store.open(&backup.container, &object.name).unwrap();
            let length = Length::Exactly(object.length.unwrap());
            // Cinder's objects are one clean stream each, so they pass as strictly as ours.
            let mut decoder = decode(object.compression, input, length, Trailing::Refused).unwrap();
            let mut extent = Vec::new();
            decoder.read_to_end(&mut extent).unwrap();
            assert_eq!(
                Some(Md5::digest(&extent).into()),
                object.md5,
                "{}",
                object.name
            );
        }
    });
}
