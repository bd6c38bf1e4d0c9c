use common::broker::{Outgoing, Published, Publisher, consume, parked, queue_depth, topology};
use common::domain::JobKind;
use lapin::Channel;
use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use uuid::Uuid;

use crate::{Broker, eventually, fresh_key, soon};

/// An own queue for what is sent to the dead exchange with one routing key.
async fn overhear_dead(channel: &Channel, key: &str) -> String {
    let queue = format!("test.dead.{}", Uuid::now_v7());
    let exclusive = QueueDeclareOptions::exclusive();
    let declare = channel.queue_declare(queue.as_str().into(), exclusive, FieldTable::default());
    declare.await.unwrap();
    let bind = channel.queue_bind(
        queue.as_str().into(),
        topology::DEAD.into(),
        key.into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bind.await.unwrap();
    queue
}

#[tokio::test]
async fn a_parked_message_carries_its_reason_and_is_gone_from_its_queue() {
    let broker = Broker::given();
    let link = broker.link();
    let publisher = Publisher::new(link.clone());
    let channel = soon(link.channel()).await.unwrap();
    let key = fresh_key(JobKind::Backup);
    topology::declare_job_queue(&channel, &key).await.unwrap();
    let queue = topology::job_queue(&key);
    let dead = overhear_dead(&channel, &key.to_string()).await;

    let mut odd = Outgoing::new(
        topology::JOBS,
        key.to_string(),
        "odd.v7",
        b"\xff\x00odd".to_vec(),
    );
    odd.headers
        .insert("traceparent".to_owned(), "00-abc".to_owned());
    assert_eq!(
        soon(publisher.publish(odd.clone())).await,
        Published::Confirmed
    );
    let mut jobs = consume(&channel, &queue, 1).await.unwrap();
    let job = soon(jobs.next()).await.unwrap();
    soon(job.park(
        &publisher,
        "unsupported_schema",
        "`odd.v7` is not known here",
    ))
    .await
    .unwrap();

    let looking = soon(link.channel()).await.unwrap();
    let mut found = consume(&looking, &dead, 1).await.unwrap();
    let found = soon(found.next()).await.unwrap();
    assert_eq!(found.message_id(), Some(odd.message_id));
    assert_eq!(found.message_type(), Some("odd.v7"));
    assert_eq!(found.body(), odd.body);
    for (header, value) in [
        (parked::ERROR_CODE, "unsupported_schema"),
        (parked::ERROR, "`odd.v7` is not known here"),
        (parked::EXCHANGE, topology::JOBS),
        ("traceparent", "00-abc"),
    ] {
        assert_eq!(found.header(header).as_deref(), Some(value));
    }
    channel.close(200, "done".into()).await.unwrap();
    assert_eq!(queue_depth(&looking, &queue).await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_sent_to_the_dead_exchange_is_kept_in_the_parked_queue() {
    let broker = Broker::given();
    let link = broker.link();
    let publisher = Publisher::new(link.clone());
    let dead = Outgoing::new(topology::DEAD, "any.key.at-all", "test", b"{}".to_vec());
    let id = dead.message_id;
    assert_eq!(soon(publisher.publish(dead)).await, Published::Confirmed);

    let channel = soon(link.channel()).await.unwrap();
    let mut parked = consume(&channel, topology::PARKED, 100).await.unwrap();
    loop {
        let message = soon(parked.next()).await.unwrap();
        assert!(message.ack().await);
        if message.message_id() == Some(id) {
            break;
        }
    }
}

#[tokio::test]
async fn a_message_that_kills_its_consumers_is_parked_by_the_broker() {
    let broker = Broker::given();
    let link = broker.link();
    let channel = soon(link.channel()).await.unwrap();
    let key = fresh_key(JobKind::Backup);
    topology::declare_job_queue(&channel, &key).await.unwrap();
    let dead = overhear_dead(&channel, &key.to_string()).await;
    let ids = crate::publish::ring(&link, &key, 1).await;

    let mut jobs = consume(&channel, &topology::job_queue(&key), 1)
        .await
        .unwrap();
    for _ in 0..=1_000 {
        assert!(soon(jobs.next()).await.unwrap().requeue().await);
    }

    let looking = soon(link.channel()).await.unwrap();
    let mut found = consume(&looking, &dead, 1).await.unwrap();
    assert_eq!(soon(found.next()).await.unwrap().message_id(), Some(ids[0]));
}

#[tokio::test]
async fn a_request_that_nobody_answered_in_time_vanishes_and_is_not_parked() {
    let broker = Broker::given();
    let _mine = broker.rpc().await;
    let link = broker.link();
    let publisher = Publisher::new(link.clone());
    let channel = soon(link.channel()).await.unwrap();
    let dead = overhear_dead(&channel, topology::RPC).await;
    let mut stale = Outgoing::new(topology::RPC, topology::RPC, "test", b"{}".to_vec());
    stale.expiration = Some(std::time::Duration::from_millis(1));
    assert_eq!(soon(publisher.publish(stale)).await, Published::Confirmed);
    eventually("the stale request is gone", || async {
        queue_depth(&channel, topology::RPC).await.unwrap() == 0
    })
    .await;

    let marker = Outgoing::new(topology::DEAD, topology::RPC, "marker", b"{}".to_vec());
    assert_eq!(soon(publisher.publish(marker)).await, Published::Confirmed);
    let mut found = consume(&channel, &dead, 1).await.unwrap();
    assert_eq!(
        soon(found.next()).await.unwrap().message_type(),
        Some("marker")
    );
}
