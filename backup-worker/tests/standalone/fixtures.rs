//! Backups that the real Cinder made, restored by the binary.

use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::scene::{Ended, run, text};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/cinder");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut cases: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.is_dir());
    cases.sort();
    cases
}

fn manifest(case: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(case.join("manifest.json")).unwrap()).unwrap()
}

fn sha256(file: &Path) -> String {
    hex::encode(Sha256::digest(std::fs::read(file).unwrap()))
}

#[test]
fn every_backup_that_cinder_made_is_restored_to_a_new_file_and_over_old_data() {
    let cases = cases();
    assert!(cases.len() >= 15, "{} fixtures", cases.len());
    let scratch = tempfile::tempdir().unwrap();
    let (new, old) = (scratch.path().join("new"), scratch.path().join("old"));
    for case in cases {
        let manifest = manifest(&case);
        let tree = case.join(manifest["root"].as_str().unwrap());
        for made in manifest["backups"].as_array().unwrap() {
            let about = format!("{} {}", case.display(), made["label"]);
            let id = made["backup_id"].as_str().unwrap();
            let wanted = made["restored_sha256"].as_str().unwrap();
            let bytes = usize::try_from(made["target_bytes"].as_u64().unwrap()).unwrap();
            let restore = |output: &Path, more: &[&str]| {
                let mut arguments = vec!["restore", "--repository", text(&tree), "--backup", id];
                arguments.extend(["--output", text(output), "--json"]);
                arguments.extend(more);
                Ended::from(run(arguments)).json(0)
            };

            std::fs::write(&old, vec![0xff; bytes]).unwrap();
            restore(&old, &["--force"]);
            assert_eq!(sha256(&old), wanted, "{about}, over old data");

            let report = restore(&new, &[]);
            let length = std::fs::metadata(&new).unwrap().len();
            assert_eq!(report["volume_bytes"], length, "{about}");
            assert_eq!(length, made["volume_bytes"].as_u64().unwrap(), "{about}");
            assert_eq!(
                sha256(&new),
                made["volume_sha256"].as_str().unwrap(),
                "{about}, new"
            );
            std::fs::remove_file(&new).unwrap();
        }
    }
}

#[test]
fn nothing_is_found_in_what_cinder_made() {
    for case in cases() {
        let manifest = manifest(&case);
        let tree = case.join(manifest["root"].as_str().unwrap());
        let backups = manifest["backups"].as_array().unwrap();

        let arguments = ["verify", "--repository", text(&tree), "--json"];
        let verified = Ended::from(run(arguments)).json(0);
        let looked_at = verified["backups"].as_array().unwrap();
        assert_eq!(looked_at.len(), backups.len(), "{}", case.display());

        let arguments = ["list", "--repository", text(&tree), "--json"];
        let listing = Ended::from(run(arguments)).json(0);
        for made in backups {
            let id = &made["backup_id"];
            let rows = listing["backups"].as_array().unwrap();
            let row = rows.iter().find(|row| row["backup_id"] == *id).unwrap();
            assert_eq!(row["problems"], serde_json::json!([]), "{row}");
            assert_eq!(row["parent_id"], made["parent_id"]);
            assert_eq!(row["name"], made["name"]);
            assert_eq!(row["container"], made["container"]);
            assert_eq!(row["object_count"], made["object_count"]);
        }
    }
}
