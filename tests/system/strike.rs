//! Striking in the middle of a job: certainly after it has begun to move data, and certainly
//! before its end; and what must be true after it all the same.

use common::domain::{BackupId, BackupStatus, VolumeId};
use harness::volume::{self, MIB, data_bytes};
use harness::{Listener, TestStack, until};

/// Waits until a running backup has sealed some of its data.
pub(crate) async fn backup_is_in_its_middle(stack: &TestStack, id: BackupId) {
    until("the backup to seal some data", async || {
        (stack.target().segments_of(id).len() >= 2).then_some(())
    })
    .await;
    is_still(stack, id, BackupStatus::Creating).await;
}

/// Waits until a running restore into a new volume has written some of its data.
pub(crate) async fn restore_is_in_its_middle(stack: &TestStack, id: BackupId, target: VolumeId) {
    until("the restore to write some data", async || {
        let name = target.to_string();
        let file = stack
            .volumes()
            .read_dir()
            .ok()?
            .flatten()
            .find(|entry| entry.file_name().to_string_lossy().contains(&name))?;
        (data_bytes(&file.path()) >= 4 * MIB).then_some(())
    })
    .await;
    is_still(stack, id, BackupStatus::Restoring).await;
}

/// Checks, right after a strike, that it did not come too late.
pub(crate) async fn is_still(stack: &TestStack, id: BackupId, status: BackupStatus) {
    let now = stack.api().backup(id).await.status;
    assert_eq!(now, status, "the job ended before the strike");
}

/// Checks that the execution that settled a backup read nothing of the first `sealed` bytes of `volume_bytes` again.
pub(crate) async fn went_on_after(stack: &TestStack, id: BackupId, sealed: u64, volume_bytes: u64) {
    assert!(sealed > 0, "there was something to go on after");
    let id = id.to_string();
    let read_bytes: u64 = until("the end of the backup to be logged", async || {
        let log = stack.api_service().log();
        let mut settled = log.lines().filter(|line| line.contains("job settled"));
        let line = settled.find(|line| line.contains("job.kind=backup") && line.contains(&id))?;
        let (_, rest) = line.split_once("read_bytes=")?;
        rest.split(' ').next()?.parse().ok()
    })
    .await;
    assert!(
        read_bytes <= volume_bytes - sealed,
        "{read_bytes} bytes were read, and {sealed} of {volume_bytes} were sealed"
    );
    let log = stack.api_service().log();
    assert!(
        !log.contains("an attempt is abandoned"),
        "the backup began anew"
    );
}

/// Waits until the state owner knows that a running restore has written a part for good.
pub(crate) async fn restore_is_marked(stack: &TestStack, id: BackupId) {
    until("the restore to be marked", async || {
        let answer = stack.api().get("/admin/jobs").await.expect(200);
        let mut jobs = answer["jobs"].as_array()?.iter();
        let job =
            jobs.find(|job| job["kind"] == "restore" && job["backup_id"] == id.to_string())?;
        (job["mark"].as_u64()? > 0).then_some(())
    })
    .await;
}

/// Waits until the second execution of a restore tells that it is farther than what it did itself.
pub(crate) async fn second_execution_goes_on_behind_the_start(progress: &mut Listener) {
    progress
        .hear("the second execution to go on behind the start", |event| {
            let number = |value: &serde_json::Value| value.as_u64().unwrap_or(0);
            let totals = &event.data["totals"];
            let done_here = number(&totals["written"]) + number(&totals["skipped"]);
            number(&event.data["generation"]) == 2 && number(&event.data["done_bytes"]) > done_here
        })
        .await;
}

/// Waits for a backup to end well, and checks that it holds what its volume (a file taken over) holds.
pub(crate) async fn comes_back(stack: &TestStack, backup: BackupId, source: &str) {
    stack
        .api()
        .until_backup(backup, BackupStatus::Available)
        .await;
    let restored = stack.api().bring_back(backup).await;
    volume::assert_same_bytes(&stack.file_of(restored), &stack.volumes().join(source));
    stack.assert_nothing_left_behind().await;
}
