//! Hostile names never lead out of the configured roots.

use std::os::unix::fs::symlink;
use std::path::Path;

use common::domain::{BackupStatus, VolumeStatus};
use harness::volume::noise;
use harness::{NewBackup, TestStack, until};
use serde_json::json;
use tempfile::TempDir;

/// Names that are refused before anything is recorded.
fn hostile_names() -> Vec<String> {
    let mut names: Vec<_> = [
        "..",
        "../outside",
        "a/../../outside",
        "/etc",
        "a//b",
        "./a",
        "a/",
        ".",
        "nul\0byte",
        "new\nline",
        "back\\slash",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect();
    names.push("x".repeat(256));
    names
}

fn assert_empty(directory: &Path) {
    let entries = directory.read_dir().expect("the directory can be read");
    let found: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    assert!(found.is_empty(), "written outside: {found:?}");
}

#[tokio::test]
async fn hostile_containers_are_refused() {
    let stack = TestStack::start().await;
    let id = stack.managed_volume("v.raw", &noise(1, 10_000)).await;
    let mut names = hostile_names();
    names.push(".emberkeep-mine".to_owned());
    for name in names {
        let wanted = NewBackup {
            container: Some(name),
            ..NewBackup::of(id)
        };
        let answer = stack.api().ask_for_backup(&wanted).await;
        answer.refused(400, "badRequest", "");
    }
    assert_eq!(stack.api().backups().await, []);
    assert_eq!(stack.api().volume(id).await.status, VolumeStatus::Available);
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn hostile_references_are_refused() {
    let stack = TestStack::start().await;
    let mut names = hostile_names();
    names.extend([
        "bk-mine".to_owned(),
        "a/.emberkeep".to_owned(),
        String::new(),
    ]);
    for name in names {
        let answer = stack.api().ask_to_manage(&name).await;
        answer.refused(400, "badRequest", "");
    }
    assert_eq!(stack.api().volumes().await, []);
}

#[tokio::test]
async fn links_among_the_volumes_are_not_followed() {
    let outside = TempDir::new().expect("a directory can be made");
    std::fs::write(outside.path().join("secret.raw"), noise(1, 10_000)).expect("it can be written");
    let stack = TestStack::start().await;
    let file_link = stack.file_to_manage("link.raw");
    symlink(outside.path().join("secret.raw"), &file_link).expect("a link can be made");
    symlink(outside.path(), stack.file_to_manage("folder")).expect("a link can be made");
    for reference in ["link.raw", "folder/secret.raw"] {
        let answer = stack.api().ask_to_manage(reference).await.expect(202);
        let id = answer["volume"]["id"]
            .as_str()
            .and_then(|id| id.parse().ok());
        let id = id.expect("an id");
        stack.api().until_volume(id, VolumeStatus::Error).await;
        stack.api().delete_volume(id).await;
    }
    assert!(file_link.is_symlink(), "what was never taken over stays");
    // A volume that becomes a link later is not followed either, to read or to write.
    let target = stack.managed_volume("honest.raw", &noise(2, 10_000)).await;
    let good = stack.api().back_up(target).await;
    let honest = stack.volumes().join("honest.raw");
    std::fs::remove_file(&honest).expect("a file can be removed");
    symlink(outside.path().join("secret.raw"), &honest).expect("a link can be made");
    let backup = stack.api().create_backup(&NewBackup::of(target)).await;
    stack.api().until_backup(backup, BackupStatus::Error).await;
    stack
        .api()
        .until_volume(target, VolumeStatus::Available)
        .await;
    let path = format!("/v3/backups/{}/restore", good.id);
    let body = json!({"restore": {"volume_id": target.to_string()}});
    stack.api().post(&path, body).await.expect(202);
    stack
        .api()
        .until_volume(target, VolumeStatus::ErrorRestoring)
        .await;
    let secret = std::fs::read(outside.path().join("secret.raw")).expect("it can be read");
    assert_eq!(secret, noise(1, 10_000));
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn links_on_the_target_are_not_followed() {
    let outside = TempDir::new().expect("a directory can be made");
    let stack = TestStack::start().await;
    let root = stack.target().root();
    std::fs::create_dir(root.join("box")).expect("a directory can be made");
    symlink(outside.path(), root.join("link")).expect("a link can be made");
    symlink(outside.path(), root.join("box/link")).expect("a link can be made");
    let id = stack.managed_volume("v.raw", &noise(1, 10_000)).await;
    for container in ["link", "link/inner", "box/link", "box/link/inner"] {
        let wanted = NewBackup {
            container: Some(container.to_owned()),
            ..NewBackup::of(id)
        };
        let backup = stack.api().create_backup(&wanted).await;
        let backup = stack.api().until_backup(backup, BackupStatus::Error).await;
        assert!(backup.fail_reason.is_some(), "{container}");
        assert_empty(outside.path());
        stack.api().until_volume(id, VolumeStatus::Available).await;
    }
    std::fs::remove_file(root.join("link")).expect("a link can be removed");
    std::fs::remove_file(root.join("box/link")).expect("a link can be removed");
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_target_without_its_marker_is_not_written_to() {
    let stack = TestStack::start().await;
    let id = stack.managed_volume("v.raw", &noise(1, 10_000)).await;
    let marker = stack.target().root().join(".emberkeep-target");
    let aside = stack.volumes().with_file_name("marker");
    std::fs::rename(&marker, &aside).expect("a marker can be moved");
    let backup = stack.api().create_backup(&NewBackup::of(id)).await;
    until("the worker to have tried", async || {
        let log = stack.worker(1).log();
        log.contains("is not this deployment's").then_some(())
    })
    .await;
    assert_empty(stack.target().root());
    // An unmounted share may come back; then the backup is made.
    std::fs::rename(&aside, &marker).expect("a marker can be moved back");
    stack
        .api()
        .until_backup(backup, BackupStatus::Available)
        .await;
    stack.assert_nothing_left_behind().await;
}
