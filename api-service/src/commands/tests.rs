//! The commands beside a store that is open, as they run beside a serving api-service.

use std::collections::BTreeMap;

use clap::Parser;
use serde_json::Value;
use uuid::Uuid;

use crate::cli::Arguments;
use crate::store::ParkedMessage;
use crate::testing::World;

/// What the command prints.
async fn run(world: &World, line: &str) -> anyhow::Result<String> {
    let words = ["api-service"].into_iter().chain(line.split(' '));
    let command = Arguments::try_parse_from(words)?.command.unwrap();
    let mut out = Vec::new();
    super::run(&command, (*world.settings).clone(), &mut out).await?;
    Ok(String::from_utf8(out)?)
}

async fn json(world: &World, line: &str) -> Value {
    serde_json::from_str(&run(world, line).await.unwrap()).unwrap()
}

async fn park(world: &World, body: &[u8]) -> Uuid {
    let message = ParkedMessage {
        id: Uuid::now_v7(),
        message_id: Some(Uuid::now_v7()),
        exchange: "bk.v1.jobs".to_owned(),
        routing_key: "backup.nova.fast".to_owned(),
        message_type: "emberkeep.job.v1".to_owned(),
        content_type: "application/json".to_owned(),
        correlation_id: None,
        headers: BTreeMap::from([("traceparent".to_owned(), "00-abc".to_owned())]),
        body: body.to_vec(),
        code: "unreadable".to_owned(),
        reason: "it has no `schema`".to_owned(),
        published_by: Some("billing".to_owned()),
        parked_at: world.store.now(),
    };
    for is_redelivered in [false, true] {
        let mut tx = world.store.write().await.unwrap();
        let copy = ParkedMessage {
            id: if is_redelivered {
                Uuid::now_v7()
            } else {
                message.id
            },
            ..message.clone()
        };
        tx.keep_parked(&copy, is_redelivered).await.unwrap();
        tx.commit().await.unwrap();
    }
    message.id
}

#[tokio::test]
async fn a_parked_message_is_listed_once_and_shown_whole() {
    let world = World::new().await;
    let id = park(&world, b"{\"a\": 1}").await;
    let odd = park(&world, b"\xff\xfe").await;
    let table = run(&world, "parked list").await.unwrap();
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.contains("unreadable  it has no `schema`"), "{table}");
    let listed = json(&world, "parked list --json").await;
    assert_eq!(listed["parked"][0]["id"], id.to_string());
    let shown = json(&world, &format!("parked show {id}")).await;
    assert_eq!(shown["body"], "{\"a\": 1}");
    assert_eq!(shown["headers"]["traceparent"], "00-abc");
    assert_eq!(shown["published_by"], "billing");
    let shown = json(&world, &format!("parked show {odd}")).await;
    assert_eq!(shown["body"], "base64://4=");
}

#[tokio::test]
async fn a_redriven_message_is_a_new_one_and_no_longer_parked() {
    let world = World::new().await;
    let id = park(&world, b"{}").await;
    run(&world, &format!("parked redrive {id}")).await.unwrap();
    // The command goes by the wall clock.
    world.turn(jiff::SignedDuration::from_hours(100 * 365 * 24));
    let sent = world.store.due_messages(1000).await.unwrap();
    let sent: Vec<_> = sent.iter().filter(|row| row.body == "{}").collect();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].exchange, "bk.v1.jobs");
    assert_eq!(sent[0].routing_key, "backup.nova.fast");
    assert_ne!(sent[0].id, id);
    let again = run(&world, &format!("parked redrive {id}")).await;
    assert!(again.unwrap_err().to_string().contains("no message"));
}

#[tokio::test]
async fn a_message_that_is_no_text_can_only_be_dropped() {
    let world = World::new().await;
    let id = park(&world, b"\xff\xfe").await;
    park(&world, b"{}").await;
    let refused = run(&world, "parked redrive --all").await.unwrap_err();
    assert!(refused.to_string().contains("no text"), "{refused}");
    let left = json(&world, "parked list --json").await;
    assert_eq!(
        left["parked"].as_array().unwrap().len(),
        1,
        "the other went"
    );
    run(&world, &format!("parked drop {id}")).await.unwrap();
    let left = json(&world, "parked list --json").await;
    assert_eq!(left["parked"], serde_json::json!([]));
    assert!(run(&world, &format!("parked drop {id}")).await.is_err());
    assert!(run(&world, "parked drop").await.is_err(), "say which");
}

#[tokio::test]
async fn the_jobs_command_says_who_holds_what() {
    let world = World::new().await;
    let volume = world.volume().await;
    let (backup, job) = world.creating(volume.id).await;
    let waits = json(&world, "jobs --json").await;
    assert_eq!(waits["jobs"][0]["worker"], Value::Null);
    let (fence, _) = world.grant(job.id).await;
    let renew = common::messages::rpc::Renew { fence, mark: 4096 };
    let _: common::messages::rpc::Renewed = world.ask(renew).await;
    let held = json(&world, "jobs --json").await;
    let held = &held["jobs"][0];
    assert_eq!(held["id"], job.id.to_string());
    assert_eq!(held["backup_id"], backup.id.to_string());
    assert_eq!(
        (&held["kind"], &held["state"]),
        (&"backup".into(), &"running".into())
    );
    assert_eq!(held["worker"], "w");
    assert_eq!(
        (&held["generation"], &held["mark"]),
        (&1.into(), &4096.into())
    );
    let table = run(&world, "jobs").await.unwrap();
    assert!(table.lines().next().unwrap().starts_with("JOB"), "{table}");
    assert!(table.contains("4096"), "{table}");
}

#[tokio::test]
async fn a_command_makes_no_database() {
    let world = World::new().await;
    let mut settings = (*world.settings).clone();
    let file = tempfile::tempdir().unwrap().path().join("none.db");
    settings.database.url = format!("sqlite://{}", file.display());
    let command = Arguments::try_parse_from(["api-service", "jobs"]).unwrap();
    let done = super::run(&command.command.unwrap(), settings, &mut Vec::new()).await;
    assert!(done.is_err());
    assert!(!file.exists());
}
