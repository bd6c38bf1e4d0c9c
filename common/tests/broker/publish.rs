use common::broker::{Link, Outgoing, Published, Publisher, consume, topology};
use common::domain::{JobId, JobKind, QueueKey};
use common::messages::jobs::JobMessage;
use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use uuid::Uuid;

use crate::proxy::Proxy;
use crate::{Broker, fresh_key, soon};

/// Publishes `count` doorbells; their message ids.
pub(crate) async fn ring(link: &Link, key: &QueueKey, count: usize) -> Vec<Uuid> {
    let jobs: Vec<_> = (0..count)
        .map(|_| {
            let message = JobMessage::new(JobId::new(), key.kind);
            Outgoing::job(Uuid::now_v7(), key, &message).unwrap()
        })
        .collect();
    let ids = jobs.iter().map(|job| job.message_id).collect();
    let verdicts = Publisher::new(link.clone()).publish_batch(jobs).await;
    assert_eq!(verdicts, vec![Published::Confirmed; count]);
    ids
}

#[tokio::test]
async fn a_job_arrives_with_its_id_and_type() {
    let broker = Broker::given();
    let link = broker.link();
    let channel = soon(link.channel()).await.unwrap();
    let key = fresh_key(JobKind::Backup);
    topology::declare_job_queue(&channel, &key).await.unwrap();
    let ids = ring(&link, &key, 1).await;

    let mut jobs = consume(&channel, &topology::job_queue(&key), 1)
        .await
        .unwrap();
    let job = soon(jobs.next()).await.unwrap();

    assert_eq!(job.message_id(), Some(ids[0]));
    assert_eq!(job.message_type(), Some("emberkeep.job.v1"));
    assert_eq!(job.routing_key(), key.to_string());
    assert!(!job.is_redelivered());
    serde_json::from_slice::<JobMessage>(job.body()).unwrap();
    assert!(job.ack().await);
}

#[tokio::test]
async fn in_a_mixed_batch_each_message_gets_its_own_verdict() {
    const EACH: usize = 200;
    let broker = Broker::given();
    let link = broker.link();
    let channel = soon(link.channel()).await.unwrap();
    let key = fresh_key(JobKind::Backup);
    topology::declare_job_queue(&channel, &key).await.unwrap();
    // Full already, and it refuses.
    let full = format!("test.full.{}", Uuid::now_v7());
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(0));
    arguments.insert(
        "x-overflow".into(),
        AMQPValue::LongString("reject-publish".into()),
    );
    let exclusive = QueueDeclareOptions::exclusive();
    channel
        .queue_declare(full.as_str().into(), exclusive, arguments)
        .await
        .unwrap();
    let options = QueueBindOptions::default();
    let bind = channel.queue_bind(
        full.as_str().into(),
        topology::EVENTS.into(),
        full.as_str().into(),
        options,
        FieldTable::default(),
    );
    bind.await.unwrap();

    let to = |exchange: &str, key: &str| Outgoing::new(exchange, key, "test", b"{}".to_vec());
    let mut batch = Vec::new();
    let mut expected = Vec::new();
    for _ in 0..EACH {
        batch.push(to(topology::EVENTS, &format!("nobody.{full}")));
        expected.push(Published::Unroutable);
        batch.push(to(topology::JOBS, &key.to_string()));
        expected.push(Published::Confirmed);
        batch.push(to(topology::EVENTS, &full));
        expected.push(Published::Refused);
    }

    let publisher = Publisher::new(link);
    for _ in 0..2 {
        let verdicts = soon(publisher.publish_batch(batch.clone())).await;
        for (at, (verdict, expected)) in verdicts.iter().zip(&expected).enumerate() {
            assert_eq!(verdict, expected, "message {at}");
        }
        assert_eq!(verdicts.len(), expected.len());
    }
}

#[tokio::test]
async fn a_job_for_a_queue_that_nobody_declared_waits_among_the_unrouted() {
    let broker = Broker::given();
    let link = broker.link();
    let channel = soon(link.channel()).await.unwrap();
    let key = fresh_key(JobKind::Delete);
    let ids = ring(&link, &key, 1).await;

    let mut unrouted = consume(&channel, topology::UNROUTED, 10).await.unwrap();
    loop {
        let job = soon(unrouted.next()).await.unwrap();
        assert!(job.ack().await);
        if job.message_id() == Some(ids[0]) {
            assert_eq!(job.routing_key(), key.to_string());
            break;
        }
    }
}

#[tokio::test]
async fn a_confirm_that_is_lost_with_the_connection_is_unknown_and_the_next_publish_works() {
    let broker = Broker::given();
    let proxy = Proxy::to(broker.address()).await;
    let publisher = Publisher::new(broker.link_by(&broker.url_through(&proxy)));
    let event = || Outgoing::new(topology::DEAD, "test.confirm", "test", b"{}".to_vec());
    assert_eq!(soon(publisher.publish(event())).await, Published::Confirmed);

    proxy.swallow();
    let verdict = soon(publisher.publish(event())).await;
    assert!(matches!(verdict, Published::Unknown(_)), "{verdict:?}");

    assert_eq!(soon(publisher.publish(event())).await, Published::Confirmed);
}

#[tokio::test]
async fn a_publish_that_its_caller_dropped_does_not_spoil_the_next() {
    let broker = Broker::given();
    let link = broker.link();
    let channel = soon(link.channel()).await.unwrap();
    let key = fresh_key(JobKind::Backup);
    topology::declare_job_queue(&channel, &key).await.unwrap();
    let publisher = Publisher::new(link);
    let taken = || Outgoing::new(topology::JOBS, key.to_string(), "test", b"{}".to_vec());
    let nowhere = || Outgoing::new(topology::EVENTS, "nobody.listens", "test", b"{}".to_vec());
    assert_eq!(soon(publisher.publish(taken())).await, Published::Confirmed);
    for tenth_ms in 0..60 {
        let given_up_after = std::time::Duration::from_micros(100 * tenth_ms);
        let both = (0..50).flat_map(|_| [taken(), nowhere()]);
        let publish = publisher.publish_batch(both.collect());
        let _ = tokio::time::timeout(given_up_after, publish).await;
        let next = vec![nowhere(), taken()];
        let verdicts = soon(publisher.publish_batch(next)).await;
        assert_eq!(verdicts, [Published::Unroutable, Published::Confirmed]);
    }
}
