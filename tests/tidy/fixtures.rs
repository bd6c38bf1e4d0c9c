//! The backups that the real Cinder made are append-only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::source::workspace;

/// Every case. A new one gets a line here; none ever goes, or changes.
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

#[derive(serde::Deserialize)]
struct Manifest {
    files: BTreeMap<PathBuf, Listed>,
}

#[derive(serde::Deserialize)]
struct Listed {
    bytes: usize,
    sha256: String,
}

fn fixtures() -> PathBuf {
    workspace().join("tests/fixtures/cinder")
}

#[test]
fn every_fixture_is_known_and_none_is_lost() {
    let entries = fixtures().read_dir().expect("the fixtures are there");
    let mut found: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    found.sort();
    assert_eq!(
        found, CASES,
        "fixtures are append-only, and each is listed here so that a lost one is noticed"
    );
}

#[test]
fn no_fixture_has_changed() {
    for case in CASES {
        let folder = fixtures().join(case);
        let text = std::fs::read_to_string(folder.join("manifest.json"))
            .unwrap_or_else(|error| panic!("{case}: {error}"));
        let manifest: Manifest = serde_json::from_str(&text).expect("a manifest is JSON");
        assert!(!manifest.files.is_empty(), "{case} lists no file");
        for (path, listed) in manifest.files {
            let bytes = std::fs::read(folder.join(Path::new("repo")).join(&path))
                .unwrap_or_else(|error| panic!("{case}, {}: {error}", path.display()));
            let same =
                bytes.len() == listed.bytes && hex::encode(Sha256::digest(&bytes)) == listed.sha256;
            assert!(
                same,
                "{case}, {}: what Cinder wrote is never changed; add another case",
                path.display()
            );
        }
    }
}
