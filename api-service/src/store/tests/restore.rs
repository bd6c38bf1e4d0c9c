//! Restores: to new volumes and over existing ones.

use super::*;

#[tokio::test]
async fn a_restore_makes_a_volume_with_the_sources_metadata() {
    let world = World::new().await;
    let store = &world.store;
    let volume = world.volume().await;
    let changes = VolumeChanges {
        metadata: Some(BTreeMap::from([("k".to_owned(), "v".to_owned())])),
        ..VolumeChanges::default()
    };
    let volume = store
        .update_volume(&Scope::All, volume.id, changes)
        .await
        .unwrap();
    let new = world.new_backup(volume.id);
    let row = store.create_backup(&world.caller, new).await.unwrap();
    let (fence, grant) = world.grant(world.job_of(row.id).await.id).await;
    let Sheet::Backup(sheet) = grant.sheet else {
        panic!("a backup has a backup's sheet");
    };
    let volume_meta = sheet.record.volume_meta;
    world.complete(fence).await;

    let started = store
        .restore_backup(
            &world.caller,
            &Scope::All,
            row.id,
            RestoreRequest::default(),
        )
        .await
        .unwrap();
    assert_eq!(started.volume_name, format!("restore_backup_{}", row.id));
    world.backup_is(row.id, BackupStatus::Restoring).await;
    world
        .volume_is(started.volume_id, VolumeStatus::RestoringBackup)
        .await;
    let job = world.job_of(row.id).await;
    assert_eq!(job.queue.to_string(), "restore.nova.fast");
    let (fence, grant) = world.grant(job.id).await;
    let Sheet::Restore(sheet) = grant.sheet else {
        panic!("a restore has a restore's sheet");
    };
    assert!(sheet.volume_is_new);
    assert_eq!(sheet.chain.len(), 1);
    world.finish(fence, Outcome::Restored { volume_meta }).await;
    world.backup_is(row.id, BackupStatus::Available).await;
    let restored = world.reload_volume(started.volume_id).await;
    assert_eq!(restored.status, VolumeStatus::Available);
    assert_eq!(restored.name.unwrap(), "vol");
    assert_eq!(restored.metadata["k"], "v");
    assert_eq!(restored.metadata["src_backup_id"], row.id.to_string());
}

#[tokio::test]
async fn a_restore_goes_over_a_free_volume_that_is_large_enough() {
    let world = World::new().await;
    let store = &world.store;
    let volume = world.volume().await;
    let backup = world.available(volume.id, false).await;
    let onto = |id| RestoreRequest {
        volume_id: Some(id),
        ..RestoreRequest::default()
    };
    let restore = |id| store.restore_backup(&world.caller, &Scope::All, backup.id, onto(id));
    assert!(is_missing(restore(VolumeId::new()).await, Resource::Volume));
    store
        .attach_volume(&Scope::All, volume.id, Some("vm".to_owned()), None, None)
        .await
        .unwrap();
    let refused = restore(volume.id).await.unwrap_err();
    assert_eq!(refusal(refused), Refusal::TargetNotAvailable);
    store.detach_volume(&Scope::All, volume.id).await.unwrap();

    let started = restore(volume.id).await.unwrap();
    assert_eq!(started.volume_id, volume.id);
    let again = restore(volume.id).await.unwrap_err();
    assert_eq!(refusal(again), Refusal::BackupNotAvailable);
    let (fence, grant) = world.grant(world.job_of(backup.id).await.id).await;
    assert!(matches!(grant.sheet, Sheet::Restore(sheet) if !sheet.volume_is_new));
    let reason = "object 3 is damaged at 32 MiB".to_owned();
    world.finish(fence, Outcome::Failed { reason }).await;
    world
        .volume_is(volume.id, VolumeStatus::ErrorRestoring)
        .await;
    // The backup is as it was, and says what went wrong.
    let row = world.reload(backup.id).await;
    assert_eq!(row.status, BackupStatus::Available);
    assert_eq!(row.fail_reason.unwrap(), "object 3 is damaged at 32 MiB");
}

#[tokio::test]
async fn a_cancelled_restore_leaves_the_backup_and_an_error_volume() {
    let world = World::new().await;
    let store = &world.store;
    let volume = world.volume().await;
    let backup = world.available(volume.id, false).await;
    let request = RestoreRequest::default();
    let started = store
        .restore_backup(&world.caller, &Scope::All, backup.id, request)
        .await
        .unwrap();
    let (fence, _) = world.grant(world.job_of(backup.id).await.id).await;
    store.cancel_backup(&Scope::All, backup.id).await.unwrap();
    world.finish(fence, Outcome::Cancelled).await;
    world.backup_is(backup.id, BackupStatus::Available).await;
    world
        .volume_is(started.volume_id, VolumeStatus::Error)
        .await;
}

#[tokio::test]
async fn a_chain_is_restored_newest_first() {
    let world = World::new().await;
    let volume = world.volume().await;
    let mut expected = Vec::new();
    for depth in 0..5 {
        expected.push(world.available(volume.id, depth > 0).await.id);
    }
    expected.reverse();
    let request = RestoreRequest::default();
    world
        .store
        .restore_backup(&world.caller, &Scope::All, expected[0], request)
        .await
        .unwrap();
    let (_, grant) = world.grant(world.job_of(expected[0]).await.id).await;
    let Sheet::Restore(sheet) = grant.sheet else {
        panic!("a restore has a restore's sheet");
    };
    let chain: Vec<_> = sheet.chain.iter().map(|link| link.backup_id).collect();
    assert_eq!(chain, expected);
}

#[tokio::test]
async fn a_volume_of_a_restore_is_described_from_its_first_moment() {
    let world = World::new().await;
    let volume = world.volume().await;
    let backup = world.available(volume.id, false).await;
    let metadata = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    let request = RestoreRequest {
        description: Some(Some("mine".to_owned())),
        metadata: metadata.clone(),
        ..RestoreRequest::default()
    };
    let (store, caller) = (&world.store, &world.caller);
    let started = store.restore_backup(caller, &Scope::All, backup.id, request);
    let made = world.reload_volume(started.await.unwrap().volume_id).await;
    assert_eq!(made.description.as_deref(), Some("mine"));
    assert_eq!((made.metadata, made.updated_at.is_some()), (metadata, true));
}
