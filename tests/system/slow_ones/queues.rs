//! Queues lost, emptied or full under a running stack.

use std::collections::BTreeSet;

use common::domain::BackupStatus;
use harness::{NewBackup, TestStack, until, volume};
use reqwest::Method;
use serde_json::{Value, json};

use crate::strike;

/// Where backups of the stack's volumes wait.
const BACKUPS: &str = "bk.v1.job.backup.nova.main";

async fn worker_stops(stack: &TestStack) {
    stack.worker(1).ask_to_stop();
    assert!(stack.worker(1).ended().await.success());
}

/// Waits until the broker has every message.
async fn until_all_is_sent(stack: &TestStack) {
    until("the outbox to be empty", async || {
        let answer = stack.api().try_send(Method::GET, "/readyz", None).await;
        (answer.ok()?.body["outbox"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_job_whose_queue_was_emptied_is_rung_for_again() {
    let stack = TestStack::start().await;
    let id = stack
        .managed_volume("v.raw", &volume::noise(1, 1_000_000))
        .await;
    // The queue is there from here on.
    let first = stack.api().back_up(id).await;
    stack.api().delete_backup(first.id).await;
    stack.api().until_gone(first.id).await;
    worker_stops(&stack).await;
    let backup = stack.api().create_backup(&NewBackup::of(id)).await;
    until("the job's message to be lost", async || {
        (stack.broker().purge(BACKUPS).await > 0).then_some(())
    })
    .await;
    stack.worker(1).start();
    strike::comes_back(&stack, backup, "v.raw").await;
}

#[tokio::test]
async fn a_queue_that_is_removed_under_its_reader_comes_back() {
    let stack = TestStack::start().await;
    let id = stack
        .managed_volume("v.raw", &volume::noise(1, 1_000_000))
        .await;
    let whole = stack.api().back_up(id).await;
    // The next request makes it anew before the broker has told the reader.
    stack.broker().delete_queue(BACKUPS).await;
    let next = stack.api().create_backup(&NewBackup::incremental(id)).await;
    stack
        .api()
        .until_backup(next, BackupStatus::Available)
        .await;
    strike::comes_back(&stack, whole.id, "v.raw").await;
}

/// The messages that the broker did not take for want of room, as the log names them.
fn messages_without_room(stack: &TestStack) -> BTreeSet<String> {
    let log = stack.api_service().log();
    let refused = log
        .lines()
        .filter(|line| line.contains("its queue is full"));
    refused
        .filter_map(|line| line.split_once("message.id=")?.1.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn what_a_full_queue_does_not_take_waits_and_too_much_of_it_is_refused() {
    const HIGH_WATER: usize = 2;
    let stack = TestStack::build()
        .set("jobs.outbox_high_water", &HIGH_WATER.to_string())
        .start()
        .await;
    // Long before it counts: the broker obeys a policy some time after it is made.
    stack.broker().limit_job_queues(Some(1)).await;
    let mut volumes = Vec::new();
    for number in 0..12 {
        // Events on their way fill the little outbox for a moment.
        until_all_is_sent(&stack).await;
        let bytes = volume::noise(number, 100_000);
        let name = format!("v{number}.raw");
        volumes.push(stack.managed_volume(&name, &bytes).await);
    }
    worker_stops(&stack).await;

    let mut accepted = Vec::new();
    until(
        "the queue to be full, and the outbox after it",
        async || {
            if messages_without_room(&stack).len() > HIGH_WATER {
                return Some(());
            }
            let id = volumes.last()?;
            let answer = stack.api().ask_for_backup(&NewBackup::of(*id)).await;
            if answer.status == 202 {
                accepted.push(answer.body["backup"]["id"].as_str()?.parse().ok()?);
                volumes.pop();
            }
            None
        },
    )
    .await;
    let id = volumes.last().expect("not all were accepted");
    let answer = stack.api().ask_for_backup(&NewBackup::of(*id)).await;
    assert_eq!(answer.status, 503, "{}", answer.body);

    stack.broker().limit_job_queues(None).await;
    stack.worker(1).start();
    for backup in accepted {
        let whole = BackupStatus::Available;
        stack.api().until_backup(backup, whole).await;
    }
    until("new work to be taken again", async || {
        let answer = stack.api().ask_for_backup(&NewBackup::of(*id)).await;
        (answer.status == 202).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_api_service_that_is_away_parks_nothing() {
    let stack = TestStack::start().await;
    let id = stack
        .managed_volume("v.raw", &volume::noise(1, 1_000_000))
        .await;
    worker_stops(&stack).await;
    let backup = stack.api().create_backup(&NewBackup::of(id)).await;
    until_all_is_sent(&stack).await;
    stack.api_service().kill();
    stack.worker(1).start();
    until("the worker to have asked for the job in vain", async || {
        let log = stack.worker(1).log();
        log.contains("the state owner does not answer")
            .then_some(())
    })
    .await;
    stack.api_service().start();
    stack.until_ready().await;
    strike::comes_back(&stack, backup, "v.raw").await;
    let parked = stack.api_service().run("parked list --json");
    let parked: Value = serde_json::from_str(&parked).expect("it prints JSON");
    assert_eq!(parked, json!({"parked": []}));
}
