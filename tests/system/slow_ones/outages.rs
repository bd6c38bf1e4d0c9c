//! The broker lost in the middle.

use common::domain::BackupStatus;
use harness::{NewBackup, TestStack, volume};

use crate::strike;

#[tokio::test]
async fn a_backup_survives_a_restart_of_the_broker() {
    let mut stack = TestStack::build().slow().private_broker().start().await;
    let id = stack.large_volume("large.raw").await;
    let backup = stack.api().create_backup(&NewBackup::of(id)).await;
    strike::backup_is_in_its_middle(&stack, backup).await;
    stack.stop_broker().await;
    strike::is_still(&stack, backup, BackupStatus::Creating).await;
    stack.start_broker().await;
    strike::comes_back(&stack, backup, "large.raw").await;
}

#[tokio::test]
async fn requests_are_accepted_while_the_broker_is_away() {
    let mut stack = TestStack::build().private_broker().start().await;
    let bytes = volume::noise(1, 1_000_000);
    let id = stack.managed_volume("v.raw", &bytes).await;
    stack.stop_broker().await;
    let backup = stack.api().create_backup(&NewBackup::of(id)).await;
    stack.start_broker().await;
    strike::comes_back(&stack, backup, "v.raw").await;
}
