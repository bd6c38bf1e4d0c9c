//! The broker lost in the middle.

use common::domain::BackupStatus;
use harness::{NewBackup, TestStack, until, volume};
use reqwest::Method;

use crate::strike;

/// Waits until `/readyz` names something as degraded that contains `why`.
async fn until_degraded(stack: &TestStack, why: &str) {
    until("the reason to be told", async || {
        let answer = stack.api().try_send(Method::GET, "/readyz", None).await;
        let answer = answer.ok()?;
        let reasons = answer.body["degraded"].as_array()?;
        let told = reasons.iter().filter_map(serde_json::Value::as_str);
        let is_told = told.into_iter().any(|reason| reason.contains(why));
        (answer.status == 503 && is_told).then_some(())
    })
    .await;
}

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

#[tokio::test]
async fn what_starts_without_a_broker_says_so_and_works_once_it_is_there() {
    let mut stack = TestStack::build().private_broker().start().await;
    let bytes = volume::noise(1, 1_000_000);
    let id = stack.managed_volume("v.raw", &bytes).await;
    stack.worker(1).kill();
    stack.api_service().kill();
    stack.stop_broker().await;
    stack.api_service().start();
    stack.worker(1).start();
    until_degraded(&stack, "the broker: ").await;
    let backup = stack.api().create_backup(&NewBackup::of(id)).await;
    stack.start_broker().await;
    strike::comes_back(&stack, backup, "v.raw").await;
}

#[tokio::test]
async fn a_broker_short_of_memory_is_named_and_requests_are_accepted_meanwhile() {
    const MARK: &str = "set_vm_memory_high_watermark";
    let mut stack = TestStack::build().private_broker().start().await;
    let bytes = volume::noise(1, 1_000_000);
    let id = stack.managed_volume("v.raw", &bytes).await;
    stack.control_broker(&[MARK, "absolute", "1"]).await;
    until_degraded(&stack, "short of memory or disk").await;
    let backup = stack.api().create_backup(&NewBackup::of(id)).await;
    stack.control_broker(&[MARK, "absolute", "1GB"]).await;
    strike::comes_back(&stack, backup, "v.raw").await;
}
