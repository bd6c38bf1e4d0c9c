//! Creating backups: what is accepted, what is refused, and how a creation ends.

use super::*;

#[tokio::test]
async fn an_accepted_backup_has_its_row_its_names_its_job_and_its_doorbell() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (backup, job) = world.creating(volume.id).await;
    assert_eq!(backup.status, BackupStatus::Creating);
    assert_eq!(
        backup.container,
        Some(ContainerName::from_backup_id(backup.id))
    );
    assert_eq!(job.queue.to_string(), "backup.nova.fast");
    assert_eq!(job.state, JobState::Queued);
    let now = world.reload_volume(volume.id).await;
    assert_eq!(now.status, VolumeStatus::BackingUp);
    assert_eq!(now.previous_status, Some(VolumeStatus::Available));
    let rows = world.store.due_messages(100).await.unwrap();
    let rings = rows.iter().filter(|row| row.job_id == Some(job.id));
    assert_eq!(rings.count(), 1);
    assert_eq!(messages_of(&world, "backup.").await, ["backup.creating.v1"]);
}

#[tokio::test]
async fn a_refused_backup_leaves_nothing() {
    let world = World::with(|settings| settings.quota.backups = 0).await;
    let volume = world.volume().await;
    let new = world.new_backup(volume.id);
    let refused = world.store.create_backup(&world.caller, new).await;
    assert_eq!(
        refusal(refused.unwrap_err()),
        Refusal::BackupQuota { limit: 0 }
    );
    world.volume_is(volume.id, VolumeStatus::Available).await;
    let page = world.store.backups(&Scope::All, &Listing::default()).await;
    assert!(page.unwrap().rows.is_empty());
    assert!(messages_of(&world, "backup.").await.is_empty());
}

#[tokio::test]
async fn the_checks_come_in_the_contracts_order() {
    let world = World::with(|settings| settings.quota.backups = 0).await;
    let volume = world.volume().await;
    let create = |new| world.store.create_backup(&world.caller, new);
    // Not there comes first, then the state, then quota, then the parent.
    let unknown = create(NewBackup {
        snapshot_id: Some(SnapshotId::new()),
        ..world.new_backup(VolumeId::new())
    });
    assert!(is_missing(unknown.await, Resource::Volume));
    let unknown = create(NewBackup {
        snapshot_id: Some(SnapshotId::new()),
        ..world.new_backup(volume.id)
    });
    assert!(is_missing(unknown.await, Resource::Snapshot));
    let incremental = NewBackup {
        incremental: true,
        ..world.new_backup(volume.id)
    };
    let refused = create(incremental.clone()).await.unwrap_err();
    assert_eq!(refusal(refused), Refusal::BackupQuota { limit: 0 });
    world
        .store
        .attach_volume(&Scope::All, volume.id, Some("vm".to_owned()), None, None)
        .await
        .unwrap();
    let refused = create(incremental).await.unwrap_err();
    assert_eq!(refusal(refused), Refusal::InUseNeedsForce);
}

#[tokio::test]
async fn an_incremental_needs_a_parent() {
    let world = World::new().await;
    let volume = world.volume().await;
    let new = NewBackup {
        incremental: true,
        ..world.new_backup(volume.id)
    };
    let refused = world.store.create_backup(&world.caller, new).await;
    assert_eq!(refusal(refused.unwrap_err()), Refusal::NoParent);
    let full = world.available(volume.id, false).await;
    let child = world.available(volume.id, true).await;
    assert_eq!(child.parent_id, Some(full.id));
    let grandchild = world.available(volume.id, true).await;
    assert_eq!(grandchild.parent_id, Some(child.id));
    assert_eq!(world.reload(full.id).await.dependents, 1);
}

#[tokio::test]
async fn a_forced_backup_gives_the_volume_back_in_use() {
    let world = World::new().await;
    let volume = world.volume().await;
    let store = &world.store;
    store
        .attach_volume(&Scope::All, volume.id, Some("vm".to_owned()), None, None)
        .await
        .unwrap();
    let new = NewBackup {
        force: true,
        ..world.new_backup(volume.id)
    };
    let row = store.create_backup(&world.caller, new).await.unwrap();
    let (fence, grant) = world.grant(world.job_of(row.id).await.id).await;
    let Sheet::Backup(sheet) = grant.sheet else {
        panic!("a backup has a backup's sheet");
    };
    assert!(sheet.in_use);
    assert!(store.detach_volume(&Scope::All, volume.id).await.is_err());
    world.complete(fence).await;
    world.volume_is(volume.id, VolumeStatus::InUse).await;
}

#[tokio::test]
async fn a_backup_in_a_zone_never_seen_is_in_error_at_once() {
    let world = World::new().await;
    let volume = world.volume().await;
    for zone in ["mars", "No Such Zone!"] {
        let new = NewBackup {
            availability_zone: Some(zone.to_owned()),
            ..world.new_backup(volume.id)
        };
        let row = world.store.create_backup(&world.caller, new).await.unwrap();
        let row = world.reload(row.id).await;
        assert_eq!(row.status, BackupStatus::Error);
        assert_eq!(
            row.fail_reason.unwrap(),
            "Service not found for creating backup."
        );
        world.volume_is(volume.id, VolumeStatus::Available).await;
        // Nobody ever touched it, so nobody is needed to remove it.
        delete(&world, row.id, false).await.unwrap();
        assert!(world.is_gone(row.id).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn quota_is_never_passed_by_two_creates_at_once() {
    let world = World::with(|settings| {
        settings.quota.backups = 3;
    })
    .await;
    let mut volumes = Vec::new();
    for _ in 0..8 {
        volumes.push(world.volume().await.id);
    }
    let mut creates = tokio::task::JoinSet::new();
    for volume in volumes {
        let store = world.store.clone();
        let caller = world.caller.clone();
        let new = world.new_backup(volume);
        creates.spawn(async move { store.create_backup(&caller, new).await });
    }
    let mut accepted = 0;
    for created in creates.join_all().await {
        match created {
            Ok(_) => accepted += 1,
            Err(error) => assert_eq!(refusal(error), Refusal::BackupQuota { limit: 3 }),
        }
    }
    assert_eq!(accepted, 3);
    let usage = world.store.quota_usage(&"p".into()).await.unwrap();
    assert_eq!(usage.backups.count, 3);
}

#[tokio::test]
async fn a_failed_creation_says_why_and_gives_the_volume_back() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (backup, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    let fail = Fail {
        fence,
        cause: FailCause::Lasting,
        reason: "the volume's file is gone".to_owned(),
    };
    assert_eq!(world.ask::<Failed>(fail).await, Failed::Recorded);
    let reason = "the volume's file is gone".to_owned();
    world.finish(fence, Outcome::Failed { reason }).await;
    let row = world.reload(backup.id).await;
    assert_eq!(row.status, BackupStatus::Error);
    assert_eq!(row.fail_reason.unwrap(), "the volume's file is gone");
    world.volume_is(volume.id, VolumeStatus::Available).await;
    let events = messages_of(&world, "backup.").await;
    assert_eq!(events, ["backup.creating.v1", "backup.error.v1"]);
    assert!(
        messages_of(&world, "volume.")
            .await
            .contains(&"volume.backing-up.v1".to_owned())
    );
}
