//! Bringing volumes back.

use common::domain::{BackupStatus, GIB, VolumeStatus};
use harness::TestStack;
use harness::volume::{self, MIB, noise, text};
use serde_json::json;

#[tokio::test]
async fn a_restore_into_an_existing_volume_overwrites_all_of_it() {
    let stack = TestStack::start().await;
    let source = stack.volume_with(&text(1, 3_000_000)).await;
    volume::write_at(&stack.file_of(source), 700 * MIB + 5, &noise(2, 100_000));
    let full = stack.api().back_up(source).await;
    volume::write_at(&stack.file_of(source), 1_000_000, &vec![0; 500_000]);
    let incremental = stack.api().back_up_changes(source).await;

    let target = stack.api().create_volume(1).await;
    volume::fill(&stack.file_of(target), GIB, 0xff);
    let answer = stack.api().restore(incremental.id, Some(target)).await;
    assert_eq!(answer.volume_id, target);
    let restored = stack
        .api()
        .until_volume(target, VolumeStatus::Available)
        .await;
    stack
        .api()
        .until_backup(incremental.id, BackupStatus::Available)
        .await;
    volume::assert_same_bytes(&stack.file_of(target), &stack.file_of(source));
    assert_eq!(
        restored.metadata["src_backup_id"],
        incremental.id.to_string()
    );
    assert_eq!(
        stack.api().backup(full.id).await.status,
        BackupStatus::Available
    );
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_restored_volume_has_the_sources_metadata() {
    let stack = TestStack::start().await;
    let wanted = json!({"size": 1, "name": "db", "description": "of the shop", "metadata": {"tier": "gold"}});
    let answer = stack.api().ask_for_volume(wanted).await.expect(202);
    let id = answer["volume"]["id"]
        .as_str()
        .and_then(|id| id.parse().ok())
        .expect("an id");
    stack.api().until_volume(id, VolumeStatus::Available).await;
    let backup = stack.api().back_up(id).await;
    stack.api().delete_volume(id).await;
    let restored = stack.api().bring_back(backup.id).await;
    let restored = stack.api().volume(restored).await;
    assert_eq!(restored.metadata["tier"], "gold");
    assert_eq!(restored.metadata["src_backup_id"], backup.id.to_string());
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_chain_of_ten_and_its_forks_come_back() {
    let stack = TestStack::start().await;
    let mut bytes = text(0, 1_200_000);
    let id = stack.managed_volume("chain.raw", &bytes).await;
    let file = stack.volumes().join("chain.raw");
    let mut points = vec![(stack.api().back_up(id).await.id, bytes.clone())];
    for step in 1..10_usize {
        let change = noise(step as u64, 70_000);
        let offset = step * 110_000;
        bytes[offset..offset + change.len()].copy_from_slice(&change);
        volume::write_at(&file, offset as u64, &change);
        let backup = stack.api().back_up_changes(id).await;
        points.push((backup.id, bytes.clone()));
    }
    for (backup, held) in points.iter().rev().step_by(3) {
        let restored = stack.api().bring_back(*backup).await;
        volume::assert_holds(&stack.file_of(restored), held);
    }
    // A fork: the newest goes, another grows on what was before it.
    let (newest, _) = points.pop().expect("there are ten");
    stack.api().delete_backup(newest).await;
    stack.api().until_gone(newest).await;
    volume::write_at(&file, 0, b"fork");
    bytes[..4].copy_from_slice(b"fork");
    let fork = stack.api().back_up_changes(id).await;
    let restored = stack.api().bring_back(fork.id).await;
    volume::assert_holds(&stack.file_of(restored), &bytes);
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_damaged_object_fails_the_restore_and_is_named() {
    let stack = TestStack::start().await;
    let bytes = text(1, 2_000_000);
    let id = stack.managed_volume("v.raw", &bytes).await;
    let backup = stack.api().back_up(id).await;
    let objects = stack.target().objects_of(backup.id);
    let object = stack.target().root().join(&objects[1]);
    let mut stored = std::fs::read(&object).expect("an object is there");
    let middle = stored.len() / 2;
    stored[middle] ^= 1;
    std::fs::write(&object, stored).expect("an object can be spoilt");

    let mut events = stack.listen("status.#").await;
    let target = stack.api().restore(backup.id, None).await.volume_id;
    stack
        .api()
        .until_volume(target, VolumeStatus::ErrorRestoring)
        .await;
    stack
        .api()
        .until_backup(backup.id, BackupStatus::Available)
        .await;
    let (_, event) = events
        .hear("the failed restore", |event| {
            event.data["fail_reason"].is_string()
        })
        .await;
    let reason = event.data["fail_reason"].as_str().unwrap_or_default();
    let name = objects[1].file_name().expect("a name").to_string_lossy();
    assert!(reason.contains(&*name), "`{reason}` does not name {name}");
    stack.assert_nothing_left_behind().await;
}
