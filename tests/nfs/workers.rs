//! Who mounts, who unmounts, and what is refused.

use std::process::Command;

use common::domain::BackupStatus;
use harness::volume::noise;
use harness::{NewBackup, TestStack, until};
use uuid::Uuid;

use crate::server::{Manner, Share, stop, until_it_is_up, until_target};

#[tokio::test]
async fn workers_of_a_machine_share_one_mount_and_the_last_takes_it_down() {
    for manner in [Manner::V3Hard, Manner::V42Hard] {
        let share = Share::new(manner);
        // Only one can have the address for probes.
        let stack = share.stack().spare_worker().start().await;
        stack.worker(2).set("worker.listen", "127.0.0.1:0");
        stack.worker(2).start();
        stack.until_ready().await;
        until("both to use the share", async || {
            let used = |worker: usize| stack.worker(worker).log().contains("target can be used");
            (used(1) && used(2)).then_some(())
        })
        .await;
        assert_eq!(share.mounts().len(), 1);
        stop(stack.worker(1)).await;
        assert_eq!(share.mounts().len(), 1, "the other one uses it");
        let id = stack.managed_volume("v.raw", &noise(1, 500_000)).await;
        stack.api().back_up(id).await;
        // One that is killed leaves the mount to whoever comes next.
        stack.worker(2).kill();
        assert_eq!(share.mounts().len(), 1);
        stack.worker(1).start();
        until_it_is_up().await;
        stop(stack.worker(1)).await;
        share.assert_unmounted();
        share.saw("two workers, one mount; the last one took it down, also after a kill");
    }
}

#[tokio::test]
async fn another_share_at_the_mount_point_is_told_and_never_written_to() {
    let (share, other) = (Share::new(Manner::V42Hard), Share::new(Manner::V42Hard));
    let stack = share.stack().start().await;
    until_it_is_up().await;
    let (status, printed) = stack.worker(1).try_run("check-config");
    assert!(status.success(), "{printed}");
    assert!(printed.contains(&share.name), "{printed}");
    stop(stack.worker(1)).await;

    let point = share.mount_point();
    let mounted = Command::new("mount")
        .args(["-t", "nfs", "-o", "vers=4.2", &other.name])
        .arg(&point)
        .status();
    assert!(mounted.expect("mount can be started").success());
    let (status, printed) = stack.worker(1).try_run("check-config");
    assert!(!status.success(), "{printed}");
    assert!(
        printed.contains(&share.name) && printed.contains(&other.name),
        "{printed}"
    );
    stack.worker(1).start();
    let said = until_target("the target to be refused", |ready, target| {
        !ready && target.contains("is mounted there")
    })
    .await;
    share.saw(&format!("another share at the mount point: {said}"));
    let id = stack.managed_volume("v.raw", &noise(1, 500_000)).await;
    let backup = stack.api().create_backup(&NewBackup::of(id)).await;
    until_released(&stack).await;
    let written = other.folder.read_dir().expect("it can be read").count();
    assert_eq!(written, 0, "nothing is written to another share");

    let unmounted = Command::new("umount").arg(&point).status();
    assert!(unmounted.expect("umount can be started").success());
    stack
        .api()
        .until_backup(backup, BackupStatus::Available)
        .await;
    stack.assert_nothing_left_behind().await;
    share.saw("and when that was gone, the job went on by itself");
}

#[tokio::test]
async fn a_share_with_the_marker_of_another_deployment_is_never_written_to() {
    let share = Share::new(Manner::V3Hard);
    let ours = Uuid::now_v7().to_string();
    let stack = share.stack().set("backup.target_id", &ours).start().await;
    let said = until_target("the target to be refused", |ready, target| {
        !ready && target.contains(&ours)
    })
    .await;
    share.saw(&format!("another deployment's marker: {said}"));
    let before = stack.target().files();
    let id = stack.managed_volume("v.raw", &noise(1, 500_000)).await;
    stack.api().create_backup(&NewBackup::of(id)).await;
    until_released(&stack).await;
    assert_eq!(stack.target().files(), before);
    share.saw("and the job waits, with nothing written");
}

/// Waits until a job was given back.
async fn until_released(stack: &TestStack) {
    until("the job to wait", async || {
        let log = stack.worker(1).log();
        log.contains("outcome=\"released\"").then_some(())
    })
    .await;
}
