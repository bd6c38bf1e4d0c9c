//! Imports: records whose data is on the target already, and what they may never do to others.

use common::domain::{ObjectPrefix, VolumeId};
use common::messages::sheet::{CleanScope, DeleteSheet};

use super::*;

/// A record of a backup that some other cloud made.
fn foreign(parent_id: Option<BackupId>) -> ImportedRecord {
    let id = BackupId::new();
    let volume = VolumeId::new();
    let time = "2025-01-01T00:00:00Z".parse().unwrap();
    ImportedRecord {
        service: "cinder.backup.drivers.posix.PosixBackupDriver".to_owned(),
        id,
        size_gib: 1,
        data: Some(ImportedData {
            volume_id: volume,
            object_count: 2,
            availability_zone: Some("mars".to_owned()),
            container: ContainerName::from_backup_id(id),
            prefix: ObjectPrefix::for_attempt(volume, time, id),
            name: Some("old".to_owned()),
            description: None,
            parent_id,
            snapshot_id: None,
            data_timestamp: None,
            metadata: BTreeMap::new(),
            restore_volume_id: None,
            created_at: Some(time),
            updated_at: None,
        }),
    }
}

/// A record of a backup that is here, under an id.
fn again(row: &BackupRow, id: BackupId) -> ImportedRecord {
    let mut record = foreign(row.parent_id);
    record.id = id;
    let data = record.data.as_mut().unwrap();
    data.volume_id = row.volume_id;
    data.container = row.container.clone().unwrap();
    data.prefix = row.prefix.clone().unwrap();
    record
}

async fn import(world: &World, record: ImportedRecord) -> Result<BackupRow, RequestError> {
    world.store.import_backup(&world.caller, record).await
}

async fn refused(world: &World, record: ImportedRecord) -> Refusal {
    refusal(import(world, record).await.unwrap_err())
}

async fn restore(world: &World, id: BackupId) -> Result<RestoreStarted, RequestError> {
    let request = RestoreRequest::default();
    let store = &world.store;
    store
        .restore_backup(&world.caller, &Scope::All, id, request)
        .await
}

/// Lets a worker take the delete of a backup; it has not finished.
async fn granted_delete(
    world: &World,
    id: BackupId,
) -> (common::messages::rpc::Fence, DeleteSheet) {
    let (fence, grant) = world.grant(world.job_of(id).await.id).await;
    let Sheet::Delete(sheet) = grant.sheet else {
        panic!("a delete has a delete's sheet");
    };
    (fence, sheet)
}

#[tokio::test]
async fn an_imported_backup_is_available_and_the_importers() {
    let world = World::new().await;
    let record = foreign(None);
    let row = import(&world, record.clone()).await.unwrap();
    assert_eq!(row.status, BackupStatus::Available);
    assert_eq!(row, world.reload(record.id).await);
    let data = record.data.unwrap();
    assert_eq!(row.project_id, world.caller.project_id);
    assert_eq!(row.prefix, Some(data.prefix));
    assert_eq!(row.data_timestamp, data.created_at);
    assert_eq!(row.availability_zone.as_deref(), Some("nova"));
    let events = messages_of(&world, "backup.available").await;
    assert_eq!(events.len(), 1);

    let started = restore(&world, row.id).await.unwrap();
    let (_, grant) = world.grant(world.job_of(row.id).await.id).await;
    let Sheet::Restore(sheet) = grant.sheet else {
        panic!("a restore has a restore's sheet");
    };
    assert_eq!(sheet.volume.volume_id, started.volume_id);
    assert_eq!(sheet.chain[0].prefix, row.prefix.unwrap());
}

#[tokio::test]
async fn an_id_that_lives_is_taken_and_a_deleted_one_comes_back() {
    let world = World::new().await;
    let volume = world.volume().await;
    let row = world.available(volume.id, false).await;
    let record = again(&row, row.id);
    assert_eq!(refused(&world, record.clone()).await, Refusal::BackupExists);
    delete(&world, row.id, false).await.unwrap();
    assert_eq!(refused(&world, record.clone()).await, Refusal::BackupExists);
    work_off_delete(&world, row.id).await;
    let back = import(&world, record).await.unwrap();
    assert_eq!(back.status, BackupStatus::Available);
    assert!(!back.delete_began);
    assert_eq!(back, world.reload(row.id).await);
    // What was queued to clean up after its first life spares what it lives from now.
    world.turn(SignedDuration::from_hours(1));
    for clean in world.cleans().await {
        let (_, grant) = world.grant(clean.id).await;
        let Sheet::Clean(sheet) = grant.sheet else {
            panic!("a clean has a clean's sheet");
        };
        assert_eq!(sheet.scope, CleanScope::ScratchOnly);
    }
    delete(&world, row.id, false).await.unwrap();
    work_off_delete(&world, row.id).await;
}

#[tokio::test]
async fn the_last_of_two_records_of_the_same_data_takes_it_along() {
    let world = World::new().await;
    let volume = world.volume().await;
    for original_first in [true, false] {
        let original = world.available(volume.id, false).await;
        let copy = import(&world, again(&original, BackupId::new()))
            .await
            .unwrap();
        let (first, second) = match original_first {
            true => (original.id, copy.id),
            false => (copy.id, original.id),
        };
        delete(&world, first, false).await.unwrap();
        let (fence, sheet) = granted_delete(&world, first).await;
        assert!(!sheet.objects_too, "the other record lives from them");
        world.finish(fence, Outcome::Deleted).await;
        assert!(world.is_gone(first).await);
        assert!(restore_sheet_names(&world, second, original.prefix.as_ref()).await);
        delete(&world, second, false).await.unwrap();
        work_off_delete(&world, second).await;
    }
}

/// Restores a backup as a worker does, and says whether that reads the data under this prefix.
async fn restore_sheet_names(world: &World, id: BackupId, prefix: Option<&ObjectPrefix>) -> bool {
    restore(world, id).await.unwrap();
    let (fence, grant) = world.grant(world.job_of(id).await.id).await;
    let Sheet::Restore(sheet) = grant.sheet else {
        panic!("a restore has a restore's sheet");
    };
    let restored = Outcome::Restored { volume_meta: None };
    world.finish(fence, restored).await;
    Some(&sheet.chain[0].prefix) == prefix
}

#[tokio::test]
async fn of_two_records_deleted_together_one_takes_the_data_along() {
    let world = World::new().await;
    let volume = world.volume().await;
    let original = world.available(volume.id, false).await;
    let copy = import(&world, again(&original, BackupId::new()))
        .await
        .unwrap();
    delete(&world, original.id, false).await.unwrap();
    delete(&world, copy.id, false).await.unwrap();
    work_off_delete(&world, original.id).await;
    work_off_delete(&world, copy.id).await;
}

#[tokio::test]
async fn data_that_is_being_made_or_removed_is_no_backup_to_import() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (row, job) = world.creating(volume.id).await;
    let copy = || again(&row, BackupId::new());
    assert_eq!(refused(&world, copy()).await, Refusal::DataInMotion);
    let (fence, _) = world.grant(job.id).await;
    world.complete(fence).await;
    let kept = import(&world, copy()).await.unwrap();
    delete(&world, row.id, false).await.unwrap();
    assert_eq!(refused(&world, copy()).await, Refusal::DataInMotion);
    let (fence, sheet) = granted_delete(&world, row.id).await;
    assert!(!sheet.objects_too);
    world.finish(fence, Outcome::Deleted).await;
    import(&world, copy()).await.unwrap();
    world.backup_is(kept.id, BackupStatus::Available).await;
}

#[tokio::test]
async fn a_chain_is_imported_in_any_order_and_restores_when_it_is_whole() {
    let world = World::new().await;
    let full = foreign(None);
    let middle = foreign(Some(full.id));
    let newest = foreign(Some(middle.id));
    let (full_id, middle_id, newest_id) = (full.id, middle.id, newest.id);
    import(&world, newest).await.unwrap();
    import(&world, full).await.unwrap();
    let missing = refusal(restore(&world, newest_id).await.unwrap_err());
    assert_eq!(missing, Refusal::ParentMissing(middle_id));
    import(&world, middle).await.unwrap();
    restore(&world, newest_id).await.unwrap();
    for (id, dependents) in [(full_id, 1), (middle_id, 1), (newest_id, 0)] {
        assert_eq!(world.reload(id).await.dependents, dependents);
    }
    let kept = refusal(delete(&world, full_id, true).await.unwrap_err());
    assert_eq!(kept, Refusal::HasDependents);
}

#[tokio::test]
async fn an_increment_builds_on_an_imported_backup_only_if_its_chain_is_here() {
    let world = World::new().await;
    let volume = world.volume().await;
    let mut record = foreign(Some(BackupId::new()));
    record.data.as_mut().unwrap().volume_id = volume.id;
    let missing = record.data.as_ref().unwrap().parent_id.unwrap();
    let imported = import(&world, record).await.unwrap();
    let incremental = NewBackup {
        incremental: true,
        ..world.new_backup(volume.id)
    };
    let asked = world
        .store
        .create_backup(&world.caller, incremental)
        .await
        .unwrap_err();
    assert_eq!(refusal(asked), Refusal::ParentMissing(missing));
    let mut parent = foreign(None);
    parent.id = missing;
    import(&world, parent).await.unwrap();
    let child = world.available(volume.id, true).await;
    assert_eq!(child.parent_id, Some(imported.id));
}

#[tokio::test]
async fn a_chain_neither_bites_its_tail_nor_hangs_on_what_goes_away() {
    let world = World::new().await;
    let mut own_parent = foreign(None);
    own_parent.data.as_mut().unwrap().parent_id = Some(own_parent.id);
    assert_eq!(refused(&world, own_parent).await, Refusal::ParentLoop);

    let mut first = foreign(None);
    let second = foreign(Some(first.id));
    let third = foreign(Some(second.id));
    first.data.as_mut().unwrap().parent_id = Some(third.id);
    import(&world, third).await.unwrap();
    import(&world, second).await.unwrap();
    assert_eq!(refused(&world, first).await, Refusal::ParentLoop);

    let parent = import(&world, foreign(None)).await.unwrap();
    delete(&world, parent.id, false).await.unwrap();
    let child = foreign(Some(parent.id));
    let refusal = refused(&world, child).await;
    assert_eq!(refusal, Refusal::ParentDeleting(parent.id));
}

#[tokio::test]
async fn a_record_that_nobody_serves_ends_in_error_and_can_be_deleted() {
    let world = World::new().await;
    let mut record = foreign(None);
    record.data = None;
    let row = import(&world, record).await.unwrap();
    assert_eq!(row.status, BackupStatus::Error);
    assert!(
        row.fail_reason
            .as_ref()
            .unwrap()
            .contains("Request service")
    );
    let reset = world
        .store
        .reset_backup_status(&world.caller, &Scope::All, row.id, BackupStatus::Available)
        .await;
    assert_eq!(refusal(reset.unwrap_err()), Refusal::NothingToReset);
    delete(&world, row.id, false).await.unwrap();
    assert!(world.is_gone(row.id).await);
}

#[tokio::test]
async fn an_import_counts_against_the_quota() {
    let world = World::with(|settings| settings.quota.backups = 1).await;
    import(&world, foreign(None)).await.unwrap();
    let over = refused(&world, foreign(None)).await;
    assert_eq!(over, Refusal::BackupQuota { limit: 1 });
}

/// A backup that failed, its attempt given up, and the clean that is due for it.
async fn failed_with_clean(world: &World) -> (BackupRow, JobRow) {
    let volume = world.volume().await;
    let (row, job) = world.creating(volume.id).await;
    let (fence, _) = world.grant(job.id).await;
    let fail = Fail {
        fence,
        cause: FailCause::Lasting,
        reason: "it cannot be read".to_owned(),
    };
    let _: Failed = world.ask(fail).await;
    let reason = "it cannot be read".to_owned();
    world.finish(fence, Outcome::Failed { reason }).await;
    world.turn(SignedDuration::from_secs(1));
    let due = world.store.waiting_jobs().await.unwrap();
    let clean = due.into_iter().find(|job| job.backup_id == Some(row.id));
    (world.reload(row.id).await, clean.unwrap())
}

async fn clean_scope(world: &World, job: &JobRow) -> (common::messages::rpc::Fence, CleanScope) {
    let (fence, grant) = world.grant(job.id).await;
    let Sheet::Clean(sheet) = grant.sheet else {
        panic!("a clean has a clean's sheet");
    };
    (fence, sheet.scope)
}

#[tokio::test]
async fn a_clean_that_waits_spares_what_was_imported_under_its_names() {
    let world = World::new().await;
    let (failed, clean) = failed_with_clean(&world).await;
    let record = again(&failed, BackupId::new());
    import(&world, record).await.unwrap();
    let (_, scope) = clean_scope(&world, &clean).await;
    assert_eq!(scope, CleanScope::ScratchOnly);
}

#[tokio::test]
async fn data_that_a_clean_is_removing_is_not_imported_before_that_is_over() {
    let world = World::new().await;
    let (failed, clean) = failed_with_clean(&world).await;
    let record = again(&failed, BackupId::new());
    let (_, scope) = clean_scope(&world, &clean).await;
    assert_eq!(scope, CleanScope::Everything);
    assert_eq!(refused(&world, record.clone()).await, Refusal::DataInMotion);

    // Its worker falls silent: it may still be removing, whoever comes next.
    world.end_lease(clean.id).await;
    assert_eq!(refused(&world, record.clone()).await, Refusal::DataInMotion);
    let (fence, _) = clean_scope(&world, &clean).await;
    world.finish(fence, Outcome::Cleaned).await;
    assert_eq!(refused(&world, record.clone()).await, Refusal::DataInMotion);
    // Two leases later it has found out.
    world.turn(SignedDuration::from_secs(121));
    import(&world, record.clone()).await.unwrap();

    // With one record alive, a second one of the same data harms nobody.
    let later = world.cleans().await;
    let later = later
        .iter()
        .find(|job| job.backup_id == Some(failed.id))
        .unwrap();
    let (_, scope) = clean_scope(&world, later).await;
    assert_eq!(scope, CleanScope::ScratchOnly);
    let second = again(&failed, BackupId::new());
    import(&world, second).await.unwrap();
}

#[tokio::test]
async fn data_of_a_delete_that_began_and_failed_is_not_imported() {
    let world = World::new().await;
    let volume = world.volume().await;
    let row = world.available(volume.id, false).await;
    delete(&world, row.id, false).await.unwrap();
    let (fence, _) = granted_delete(&world, row.id).await;
    let reason = "the target does not answer".to_owned();
    world.finish(fence, Outcome::Failed { reason }).await;
    world.backup_is(row.id, BackupStatus::Error).await;
    let record = again(&row, BackupId::new());
    assert_eq!(refused(&world, record).await, Refusal::DataInMotion);
}
