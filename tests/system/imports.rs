//! Backups that others made, and records that share their data.

use std::path::{Path, PathBuf};

use common::domain::{BackupId, BackupStatus, VolumeId};
use harness::volume::{self, noise, text};
use harness::{Record, TestStack, until};
use reqwest::Method;
use serde_json::Value;

/// A case of what the real Cinder made.
struct Case {
    name: String,
    manifest: Value,
    repository: PathBuf,
}

/// Every case under `tests/fixtures/cinder`.
fn cases() -> Vec<Case> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cinder");
    let entries = std::fs::read_dir(&fixtures).expect("the fixtures are there");
    let mut cases: Vec<_> = entries
        .map(|entry| {
            let directory = entry.expect("an entry can be read").path();
            let manifest = std::fs::read(directory.join("manifest.json")).expect("a manifest");
            let manifest: Value = serde_json::from_slice(&manifest).expect("it is JSON");
            Case {
                name: directory.to_string_lossy().into_owned(),
                repository: directory.join(text_of(&manifest, "root")),
                manifest,
            }
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(cases.len() >= 15, "cases are added, never removed");
    cases
}

fn text_of<'v>(value: &'v Value, member: &str) -> &'v str {
    let text = value[member].as_str();
    text.unwrap_or_else(|| panic!("no text {member} in {value}"))
}

impl Case {
    fn backups(&self) -> &[Value] {
        self.manifest["backups"].as_array().expect("a list")
    }

    /// Copies the case's target into a stack's, as who moves in would.
    fn copy_to(&self, stack: &TestStack) {
        copy_tree(&self.repository, stack.target().root());
    }
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory can be made");
    for entry in std::fs::read_dir(from).expect("a directory can be read") {
        let entry = entry.expect("an entry can be read");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("it has a type").is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}

/// Restores a backup and compares it with what the manifest says of it.
async fn assert_restores(stack: &TestStack, case: &Case, backup: &Value) {
    let id: BackupId = text_of(backup, "backup_id").parse().expect("an id");
    let restored = stack.api().bring_back(id).await;
    let bytes = backup["target_bytes"].as_u64().expect("a size");
    assert_eq!(
        volume::sha256(&stack.file_of(restored), bytes),
        text_of(backup, "restored_sha256"),
        "{} of {}",
        text_of(backup, "label"),
        case.name
    );
    stack.api().delete_volume(restored).await;
}

#[tokio::test]
async fn whatever_cinder_made_is_imported_and_restores() {
    let stack = TestStack::start().await;
    for case in cases() {
        case.copy_to(&stack);
        // The newest first: no parent is here yet.
        for backup in case.backups().iter().rev() {
            let id = stack.api().import(&Record::open(&backup["record"])).await;
            let row = stack.api().backup(id).await;
            assert_eq!(row.status, BackupStatus::Available);
            assert_eq!(row.name.as_deref(), backup["name"].as_str());
            assert_eq!(row.object_count, backup["object_count"]);
        }
        for backup in case.backups() {
            assert_restores(&stack, &case, backup).await;
        }
        for backup in case.backups().iter().rev() {
            let id = text_of(backup, "backup_id").parse().expect("an id");
            stack.api().delete_backup(id).await;
            stack.api().until_gone(id).await;
        }
    }
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn an_increment_of_ours_grows_on_a_chain_that_cinder_made() {
    let stack = TestStack::start().await;
    let case = cases()
        .into_iter()
        .find(|case| case.name.ends_with("chain-zlib"))
        .expect("there is such a case");
    case.copy_to(&stack);
    // The chain goes on for a volume of ours: its records are edited to say so.
    let newest = case.backups().last().expect("a chain");
    let length = newest["target_bytes"].as_u64().expect("a size");
    let mut bytes = vec![0xff; usize::try_from(length).expect("it fits")];
    let ours = stack.managed_volume("moved.raw", &bytes).await;
    for backup in case.backups() {
        let record = Record::open(&backup["record"]).with("volume_id", ours.to_string());
        stack.api().import(&record).await;
    }
    let newest: BackupId = text_of(newest, "backup_id").parse().expect("an id");
    let restored = stack.api().bring_back(newest).await;
    let held = std::fs::read(stack.file_of(restored)).expect("a volume can be read");
    let length = bytes.len();
    bytes.copy_from_slice(&held[..length]);
    bytes[500_000..600_000].copy_from_slice(&noise(5, 100_000));
    volume::write_at(&stack.volumes().join("moved.raw"), 0, &bytes);

    let grown = stack.api().back_up_changes(ours).await;
    let stored = stack.target().stored_bytes(grown.id);
    assert!(stored < 300_000, "{stored} bytes are no increment");
    assert!(stack.api().backup(newest).await.has_dependent_backups);
    let restored = stack.api().bring_back(grown.id).await;
    volume::assert_holds(&stack.file_of(restored), &bytes);
    stack.assert_nothing_left_behind().await;
}

/// A backup, and a second record of it under another id.
async fn twins(stack: &TestStack, volume: VolumeId) -> (BackupId, BackupId) {
    let original = stack.api().back_up(volume).await.id;
    let record = stack.api().export(original).await;
    let copy = record.with("id", BackupId::new().to_string());
    (original, stack.api().import(&copy).await)
}

#[tokio::test]
async fn of_two_records_of_one_backup_the_last_takes_the_data_along() {
    let stack = TestStack::start().await;
    let bytes = text(3, 1_500_000);
    let volume = stack.managed_volume("v.raw", &bytes).await;
    for original_first in [true, false] {
        let (original, copy) = twins(&stack, volume).await;
        let tree = stack.target().tree_of(original);
        let (first, second) = if original_first {
            (original, copy)
        } else {
            (copy, original)
        };
        stack.api().delete_backup(first).await;
        stack.api().until_gone(first).await;
        assert_eq!(stack.target().tree_of(original), tree);
        let restored = stack.api().bring_back(second).await;
        volume::assert_holds(&stack.file_of(restored), &bytes);
        stack.api().delete_backup(second).await;
        stack.api().until_gone(second).await;
        assert_eq!(stack.target().files_of(original), Vec::<PathBuf>::new());
    }
    let (original, copy) = twins(&stack, volume).await;
    for id in [original, copy] {
        stack.api().delete_backup(id).await;
    }
    for id in [original, copy] {
        stack.api().until_gone(id).await;
    }
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_deleted_backup_whose_data_came_back_is_revived_by_its_record() {
    let stack = TestStack::start().await;
    let bytes = text(4, 700_000);
    let volume = stack.managed_volume("v.raw", &bytes).await;
    let backup = stack.api().back_up(volume).await.id;
    let record = stack.api().export(backup).await;
    let away = tempfile::tempdir().expect("a directory can be made");
    copy_tree(stack.target().root(), away.path());
    stack.api().delete_backup(backup).await;
    stack.api().until_gone(backup).await;
    stack.assert_nothing_left_behind().await;

    // What removes the data is in the way of its record until it has ended.
    until("nobody to hold a job", async || {
        let jobs = stack.api().try_send(Method::GET, "/admin/jobs", None).await;
        let jobs = jobs.ok()?.body["jobs"].as_array()?.clone();
        jobs.iter().all(|job| job["worker"].is_null()).then_some(())
    })
    .await;
    copy_tree(away.path(), stack.target().root());
    let stack_api = stack.api().as_project("00000000000000000000000000000002");
    assert_eq!(stack_api.import(&record).await, backup);
    let restored = stack.api().bring_back(backup).await;
    volume::assert_holds(&stack.file_of(restored), &bytes);
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_record_whose_data_is_not_there_fails_the_restore_and_not_the_service() {
    let stack = TestStack::start().await;
    let case = cases().remove(0);
    let record = Record::open(&case.backups()[0]["record"]);
    let id = stack.api().import(&record).await;
    let target = stack.api().restore(id, None).await.volume_id;
    stack
        .api()
        .until_volume(target, common::domain::VolumeStatus::ErrorRestoring)
        .await;
    let row = stack.api().until_backup(id, BackupStatus::Available).await;
    assert!(row.fail_reason.is_some());
    stack.api().delete_backup(id).await;
    stack.api().until_gone(id).await;
    stack.assert_nothing_left_behind().await;
}
