//! Several api-services on one PostgreSQL, and PostgreSQL itself in trouble.
//!
//! `cargo xtask test` runs these in its stage on PostgreSQL; elsewhere they skip themselves.

use std::collections::BTreeMap;

use common::domain::{BackupId, BackupStatus, VolumeStatus};
use harness::{Api, NewBackup, TestStack, on_postgres, until, volume};
use reqwest::Method;

use crate::strike;

async fn two() -> TestStack {
    TestStack::build().slow().api_services(2).start().await
}

/// Whether an api-service says that it has the lead; `None` when it does not answer.
async fn leads(api: &Api) -> Option<bool> {
    let answer = api.try_send(Method::GET, "/readyz", None).await.ok()?;
    answer.body["leads"].as_bool()
}

/// The number of the one that has the lead, and that of the other.
async fn leader(stack: &TestStack) -> (usize, usize) {
    until("one api-service to have the lead", async || {
        let first = leads(stack.api_of(1)).await;
        let second = leads(stack.api_of(2)).await;
        match (first, second) {
            (Some(true), Some(true)) => panic!("two have the lead"),
            (Some(true), _) => Some((1, 2)),
            (_, Some(true)) => Some((2, 1)),
            _ => None,
        }
    })
    .await
}

async fn until_leads(api: &Api) {
    until("the api-service to have the lead", async || {
        (leads(api).await == Some(true)).then_some(())
    })
    .await;
}

/// Waits until the backup's progress is seen to grow.
async fn progress_is_seen(api: &Api, backup: BackupId) {
    until("progress", async || {
        let progress = api.progress(backup).await?;
        (progress.done_bytes > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_job_asked_of_either_api_service_is_watched_on_both() {
    if !on_postgres() {
        return;
    }
    let stack = two().await;
    for asked in [1, 2] {
        let watched = 3 - asked;
        let volume = stack.large_volume(&format!("{asked}.raw")).await;
        let api = stack.api_of(asked);
        let backup = api.create_backup(&NewBackup::of(volume)).await;
        progress_is_seen(stack.api_of(watched), backup).await;
        progress_is_seen(api, backup).await;
        let other = stack.api_of(watched);
        other.until_backup(backup, BackupStatus::Available).await;
        until("the progress to be over on both", async || {
            let seen = (other.progress(backup).await, api.progress(backup).await);
            (seen == (None, None)).then_some(())
        })
        .await;
    }
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn when_the_leader_is_killed_in_the_middle_of_a_backup_the_other_goes_on() {
    if !on_postgres() {
        return;
    }
    let stack = two().await;
    let (killed, other) = leader(&stack).await;
    let volume = stack.large_volume("large.raw").await;
    let asked = stack.api_of(killed);
    let backup = asked.create_backup(&NewBackup::of(volume)).await;
    progress_is_seen(stack.api_of(other), backup).await;
    stack.api_service_of(killed).kill();

    let api = stack.api_of(other);
    let row = api.backup(backup).await;
    assert_eq!(row.status, BackupStatus::Creating);
    api.until_backup(backup, BackupStatus::Available).await;
    until_leads(api).await;
    let restored = api.bring_back(backup).await;
    let original = stack.volumes().join("large.raw");
    volume::assert_same_bytes(&stack.file_of(restored), &original);

    stack.api_service_of(killed).start();
    stack.until_ready().await;
    let again = stack.api_of(killed).volume(restored).await;
    assert_eq!(again.status, VolumeStatus::Available);
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_leader_that_freezes_loses_the_lead_and_does_no_harm_when_it_wakes_up() {
    if !on_postgres() {
        return;
    }
    // Half of what workers ask meanwhile is given to the frozen one, until the broker takes that for dead.
    let stack = TestStack::build()
        .slow()
        .api_services(2)
        .set("jobs.lease", "60s")
        .set("jobs.renew", "5s")
        .start()
        .await;
    let (frozen, other) = leader(&stack).await;
    let volume = stack.large_volume("large.raw").await;
    stack.api_service_of(frozen).freeze();
    let api = stack.api_of(other);
    until_leads(api).await;
    let backup = api.create_backup(&NewBackup::of(volume)).await;
    api.until_backup(backup, BackupStatus::Available).await;

    stack.api_service_of(frozen).thaw();
    let woken = stack.api_of(frozen);
    until("the woken one to know that it lost the lead", async || {
        (leads(woken).await == Some(false)).then_some(())
    })
    .await;
    assert_eq!(leads(api).await, Some(true));
    woken.delete_backup(backup).await;
    api.until_gone(backup).await;
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn no_message_goes_out_twice_though_the_lead_changes_hands() {
    if !on_postgres() {
        return;
    }
    let stack = TestStack::build().api_services(2).start().await;
    let mut events = stack.listen("status.#").await;
    let (first, second) = leader(&stack).await;
    let mut backups = Vec::new();
    for number in 0..8 {
        let volume = stack
            .managed_volume(&format!("{number}.raw"), b"some bytes")
            .await;
        // One goes in good order while work is under way, and comes back for more.
        if number == 4 {
            stack.api_service_of(first).ask_to_stop();
            assert!(stack.api_service_of(first).ended().await.success());
            until_leads(stack.api_of(second)).await;
            stack.api_service_of(first).start();
            stack.until_ready().await;
        }
        let api = stack.api_of(1 + number % 2);
        backups.push(api.create_backup(&NewBackup::of(volume)).await);
    }
    for backup in &backups {
        stack
            .api()
            .until_backup(*backup, BackupStatus::Available)
            .await;
    }
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut available = 0;
    while available < backups.len() {
        let (_, event) = events.hear("the backups' events", |_| true).await;
        available += usize::from(event.event_type == "backup.available.v1");
        told.entry(event.id.to_string())
            .or_default()
            .push(event.event_type);
    }
    let twice: Vec<_> = told.values().filter(|copies| copies.len() > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let count = |event_type: &str| {
        told.values()
            .flatten()
            .filter(|told| *told == event_type)
            .count()
    };
    assert_eq!(count("backup.creating.v1"), backups.len());
    assert_eq!(count("backup.available.v1"), backups.len());
    drop(events);
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_backup_survives_a_restart_of_postgresql_and_readiness_says_so() {
    if !on_postgres() {
        return;
    }
    let mut stack = TestStack::build().slow().private_database().start().await;
    let id = stack.large_volume("large.raw").await;
    let backup = stack.api().create_backup(&NewBackup::of(id)).await;
    strike::backup_is_in_its_middle(&stack, backup).await;
    stack.stop_database().await;
    let answer = until("readiness to tell", async || {
        let answer = stack
            .api()
            .try_send(Method::GET, "/readyz", None)
            .await
            .ok()?;
        (answer.status == 503).then_some(answer)
    })
    .await;
    let degraded = answer.body["degraded"][0].as_str().unwrap_or_default();
    assert!(degraded.starts_with("the database: "), "{}", answer.body);
    let refused = stack.api().try_send(Method::GET, "/v3/backups", None).await;
    assert_eq!(refused.unwrap().status, 503);
    stack.start_database().await;
    stack.until_ready().await;
    strike::comes_back(&stack, backup, "large.raw").await;
}
