//! What rows promise to each other, to their owners and to lists.

use common::domain::Incarnation;

use super::*;
use crate::testing::worker;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_jobs_never_share_a_volume() {
    let world = World::new().await;
    let volume = world.volume().await;
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let store = world.store.clone();
        let caller = world.caller.clone();
        let new = world.new_backup(volume.id);
        tries.spawn(async move { store.create_backup(&caller, new).await });
    }
    let results = tries.join_all().await;
    let accepted = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(accepted, 1);
    // Even an administrator's reset does not let a second job at it, nor the volume go.
    let store = &world.store;
    store
        .reset_volume_status(&Scope::All, volume.id, VolumeStatus::Available)
        .await
        .unwrap();
    let again = store.create_backup(&world.caller, world.new_backup(volume.id));
    assert_eq!(refusal(again.await.unwrap_err()), Refusal::Busy);
    let gone = store.delete_volume(&world.caller, &Scope::All, volume.id, Deleting::default());
    assert_eq!(refusal(gone.await.unwrap_err()), Refusal::Busy);
    // The database itself holds the law.
    let job = world.job_of_volume(volume.id).await;
    let mut tx = store.write().await.unwrap();
    let second = tx
        .add_job(jobs::NewJob {
            queue: job.queue.clone(),
            backup_id: None,
            volume_id: Some(volume.id),
            snapshot_id: None,
            attempt: None,
            details: job.details.clone(),
            caller: &world.caller,
            next_at: None,
        })
        .await;
    assert!(second.unwrap_err().is_unique_violation());
}

#[tokio::test]
async fn a_reset_volume_is_not_touched_by_the_job_it_was_taken_from() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    world
        .store
        .reset_volume_status(&Scope::All, volume.id, VolumeStatus::Error)
        .await
        .unwrap();
    world.complete(fence).await;
    world.volume_is(volume.id, VolumeStatus::Error).await;
}

#[tokio::test]
async fn a_reset_volume_is_not_attached_while_a_job_still_has_it() {
    let world = World::new().await;
    let store = &world.store;
    let volume = world.volume().await;
    let (_, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    let reset = store.reset_volume_status(&Scope::All, volume.id, VolumeStatus::Available);
    reset.await.unwrap();
    let server = || Some("806e5089-97cc-4d9e-94fc-9b13d737ae97".to_owned());
    let attach = || store.attach_volume(&Scope::All, volume.id, server(), None, None);
    assert_eq!(refusal(attach().await.unwrap_err()), Refusal::Busy);
    world.complete(fence).await;
    attach().await.unwrap();
}

#[tokio::test]
async fn another_project_neither_sees_nor_touches_a_backup() {
    let world = World::new().await;
    let volume = world.volume().await;
    let backup = world.available(volume.id, false).await;
    let stranger = caller("other");
    let scope = Scope::Project("other".into());
    let store = &world.store;
    assert!(is_missing(
        store.backup(&scope, backup.id).await,
        Resource::Backup
    ));
    let deleted = store.delete_backup(&stranger, &scope, backup.id, true);
    assert!(is_missing(deleted.await, Resource::Backup));
    let cancelled = store.cancel_backup(&scope, backup.id);
    assert!(is_missing(cancelled.await, Resource::Backup));
    let request = RestoreRequest::default();
    let restored = store.restore_backup(&stranger, &scope, backup.id, request);
    assert!(is_missing(restored.await, Resource::Backup));
    let changed = store.update_backup(&scope, backup.id, BackupChanges::default());
    assert!(is_missing(changed.await, Resource::Backup));
    let create = store.create_backup(&stranger, world.new_backup(volume.id));
    assert!(is_missing(create.await, Resource::Volume));
    let listing = Listing {
        marker: Some(backup.id.to_string()),
        ..Listing::default()
    };
    assert!(is_missing(
        store.backups(&scope, &listing).await,
        Resource::Backup
    ));
    let seen = store.backups(&scope, &Listing::default()).await.unwrap();
    assert!(seen.rows.is_empty());
}

#[tokio::test]
async fn one_piece_of_data_has_one_record() {
    let world = World::new().await;
    let store = &world.store;
    let source = VolumeSource::new("disks/a.img").unwrap();
    let manage = || store.manage_volume(&world.caller, source.clone(), NewVolume::default());
    let first = manage().await.unwrap();
    let second = manage().await.unwrap_err();
    assert!(matches!(refusal(second), Refusal::AlreadyManaged { .. }));
    let (fence, _) = world.grant(world.job_of_volume(first.id).await.id).await;
    let outcome = Outcome::VolumeDone {
        source: source.clone(),
        size_gib: 7,
    };
    world.finish(fence, outcome).await;
    let row = world.reload_volume(first.id).await;
    assert_eq!((row.status, row.size_gib), (VolumeStatus::Available, 7));
    store
        .delete_volume(&world.caller, &Scope::All, first.id, Deleting::default())
        .await
        .unwrap();
    let (fence, _) = world.grant(world.job_of_volume(first.id).await.id).await;
    let outcome = Outcome::VolumeDone {
        source: source.clone(),
        size_gib: 7,
    };
    world.finish(fence, outcome).await;
    assert!(is_missing(
        store.volume(&Scope::All, first.id).await,
        Resource::Volume
    ));
    manage().await.unwrap();
}

#[tokio::test]
async fn lists_page_through_everything_once_in_any_order() {
    let world = World::new().await;
    let store = &world.store;
    let volume = world.volume().await;
    for index in 0..7 {
        let new = NewBackup {
            name: (index % 3 != 0).then(|| format!("n{}", index % 3)),
            availability_zone: Some("mars".to_owned()),
            ..world.new_backup(volume.id)
        };
        store.create_backup(&world.caller, new).await.unwrap();
    }
    let orders = [
        vec![],
        vec![(Column::Name, Direction::Ascending)],
        vec![
            (Column::Name, Direction::Descending),
            (Column::SizeGib, Direction::Ascending),
        ],
    ];
    for sort in orders {
        let all = Listing {
            sort: sort.clone(),
            ..Listing::default()
        };
        let all = store.backups(&Scope::All, &all).await.unwrap().rows;
        assert_eq!(all.len(), 7);
        let mut paged = Vec::new();
        loop {
            let listing = Listing {
                sort: sort.clone(),
                limit: Some(2),
                marker: paged.last().map(|row: &BackupRow| row.id.to_string()),
                with_count: true,
                ..Listing::default()
            };
            let page = store.backups(&Scope::All, &listing).await.unwrap();
            assert_eq!(page.count, Some(7));
            if page.rows.is_empty() {
                break;
            }
            paged.extend(page.rows);
        }
        assert_eq!(paged, all);
    }
    let named = Listing {
        filters: vec![(Column::Name, "n1".to_owned())],
        ..Listing::default()
    };
    assert_eq!(
        store.backups(&Scope::All, &named).await.unwrap().rows.len(),
        2
    );
    let hostile = Listing {
        filters: vec![(Column::Name, "' OR 1=1 --".to_owned())],
        ..Listing::default()
    };
    let rows = store.backups(&Scope::All, &hostile).await.unwrap().rows;
    assert!(rows.is_empty());
}

#[tokio::test]
async fn a_file_has_one_server_and_a_database_server_any_number() {
    let world = World::new().await;
    let volume = world.volume().await;
    let clock = Arc::new(common::domain::SystemClock);
    let second = Store::open(Arc::clone(&world.settings), clock).await;
    if postgres().is_some() {
        let seen = second.unwrap().volume(&Scope::All, volume.id).await;
        assert_eq!(seen.unwrap(), volume);
    } else {
        assert!(matches!(second, Err(StoreError::Locked { .. })));
    }
    world.store.close().await;
}

#[tokio::test]
async fn what_is_known_of_a_later_run_of_a_worker_is_not_replaced_by_an_earlier() {
    let world = World::new().await;
    let (old, new) = (Incarnation::new(), Incarnation::new());
    let saw = async |incarnation, stopped| {
        let mut tx = world.store.write().await.unwrap();
        let data = worker("late", incarnation);
        tx.saw_worker(&data, stopped).await.unwrap();
        tx.commit().await.unwrap();
        let rows = world.store.workers().await.unwrap();
        let row = rows.into_iter().find(|row| row.name.as_str() == "late");
        let row = row.unwrap();
        (row.incarnation, row.stopped_at.is_some())
    };
    assert_eq!(saw(old, false).await, (old, false));
    assert_eq!(saw(new, false).await, (new, false));
    assert_eq!(saw(old, true).await, (new, false));
    assert_eq!(saw(new, true).await, (new, true));
    assert_eq!(saw(new, false).await, (new, true));
}

#[tokio::test]
async fn a_text_with_a_nul_is_kept_without_it() {
    let world = World::new().await;
    let volume = world.volume().await.id;
    let (backup, job) = world.creating(volume).await;
    let (fence, _) = world.grant(job.id).await;
    let reason = "odd\0name".to_owned();
    world.finish(fence, Outcome::Failed { reason }).await;
    let row = world.reload(backup.id).await;
    assert_eq!(row.fail_reason.as_deref(), Some("odd\u{fffd}name"));
    let odd = Listing {
        filters: vec![(Column::Name, "odd\0name".to_owned())],
        ..Listing::default()
    };
    let found = world.store.backups(&Scope::All, &odd).await.unwrap();
    assert!(found.rows.is_empty());
}
