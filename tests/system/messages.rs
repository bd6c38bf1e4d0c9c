//! What other services see and send over the broker.

use common::domain::{BackupStatus, JobId, JobKind};
use common::messages::jobs::JobMessage;
use harness::volume::noise;
use harness::{NewBackup, TestStack, until};
use serde_json::Value;

use crate::strike;

const JOBS: &str = "bk.v1.jobs";

fn message(job: JobId) -> Vec<u8> {
    serde_json::to_vec(&JobMessage::new(job, JobKind::Backup)).expect("a message is JSON")
}

#[tokio::test]
async fn a_listener_sees_a_backup_begin_and_end() {
    let stack = TestStack::start().await;
    let id = stack.managed_volume("v.raw", &noise(1, 100_000)).await;
    let mut events = stack.listen("status.#").await;
    let backup = stack.api().back_up(id).await;
    for status in ["creating", "available"] {
        let (key, event) = events
            .hear(status, |event| {
                event.event_type == format!("backup.{status}.v1")
            })
            .await;
        assert_eq!(key, "status.backup.nova");
        assert_eq!(event.specversion, "1.0");
        assert_eq!(event.subject, backup.id.to_string());
        assert_eq!(event.source, "/api-service");
        assert_eq!(event.data["status"], status);
        assert_eq!(event.data["backup_id"], backup.id.to_string());
        assert_eq!(event.data["volume_id"], id.to_string());
        assert_eq!(event.data["project_id"], backup.project_id);
    }
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_job_message_too_many_changes_nothing() {
    let stack = TestStack::build().slow().start().await;
    let mut events = stack.listen("status.#").await;
    let id = stack.large_volume("large.raw").await;
    let running = stack.api().create_backup(&NewBackup::of(id)).await;
    let (_, event) = events
        .hear("the backup's job", |event| {
            event.subject == running.to_string() && event.data["job_id"].is_string()
        })
        .await;
    let job: JobId = event.data["job_id"]
        .as_str()
        .and_then(|id| id.parse().ok())
        .expect("a job's id");
    strike::backup_is_in_its_middle(&stack, running).await;
    let key = "backup.nova.main";
    for _ in 0..3 {
        stack.broker().publish(JOBS, key, &message(job)).await;
    }
    strike::is_still(&stack, running, BackupStatus::Creating).await;
    stack
        .api()
        .until_backup(running, BackupStatus::Available)
        .await;

    // Once more when all is over. What comes after it in the queue tells that it was looked at.
    let before = (
        stack.target().tree_of(running),
        stack.api().backup(running).await,
    );
    stack.broker().publish(JOBS, key, &message(job)).await;
    stack
        .broker()
        .publish(JOBS, key, &message(JobId::new()))
        .await;
    let small = stack.managed_volume("v.raw", b"some").await;
    stack.api().back_up(small).await;
    let after = (
        stack.target().tree_of(running),
        stack.api().backup(running).await,
    );
    assert_eq!(before, after);
    stack.assert_nothing_left_behind().await;
}

#[tokio::test]
async fn a_message_nobody_can_read_is_parked_with_a_reason() {
    let stack = TestStack::start().await;
    let key = "backup.nova.main";
    // The queue is there as soon as a worker listens or a job was published.
    let id = stack.managed_volume("v.raw", b"some").await;
    stack.api().back_up(id).await;
    let wrong_schema = r#"{"schema":"emberkeep.job.v9","job_id":"01890a5d-ac96-774b-bcce-b302099a8057","kind":"backup"}"#;
    let bodies = [
        &b"{no json"[..],
        b"",
        b"\xff\xfe\x00",
        b"[]",
        wrong_schema.as_bytes(),
    ];
    let shown = ["{no json", "", "base64://4A", "[]", wrong_schema];
    for body in bodies {
        stack.broker().publish(JOBS, key, body).await;
    }
    let parked = parked(&stack, bodies.len()).await;
    for body in shown {
        let message = parked.iter().find(|message| message["body"] == body);
        let message = message.unwrap_or_else(|| panic!("`{body}` is not among {parked:?}"));
        assert_eq!(message["routing_key"], key);
        assert_ne!(message["reason"], "");
    }

    // A person decides: what is sent once more is tried again, and comes back with its reason.
    let odd = parked
        .iter()
        .find(|message| message["body"] == wrong_schema);
    let odd = odd
        .and_then(|message| message["id"].as_str())
        .expect("an id");
    let _ = stack.api_service().run(&format!("parked redrive {odd}"));
    let again = until("the message to be parked again", async || {
        let again = listed(&stack);
        let is_back = |message: &Value| message["body"] == wrong_schema && message["id"] != odd;
        again.iter().any(is_back).then_some(again)
    })
    .await;
    assert_eq!(again.len(), bodies.len());
    let _ = stack.api_service().run("parked drop --all");
    assert!(listed(&stack).is_empty());
    stack.api().back_up(id).await;
    stack.assert_nothing_left_behind().await;
}

/// What the api-service took over from the parking queue.
fn listed(stack: &TestStack) -> Vec<Value> {
    let text = stack.api_service().run("parked list --json");
    let list: Value = serde_json::from_str(&text).expect("it prints JSON");
    list["parked"].as_array().expect("a list").clone()
}

async fn parked(stack: &TestStack, count: usize) -> Vec<Value> {
    until("the messages to be parked", async || {
        let parked = listed(stack);
        (parked.len() == count).then_some(parked)
    })
    .await
}
