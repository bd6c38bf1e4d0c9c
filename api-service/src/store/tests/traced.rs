//! A job's place in a trace lies in its row, and goes with every message of it.

use common::domain::TraceParent;

use super::*;

fn place() -> TraceParent {
    let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    text.parse().unwrap()
}

/// The types of the messages that wait, each with its place in a trace; taken out.
async fn told(world: &World) -> Vec<(String, Option<TraceParent>)> {
    let rows = world.store.due_messages(1000).await.unwrap();
    let mut tx = world.store.write().await.unwrap();
    for row in &rows {
        tx.message_is_sent(row).await.unwrap();
    }
    tx.commit().await.unwrap();
    rows.into_iter()
        .map(|row| (row.message_type, row.traceparent))
        .collect()
}

#[tokio::test]
async fn every_doorbell_and_backup_event_of_a_traced_request_has_its_place() {
    let mut world = World::new().await;
    let volume = world.volume().await;
    told(&world).await;
    world.caller.traceparent = Some(place());
    let (backup, job) = world.creating(volume.id).await;
    assert_eq!(job.traceparent, Some(place()));
    let of = |name: &str, place| (name.to_owned(), place);
    let begun = told(&world).await;
    assert!(begun.contains(&of("emberkeep.job.v1", Some(place()))));
    assert!(begun.contains(&of("backup.creating.v1", Some(place()))));

    // The worker dies: the job is rung for again, in the same trace, whoever asks for what meanwhile.
    world.caller.traceparent = None;
    world.grant(job.id).await;
    world.end_lease(job.id).await;
    world.turn(SignedDuration::from_hours(1));
    assert_eq!(
        told(&world).await,
        [of("emberkeep.job.v1", Some(place()))],
        "rung for once more"
    );

    let (fence, _) = world.grant(job.id).await;
    world.complete(fence).await;
    world.backup_is(backup.id, BackupStatus::Available).await;
    let ended = told(&world).await;
    assert!(ended.contains(&of("backup.available.v1", Some(place()))));

    // Another request is another trace, or none.
    delete(&world, backup.id, false).await.unwrap();
    let deleting = told(&world).await;
    assert!(deleting.contains(&of("emberkeep.job.v1", None)));
    assert!(deleting.contains(&of("backup.deleting.v1", None)));
}

#[tokio::test]
async fn an_event_says_in_its_body_what_trace_it_is_of() {
    let mut world = World::new().await;
    let volume = world.volume().await;
    world.caller.traceparent = Some(place());
    world.creating(volume.id).await;
    let rows = world.store.due_messages(1000).await.unwrap();
    let event = rows
        .iter()
        .find(|row| row.message_type == "backup.creating.v1")
        .unwrap();
    let body: serde_json::Value = serde_json::from_str(&event.body).unwrap();
    assert_eq!(body["traceparent"], place().to_string());
}
