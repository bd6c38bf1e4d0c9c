//! What a publisher may rely on, each a story on real rows.

use common::config::AllowedPublisher;
use common::domain::{BackupStatus, JobId, JobKind, VolumeStatus};
use common::messages::published::{
    BackupWanted, PublishedReply, PublishedRequest as Wanted, PublishedWork, REPLY_SCHEMA,
    REQUEST_REJECTED, RestoreWanted, Verdict,
};
use serde_json::Value;

use super::*;
use crate::testing::{World, caller};

async fn world() -> World {
    World::with(|settings| {
        let projects = vec!["p".to_owned()];
        let allowed = AllowedPublisher { projects };
        settings
            .amqp
            .publishers
            .insert("billing".to_owned(), allowed);
    })
    .await
}

fn wanted(work: PublishedWork) -> Wanted {
    Wanted {
        schema: REQUEST_SCHEMA.to_owned(),
        job_id: JobId::new(),
        project_id: "p".into(),
        user_id: None,
        work,
    }
}

fn backup_of(volume: common::domain::VolumeId) -> Wanted {
    wanted(PublishedWork::Backup {
        backup: BackupWanted::of(volume),
    })
}

fn sent(body: impl ToString) -> Submit {
    Submit {
        body: Some(body.to_string()),
        login: Some("billing".to_owned()),
        message_id: Some(uuid::Uuid::now_v7()),
        reply_to: Some("billing.answers".to_owned()),
        correlation_id: None,
        traceparent: None,
    }
}

fn json_of(wanted: &Wanted) -> Value {
    serde_json::to_value(wanted).unwrap()
}

async fn take(world: &World, submit: &Submit) -> Submitted {
    world.ask(submit.clone()).await
}

async fn accept(world: &World, wanted: &Wanted) {
    let job_id = wanted.job_id;
    let submitted = take(world, &sent(json_of(wanted))).await;
    assert_eq!(submitted, Submitted::Accepted { job_id });
}

fn code(submitted: Submitted) -> String {
    match submitted {
        Submitted::Rejected { code, message } => {
            assert!(!message.is_empty());
            code
        }
        Submitted::Accepted { job_id } => panic!("{job_id} was accepted"),
    }
}

/// What waits in the outbox of this type, taken out.
async fn told(world: &World, message_type: &str) -> Vec<Value> {
    let rows = world.store.due_messages(1000).await.unwrap();
    let mut tx = world.store.write().await.unwrap();
    let mut bodies = Vec::new();
    for row in rows.iter().filter(|row| row.message_type == message_type) {
        bodies.push(serde_json::from_str(&row.body).unwrap());
        tx.message_is_sent(row).await.unwrap();
    }
    tx.commit().await.unwrap();
    bodies
}

async fn reply(world: &World) -> PublishedReply {
    let mut replies = told(world, REPLY_SCHEMA).await;
    assert_eq!(replies.len(), 1);
    serde_json::from_value(replies.remove(0)).unwrap()
}

#[tokio::test]
async fn a_request_becomes_the_job_that_http_would_have_made_under_the_publishers_id() {
    let world = world().await;
    let volume = world.volume().await;
    let wanted = backup_of(volume.id);
    accept(&world, &wanted).await;
    let job = world.job(wanted.job_id).await;
    assert_eq!(job.kind(), JobKind::Backup);
    assert_eq!(job.project_id.as_str(), "p");
    assert_eq!(job.user_id.as_str(), "billing");
    let reply = reply(&world).await;
    assert_eq!(reply.verdict, Verdict::Accepted);
    assert_eq!(reply.backup_id, job.backup_id);
    world.volume_is(volume.id, VolumeStatus::BackingUp).await;
}

#[tokio::test]
async fn the_job_of_a_request_is_in_its_publishers_trace() {
    let world = world().await;
    let volume = world.volume().await;
    let wanted = backup_of(volume.id);
    let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let submit = Submit {
        traceparent: Some(text.parse().unwrap()),
        ..sent(json_of(&wanted))
    };
    take(&world, &submit).await;
    let job = world.job(wanted.job_id).await;
    assert_eq!(job.traceparent, submit.traceparent);
}

#[tokio::test]
async fn a_repeat_makes_no_second_job_and_is_answered_with_the_outcome() {
    let world = world().await;
    let volume = world.volume().await;
    let wanted = backup_of(volume.id);
    accept(&world, &wanted).await;
    let first = reply(&world).await;
    let (fence, _) = world.grant(wanted.job_id).await;
    world.complete(fence).await;

    accept(&world, &wanted).await;
    let again = reply(&world).await;
    assert_eq!(again.verdict, Verdict::Duplicate);
    assert_eq!(again.outcome.as_deref(), Some("done"));
    assert_eq!(again.backup_id, first.backup_id);
    world.volume_is(volume.id, VolumeStatus::Available).await;
}

#[tokio::test]
async fn restore_and_delete_are_published_too() {
    let world = world().await;
    let backup = world.available(world.volume().await.id, false).await;
    let restore = wanted(PublishedWork::Restore {
        backup_id: backup.id,
        restore: RestoreWanted::default(),
    });
    accept(&world, &restore).await;
    assert_eq!(world.job(restore.job_id).await.kind(), JobKind::Restore);
    assert!(reply(&world).await.volume_id.is_some());
    world.backup_is(backup.id, BackupStatus::Restoring).await;

    let other = world.available(world.volume().await.id, false).await;
    let delete = wanted(PublishedWork::Delete {
        backup_id: other.id,
    });
    accept(&world, &delete).await;
    assert_eq!(world.job(delete.job_id).await.kind(), JobKind::Delete);
    world.backup_is(other.id, BackupStatus::Deleting).await;
}

#[tokio::test]
async fn another_request_under_the_same_id_is_a_conflict() {
    let world = world().await;
    let wanted = backup_of(world.volume().await.id);
    accept(&world, &wanted).await;
    let other = Wanted {
        job_id: wanted.job_id,
        ..backup_of(world.volume().await.id)
    };
    let submitted = take(&world, &sent(json_of(&other))).await;
    assert_eq!(code(submitted), "id_conflict");
    // Neither may a job that was asked for over HTTP be taken for one's own.
    let (_, job) = world.creating(world.volume().await.id).await;
    let other = Wanted {
        job_id: job.id,
        ..other
    };
    let submitted = take(&world, &sent(json_of(&other))).await;
    assert_eq!(code(submitted), "id_conflict");
}

#[tokio::test]
async fn a_rejection_is_told_as_an_event_and_as_an_answer_and_is_remembered() {
    let world = world().await;
    let nowhere = backup_of(common::domain::VolumeId::new());
    let submit = sent(json_of(&nowhere));
    assert_eq!(code(take(&world, &submit).await), "itemNotFound");
    let events = told(&world, REQUEST_REJECTED).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["data"]["login"], "billing");
    assert_eq!(events[0]["data"]["code"], "itemNotFound");
    assert_eq!(events[0]["data"]["job_id"], nowhere.job_id.to_string());
    let first = reply(&world).await;
    assert_eq!(first.verdict, Verdict::Rejected);
    assert_eq!(first.job_id, Some(nowhere.job_id));

    assert_eq!(code(take(&world, &submit).await), "itemNotFound");
    assert_eq!(reply(&world).await, first);
    assert!(told(&world, REQUEST_REJECTED).await.is_empty());
}

#[tokio::test]
async fn another_projects_volume_looks_like_one_that_is_not_there() {
    let mut world = world().await;
    world.caller = caller("others");
    let volume = world.volume().await;
    let theirs = take(&world, &sent(json_of(&backup_of(volume.id)))).await;
    let Submitted::Rejected { code, message } = theirs else {
        panic!("it was accepted");
    };
    assert_eq!(code, "itemNotFound");
    assert_eq!(message, format!("Volume {} could not be found.", volume.id));
    world.volume_is(volume.id, VolumeStatus::Available).await;
}

#[tokio::test]
async fn only_a_login_that_the_broker_checked_and_that_has_the_project_may_ask() {
    let world = world().await;
    let wanted = backup_of(world.volume().await.id);
    for login in [None, Some("stranger")] {
        let submit = Submit {
            login: login.map(str::to_owned),
            ..sent(json_of(&wanted))
        };
        assert_eq!(code(take(&world, &submit).await), "unknown_publisher");
    }
    let others = Wanted {
        project_id: "others".into(),
        ..wanted.clone()
    };
    assert_eq!(
        code(take(&world, &sent(json_of(&others))).await),
        "forbidden"
    );
    assert!(world.store.job(wanted.job_id).await.unwrap().is_none());
    // A refusal of who asked says nothing about the request: the right login may send it.
    accept(&world, &wanted).await;
}

#[tokio::test]
async fn a_body_is_refused_in_the_words_of_the_api() {
    let world = world().await;
    let volume = world.volume().await.id;
    let good = json_of(&backup_of(volume));
    let mut bodies = Vec::new();
    for (member, value) in [
        ("volume_id", json!("x")),
        ("incremental", json!("perhaps")),
        ("name", json!("n".repeat(256))),
        ("container", json!("../../etc")),
        ("size", json!(1)),
    ] {
        let mut body = good.clone();
        body["job_id"] = json!(JobId::new());
        body["backup"][member] = value;
        bodies.push(body);
    }
    for kind in ["volume", "clean", "restore", "delete"] {
        let mut body = good.clone();
        body["kind"] = json!(kind);
        body["job_id"] = json!(JobId::new());
        bodies.push(body);
    }
    for body in bodies {
        let submitted = take(&world, &sent(&body)).await;
        assert_eq!(code(submitted), "badRequest", "{body}");
    }
    for (body, expected) in [
        ("{", "unreadable"),
        ("[]", "unreadable"),
        ("{}", "unreadable"),
        (
            r#"{"schema": "emberkeep.request.v9"}"#,
            "unsupported_schema",
        ),
        (r#"{"schema": "emberkeep.request.v1"}"#, "badRequest"),
    ] {
        assert_eq!(code(take(&world, &sent(body)).await), expected);
    }
    world.volume_is(volume, VolumeStatus::Available).await;
}

#[tokio::test]
async fn answers_go_to_the_publisher_and_nowhere_else() {
    let world = world().await;
    for (queue, goes) in [
        ("billing.answers", true),
        ("amq.rabbitmq.reply-to.g1h2", true),
        ("amq.gen-abc", true),
        ("bk.v1.rpc", false),
        ("others.answers", false),
        ("billing", false),
        ("", false),
    ] {
        let submit = Submit {
            reply_to: Some(queue.to_owned()),
            ..sent("{")
        };
        take(&world, &submit).await;
        let told = told(&world, REPLY_SCHEMA).await;
        assert_eq!(!told.is_empty(), goes, "{queue}");
    }
}
