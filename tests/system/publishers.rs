//! Other services publish requests, with a login of their own that may do no more.

use common::domain::{BackupStatus, JobId, VolumeId};
use common::messages::published::REQUEST_REJECTED;
use harness::volume::noise;
use harness::{Permissions, TestStack, until};
use serde_json::{Value, json};

use crate::publisher_example::ask;

const PAGE: &str = include_str!("../../docs/messages.md");
const EXAMPLE: &str = include_str!("publisher_example.rs");
const PROJECT: &str = "00000000000000000000000000000001";
const KEY: &str = "backup.nova.main";

fn backup_of(volume: VolumeId) -> Value {
    json!({
        "schema": "emberkeep.request.v1",
        "job_id": JobId::new(),
        "kind": "backup",
        "project_id": PROJECT,
        "backup": {"volume_id": volume, "name": "from a publisher"},
    })
}

/// A stack and a publisher's url and login.
async fn with_publisher() -> (TestStack, String, String) {
    let stack = TestStack::start().await;
    let login = stack.broker().publisher();
    let rights = Permissions::publisher(&login);
    let url = stack.broker().log_in(&login, &rights).await;
    (stack, url, login)
}

#[test]
fn the_example_on_the_page_is_the_one_that_runs_here() {
    assert!(PAGE.contains(&format!("```rust\n{EXAMPLE}```")));
}

#[tokio::test]
async fn a_published_backup_is_made_once_however_often_it_is_asked_for() {
    let (stack, url, login) = with_publisher().await;
    let bytes = noise(1, 100_000);
    let volume = stack.managed_volume("v.raw", &bytes).await;
    let mut events = stack.listen("status.#").await;
    let request = backup_of(volume);
    let answer = ask(&url, &login, KEY, &request).await.expect("an answer");
    assert_eq!(answer["verdict"], "accepted", "{answer}");
    let backup = answer["backup_id"].as_str().expect("an id").to_owned();
    let (_, event) = events
        .hear("the backup", |event| {
            event.event_type == "backup.available.v1" && event.subject == backup
        })
        .await;
    assert_eq!(event.data["job_id"], request["job_id"]);
    stack
        .api()
        .until_backup(backup.parse().expect("an id"), BackupStatus::Available)
        .await;

    let again = ask(&url, &login, KEY, &request).await.expect("an answer");
    assert_eq!(again["verdict"], "duplicate");
    assert_eq!(again["outcome"], "done");
    assert_eq!(again["backup_id"], backup.as_str());

    // A restore, under a key that leads to no queue at all, and a delete under that of another kind.
    let restore = json!({
        "schema": "emberkeep.request.v1",
        "job_id": JobId::new(),
        "kind": "restore",
        "project_id": PROJECT,
        "backup_id": backup,
    });
    let key = "restore.nowhere.nothing";
    let answer = ask(&url, &login, key, &restore).await.expect("an answer");
    assert_eq!(answer["verdict"], "accepted", "{answer}");
    let restored = answer["volume_id"].as_str().expect("an id").to_owned();
    events
        .hear("the restore", |event| {
            event.event_type == "volume.available.v1" && event.subject == restored
        })
        .await;
    let file = stack.file_of(restored.parse().expect("an id"));
    let restored = std::fs::read(file).expect("the volume has a file");
    assert_eq!(&restored[..bytes.len()], bytes);
    events
        .hear("the backup after its restore", |event| {
            event.event_type == "backup.available.v1" && event.subject == backup
        })
        .await;
    let delete = json!({
        "schema": "emberkeep.request.v1",
        "job_id": JobId::new(),
        "kind": "delete",
        "project_id": PROJECT,
        "backup_id": backup,
    });
    let answer = ask(&url, &login, KEY, &delete).await.expect("an answer");
    assert_eq!(answer["verdict"], "accepted", "{answer}");
    events
        .hear("the delete", |event| {
            event.event_type == "backup.deleted.v1" && event.subject == backup
        })
        .await;
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_rejected_request_is_told_as_event_as_answer_and_in_the_parked_queue() {
    let (stack, url, login) = with_publisher().await;
    let volume = stack.managed_volume("v.raw", b"some").await;
    let mut events = stack.listen("rejected.#").await;
    let mut not_ours = backup_of(volume);
    not_ours["project_id"] = json!("00000000000000000000000000000002");
    let mut wrong = backup_of(volume);
    wrong["backup"]["incremental"] = json!("perhaps");
    for (request, code) in [
        (not_ours, "forbidden"),
        (wrong, "badRequest"),
        (backup_of(VolumeId::new()), "itemNotFound"),
    ] {
        let answer = ask(&url, &login, KEY, &request).await.expect("an answer");
        assert_eq!(answer["verdict"], "rejected");
        assert_eq!(answer["rejection"]["code"], code);
        let (key, event) = events
            .hear("the rejection", |event| {
                event.data["job_id"] == request["job_id"]
            })
            .await;
        assert_eq!(key, format!("rejected.{login}"));
        assert_eq!(event.event_type, REQUEST_REJECTED);
        assert_eq!(event.data["code"], code);
        let parked = parked(&stack, &request.to_string()).await;
        assert_eq!(parked["code"], code);
        assert_eq!(parked["published_by"], login.as_str());
    }
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_publisher_cannot_name_another_login_and_cannot_read_job_queues() {
    let (stack, url, login) = with_publisher().await;
    let volume = stack.managed_volume("v.raw", b"some").await;
    let request = backup_of(volume);
    let forged = ask(&url, "somebody-else", KEY, &request).await;
    assert!(forged.is_err(), "{forged:?}");
    let connection = lapin::Connection::connect(&url, lapin::ConnectionProperties::default())
        .await
        .expect("the login is good");
    for queue in ["bk.v1.job.backup.nova.main", "bk.v1.rpc", "bk.v1.parked"] {
        let channel = connection.create_channel().await.expect("a channel");
        let get = channel
            .basic_get(queue.into(), lapin::options::BasicGetOptions::default())
            .await;
        let error = get.expect_err("it may not read").to_string();
        assert!(error.contains("ACCESS_REFUSED"), "{queue}: {error}");
    }
    let good = ask(&url, &login, KEY, &request).await.expect("an answer");
    assert_eq!(good["verdict"], "accepted");
    let backup = good["backup_id"].as_str().and_then(|id| id.parse().ok());
    stack
        .api()
        .until_backup(backup.expect("an id"), BackupStatus::Available)
        .await;
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn the_deployed_logins_may_do_what_their_services_do() {
    let stack = TestStack::build().own_logins().start().await;
    let bytes = noise(2, 100_000);
    let volume = stack.managed_volume("v.raw", &bytes).await;
    let backup = stack.api().back_up(volume).await;
    let restored = stack.api().bring_back(backup.id).await;
    assert_eq!(
        &std::fs::read(stack.file_of(restored)).expect("a file")[..bytes.len()],
        bytes
    );
    // A message for the parked queue, and one that no queue is bound for.
    let broker = stack.broker();
    broker.publish("bk.v1.jobs", KEY, b"{no json").await;
    parked(&stack, "{no json").await;
    broker
        .publish("bk.v1.jobs", "backup.nowhere.nothing", b"{none")
        .await;
    parked(&stack, "{none").await;
    stack.api().delete_backup(backup.id).await;
    stack.api().until_gone(backup.id).await;
    stack.assert_nothing_left_behind().await;
}

/// The message with this body, among those that a person has to decide about.
async fn parked(stack: &TestStack, body: &str) -> Value {
    until("the message to be parked", async || {
        let text = stack.api_service().run("parked list --json");
        let list: Value = serde_json::from_str(&text).expect("it prints JSON");
        let mut all = list["parked"].as_array().expect("a list").iter();
        all.find(|message| message["body"] == body).cloned()
    })
    .await
}
