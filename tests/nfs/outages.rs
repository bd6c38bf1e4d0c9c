//! A server that is stopped in the middle, and started again.

use std::time::Duration;

use common::domain::{BackupId, BackupStatus, VolumeStatus};
use harness::volume;
use harness::{NewBackup, TestStack, until};

use crate::server::{Manner, Outage, Share, stop, until_it_hangs, until_it_is_up};

/// Leases of the stack live 6 s and workers count as down after 8 s: so long a silence would show.
const LONG: Duration = Duration::from_secs(14);

/// The volume of the outages.
const LARGE: &str = "large.raw";

/// A backup of the large volume that is neither at its beginning nor at its end.
async fn begun_backup(stack: &TestStack) -> BackupId {
    let id = stack.large_volume(LARGE).await;
    let backup = stack.api().create_backup(&NewBackup::of(id)).await;
    until("the backup to be in its middle", async || {
        (stack.target().segments_of(backup).len() >= 2).then_some(())
    })
    .await;
    backup
}

/// The backup comes to its end by itself, and holds every byte.
async fn is_done_and_whole(stack: &TestStack, backup: BackupId) {
    let api = stack.api();
    api.until_backup(backup, BackupStatus::Available).await;
    let restored = api.bring_back(backup).await;
    let source = stack.volumes().join(LARGE);
    volume::assert_same_bytes(&stack.file_of(restored), &source);
    stack.assert_nothing_left_behind().await;
}

/// For as long as several leases, with the server away: everything but the target answers.
async fn the_rest_goes_on(stack: &TestStack) {
    let began = std::time::Instant::now();
    while began.elapsed() < LONG {
        let answer = stack.api().get("/readyz").await.expect(200);
        assert_eq!(
            answer["workers"],
            serde_json::json!(["worker-1"]),
            "{answer}"
        );
        assert!(stack.api().backups().await.len() == 1);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // A job that needs no target is done by the very worker whose target hangs.
    let id = stack.api().create_volume(1).await;
    assert_eq!(stack.api().volume(id).await.status, VolumeStatus::Available);
    stack.api().delete_volume(id).await;
}

/// How often the one unsettled job was handed out.
async fn generation(stack: &TestStack) -> u64 {
    let answer = stack.api().get("/admin/jobs").await.expect(200);
    let jobs = answer["jobs"].as_array().cloned().unwrap_or_default();
    let backups: Vec<_> = jobs.iter().filter(|job| job["kind"] == "backup").collect();
    assert_eq!(backups.len(), 1, "{answer}");
    backups[0]["generation"].as_u64().expect("a number")
}

async fn a_backup_outlasts_its_server(manner: Manner) {
    let share = Share::new(manner);
    let stack = share.stack().slow().start().await;
    let backup = begun_backup(&stack).await;
    let outage = Outage::begin();
    share.saw("the server is stopped in the middle of a backup");
    if manner != Manner::V3Soft {
        let said = until_it_hangs().await;
        share.saw(&format!("/readyz of the worker: {said}"));
    }
    the_rest_goes_on(&stack).await;
    share.saw("heartbeats, the API and jobs without a target went on meanwhile");
    if manner != Manner::V3Soft {
        assert_eq!(generation(&stack).await, 1, "the job kept its lease");
    }
    outage.end();
    share.saw("the server is back");
    is_done_and_whole(&stack, backup).await;
    until_it_is_up().await;
    share.saw("the backup is available, and restored byte for byte");
}

#[tokio::test]
async fn a_backup_outlasts_its_server_on_nfs_3() {
    a_backup_outlasts_its_server(Manner::V3Hard).await;
}

#[tokio::test]
async fn a_backup_outlasts_its_server_on_nfs_3_mounted_soft() {
    a_backup_outlasts_its_server(Manner::V3Soft).await;
}

#[tokio::test]
async fn a_backup_outlasts_its_server_on_nfs_4_2() {
    a_backup_outlasts_its_server(Manner::V42Hard).await;
}

/// Asked to stop while its job waits in the kernel.
async fn a_worker_whose_job_hangs_can_be_stopped(manner: Manner) {
    let share = Share::new(manner);
    let stack = share
        .stack()
        .slow()
        .set("worker.drain_timeout", "1s")
        // Only a job that was handed over is done in time; a lost lease would not.
        .set("jobs.lease", "1h")
        .start()
        .await;
    let backup = begun_backup(&stack).await;
    let outage = Outage::begin();
    until_it_hangs().await;
    let seconds = stop(stack.worker(1)).await;
    assert!(seconds < 45.0, "{seconds}");
    share.assert_unmounted();
    share.saw(&format!(
        "asked to stop while its job hung, the worker ended after {seconds:.1} s"
    ));

    outage.end();
    stack.worker(1).start();
    is_done_and_whole(&stack, backup).await;
    share.saw("its job had been handed over, and was done when the server was back");
}

#[tokio::test]
async fn a_worker_whose_job_hangs_can_be_stopped_on_nfs_3() {
    a_worker_whose_job_hangs_can_be_stopped(Manner::V3Hard).await;
}

#[tokio::test]
async fn a_worker_whose_job_hangs_can_be_stopped_on_nfs_4_2() {
    a_worker_whose_job_hangs_can_be_stopped(Manner::V42Hard).await;
}

/// A mount that hangs before the worker comes: what a killed worker leaves when the server goes too.
async fn a_worker_that_starts_on_a_share_that_hangs_can_be_reached(manner: Manner) {
    let share = Share::new(manner);
    let stack = share.stack().start().await;
    until_it_is_up().await;
    let id = stack
        .managed_volume("v.raw", &volume::noise(1, 3_000_000))
        .await;
    stack.worker(1).kill();
    assert_eq!(share.mounts().len(), 1, "a killed worker unmounts nothing");
    let outage = Outage::begin();

    stack.worker(1).start();
    let said = until_it_hangs().await;
    share.saw(&format!(
        "/readyz of a worker that starts while the share hangs: {said}"
    ));
    stack.until_ready().await;
    let backup = stack.api().create_backup(&NewBackup::of(id)).await;
    the_rest_goes_on(&stack).await;
    until("the job to be given back", async || {
        let log = stack.worker(1).log();
        log.contains("the backup target: it has not answered")
            .then_some(())
    })
    .await;
    let seconds = stop(stack.worker(1)).await;
    assert!(seconds < 30.0, "{seconds}");
    share.assert_unmounted();
    share.saw(&format!("asked to stop, it ended after {seconds:.1} s"));

    stack.worker(1).start();
    outage.end();
    stack
        .api()
        .until_backup(backup, BackupStatus::Available)
        .await;
    stack.assert_nothing_left_behind().await;
    share.saw("the job was done when the server was back");
}

#[tokio::test]
async fn a_worker_that_starts_on_a_share_that_hangs_can_be_reached_on_nfs_3() {
    a_worker_that_starts_on_a_share_that_hangs_can_be_reached(Manner::V3Hard).await;
}

#[tokio::test]
async fn a_worker_that_starts_on_a_share_that_hangs_can_be_reached_on_nfs_4_2() {
    a_worker_that_starts_on_a_share_that_hangs_can_be_reached(Manner::V42Hard).await;
}

#[tokio::test]
async fn a_share_that_became_stale_is_mounted_again() {
    for manner in [Manner::V3Hard, Manner::V42Hard] {
        let share = Share::new(manner);
        let stack = share.stack().start().await;
        let id = stack
            .managed_volume("v.raw", &volume::noise(1, 3_000_000))
            .await;
        stack.api().back_up(id).await;
        let before = share.mounts();
        // The same files, and another directory: the handle that the client has means nothing any more.
        let old = share.folder.with_extension("old");
        std::fs::rename(&share.folder, &old).expect("it can be renamed");
        copy(&old, &share.folder);
        std::fs::remove_dir_all(&old).expect("it can be removed");
        let changes = stack.api().back_up_changes(id).await;
        let restored = stack.api().bring_back(changes.id).await;
        volume::assert_same_bytes(&stack.file_of(restored), &stack.volumes().join("v.raw"));
        let after = share.mounts();
        assert!(after.len() == 1 && after != before, "{before:?} {after:?}");
        stack.assert_nothing_left_behind().await;
        share.saw("a stale share was mounted again, and its backups went on");
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let status = std::process::Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status();
    assert!(status.expect("cp can be started").success());
}
