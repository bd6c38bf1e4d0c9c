//! What goes when its time is over, and what must outlive it.

use common::messages::sheet::VolumeAction;

use super::snapshots::{available, delete_snapshot, done, volume_sheet};
use super::*;

const PAST_IT: SignedDuration = SignedDuration::from_hours(31 * 24);

async fn rows(world: &World) -> Vec<(&'static str, u64)> {
    let mut tx = world.store.write().await.unwrap();
    let mut counts = Vec::new();
    for table in [
        "jobs",
        "generations",
        "attempts",
        "backups",
        "snapshots",
        "volumes",
    ] {
        let sql = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) AS n FROM {table}"));
        let row = sqlx::query(sql).fetch_one(tx.conn()).await.unwrap();
        counts.push((table, row::Columns(&row).count("n").unwrap()));
    }
    counts.retain(|(_, count)| *count > 0);
    counts
}

/// Removes until nothing is over.
async fn sweep(world: &World) {
    loop {
        let mut tx = world.store.write().await.unwrap();
        let removed = tx.remove_what_is_over().await.unwrap();
        tx.commit().await.unwrap();
        if removed == 0 {
            return;
        }
    }
}

async fn work_off_cleans(world: &World) {
    world.turn(SignedDuration::from_mins(5));
    for clean in world.cleans().await {
        let (fence, _) = world.grant(clean.id).await;
        world.finish(fence, Outcome::Cleaned).await;
    }
}

async fn delete_volume(world: &World, id: VolumeId) {
    let (store, how) = (&world.store, Deleting::default());
    store
        .delete_volume(&world.caller, &Scope::All, id, how)
        .await
        .unwrap();
    let (fence, grant) = world.grant(world.job_of_volume(id).await.id).await;
    let sheet = volume_sheet(grant.sheet);
    assert_eq!(sheet.action, VolumeAction::Delete);
    world.finish(fence, done(&sheet)).await;
}

#[tokio::test]
async fn of_what_is_deleted_nothing_is_left_after_its_time() {
    let world = World::new().await;
    let volume = world.volume().await;
    let snapshot = available(&world, volume.id).await;
    let parent = world.available(volume.id, false).await;
    let child = world.available(volume.id, true).await;
    for backup in [child.id, parent.id] {
        delete(&world, backup, false).await.unwrap();
        work_off_delete(&world, backup).await;
    }
    delete_snapshot(&world, snapshot.id).await.unwrap();
    let mut tx = world.store.write().await.unwrap();
    let job = tx.unsettled_job_of_snapshot(snapshot.id).await.unwrap();
    drop(tx);
    let (fence, grant) = world.grant(job.unwrap().id).await;
    world.finish(fence, done(&volume_sheet(grant.sheet))).await;
    delete_volume(&world, volume.id).await;
    work_off_cleans(&world).await;

    let before = rows(&world).await;
    sweep(&world).await;
    assert_eq!(rows(&world).await, before, "its time is not over");
    world.turn(PAST_IT);
    sweep(&world).await;
    assert_eq!(rows(&world).await, []);
}

#[tokio::test]
async fn what_lives_keeps_all_that_is_needed_of_it() {
    let world = World::new().await;
    let volume = world.volume().await;
    let backup = world.available(volume.id, false).await;
    // A clean of it may still have to find the volume's backend.
    delete_volume(&world, volume.id).await;
    let (waiting, _) = {
        let other = world.volume().await;
        world.creating(other.id).await
    };
    world.turn(PAST_IT);
    sweep(&world).await;
    assert_eq!(
        rows(&world).await,
        [("jobs", 1), ("attempts", 2), ("backups", 2), ("volumes", 2)]
    );
    world.backup_is(waiting.id, BackupStatus::Creating).await;
    delete(&world, backup.id, false).await.unwrap();
    work_off_delete(&world, backup.id).await;
}

#[tokio::test]
async fn data_whose_jobs_are_long_over_is_still_removed_by_a_worker() {
    let world = World::new().await;
    let store = &world.store;
    let volume = world.volume().await;
    let snapshot = available(&world, volume.id).await;
    let backup = world.available(volume.id, false).await;
    let request = RestoreRequest::default();
    let restored = store.restore_backup(&world.caller, &Scope::All, backup.id, request);
    let restored = restored.await.unwrap().volume_id;
    let (fence, _) = world.grant(world.job_of(backup.id).await.id).await;
    let volume_meta = None;
    world.finish(fence, Outcome::Restored { volume_meta }).await;
    delete(&world, backup.id, false).await.unwrap();
    work_off_delete(&world, backup.id).await;
    work_off_cleans(&world).await;
    world.turn(PAST_IT);
    sweep(&world).await;
    assert!(!rows(&world).await.iter().any(|(table, _)| *table == "jobs"));

    delete_volume(&world, restored).await;
    delete_snapshot(&world, snapshot.id).await.unwrap();
    let mut tx = store.write().await.unwrap();
    let job = tx.unsettled_job_of_snapshot(snapshot.id).await.unwrap();
    assert!(job.is_some(), "its data is a worker's to remove");
}

#[tokio::test]
async fn jobs_that_are_over_do_not_slow_those_down_that_are_not() {
    if postgres().is_some() {
        skip("PostgreSQL plans by how much there is");
        return;
    }
    let world = World::new().await;
    let mut tx = world.store.write().await.unwrap();
    for wheres in [jobs::LEASED, jobs::WAITING] {
        let plan = plan_of(&mut tx, &jobs::list_sql(wheres)).await;
        assert!(plan[0].contains("jobs_unsettled"), "{plan:?}");
    }
}

#[tokio::test]
async fn what_every_request_counts_is_counted_without_reading_rows() {
    if postgres().is_some() {
        skip("PostgreSQL plans by how much there is");
        return;
    }
    let world = World::new().await;
    let mut tx = world.store.write().await.unwrap();
    for (sql, index) in [
        (quotas::BACKUPS, "COVERING INDEX backups_counted"),
        (quotas::VOLUMES, "COVERING INDEX volumes_counted"),
        (outbox::BACKLOG, "COVERING INDEX outbox_due"),
        (outbox::BACKLOG, "INDEX outbox_tried"),
    ] {
        let plan = plan_of(&mut tx, sql).await;
        assert!(plan.iter().any(|step| step.contains(index)), "{plan:?}");
        assert!(
            !plan.iter().any(|step| step.contains("SCAN outbox")),
            "{plan:?}"
        );
    }
}

#[tokio::test]
async fn what_has_no_limit_is_not_counted() {
    let world = World::new().await;
    let volume = world.volume().await;
    world.available(volume.id, false).await;
    let project = &world.caller.project_id;
    let counted = async || {
        let mut tx = world.store.write().await.unwrap();
        let backups = tx.quota_of_backups(project).await.unwrap().backups.count;
        let volumes = tx.quota_of_volumes(project).await.unwrap().volumes.count;
        (backups, volumes)
    };
    assert_eq!(counted().await, (1, 1));
    let names = [
        "backups",
        "backup_gigabytes",
        "volumes",
        "snapshots",
        "gigabytes",
    ];
    world
        .store
        .set_quota(project, &names.map(|name| (name, -1)))
        .await
        .unwrap();
    assert_eq!(counted().await, (0, 0));
    let one_is_left = [("backup_gigabytes", 100), ("snapshots", 100)];
    world.store.set_quota(project, &one_is_left).await.unwrap();
    assert_eq!(counted().await, (1, 1));
    let shown = world.store.quota_usage(project).await.unwrap();
    assert_eq!((shown.backups.count, shown.volumes.count), (1, 1));
}

/// How SQLite goes about a query.
async fn plan_of(tx: &mut Tx, sql: &str) -> Vec<String> {
    let sql = format!("EXPLAIN QUERY PLAN {sql}");
    let plan = sqlx::query(sqlx::AssertSqlSafe(sql))
        .fetch_all(tx.conn())
        .await
        .unwrap();
    plan.iter()
        .map(|row| row::Columns(row).text("detail").unwrap())
        .collect()
}
