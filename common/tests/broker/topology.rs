use common::broker::{BrokerError, consume, queue_depth, topology};
use common::domain::{JobKind, WorkerName};
use common::telemetry::error_chain;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};

use crate::{Broker, fresh_key, soon};

#[tokio::test]
async fn declaring_twice_is_fine() {
    let broker = Broker::given();
    let channel = soon(broker.link().channel()).await.unwrap();
    let key = fresh_key(JobKind::Backup);
    for _ in 0..2 {
        topology::declare(&channel).await.unwrap();
        topology::declare_job_queue(&channel, &key).await.unwrap();
    }
}

#[tokio::test]
async fn another_argument_is_fatal_and_named() {
    let broker = Broker::given();
    let link = broker.link();
    let channel = soon(link.channel()).await.unwrap();
    let key = fresh_key(JobKind::Backup);
    let name = topology::job_queue(&key);
    let mut arguments = FieldTable::default();
    for (argument, value) in [
        ("x-queue-type", AMQPValue::LongString("quorum".into())),
        ("x-delivery-limit", AMQPValue::LongLongInt(5)),
    ] {
        arguments.insert(argument.into(), value);
    }
    let durable = QueueDeclareOptions::durable();
    let declare = channel.queue_declare(name.as_str().into(), durable, arguments);
    declare.await.unwrap();

    let error = topology::declare_job_queue(&channel, &key)
        .await
        .unwrap_err();

    assert!(error.is_fatal(), "{error:?}");
    assert!(matches!(error, BrokerError::Mismatch { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&name), "{text}");
    assert!(
        text.contains("`x-"),
        "no argument named: {}",
        error_chain(&error)
    );
}

#[tokio::test]
async fn queue_depth_counts_what_waits_and_knows_what_is_missing() {
    let broker = Broker::given();
    let link = broker.link();
    let channel = soon(link.channel()).await.unwrap();
    let key = fresh_key(JobKind::Restore);
    topology::declare_job_queue(&channel, &key).await.unwrap();
    let queue = topology::job_queue(&key);
    assert_eq!(queue_depth(&channel, &queue).await.unwrap(), 0);

    crate::publish::ring(&link, &key, 3).await;
    assert_eq!(queue_depth(&channel, &queue).await.unwrap(), 3);

    let error = queue_depth(&channel, "bk.v1.no-such-queue")
        .await
        .unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    assert!(!error.is_fatal(), "{error:?}");
}

#[tokio::test]
async fn a_workers_own_queue_hears_the_broadcast_whatever_its_name() {
    let broker = Broker::given();
    let link = broker.link();
    let channel = soon(link.channel()).await.unwrap();
    let name = WorkerName::from("wörker ".repeat(60));
    let queue = topology::control_queue(&channel, &name).await.unwrap();
    let again = topology::control_queue(&channel, &name).await.unwrap();
    assert_ne!(queue, again);
    let mut broadcasts = consume(&channel, &queue, 1).await.unwrap();

    let publisher = common::broker::Publisher::new(link);
    let cancel = common::broker::Outgoing::new(
        topology::CONTROL,
        topology::CONTROL_ALL,
        "test",
        b"{}".to_vec(),
    );
    let id = cancel.message_id;
    publisher.publish(cancel).await;

    loop {
        let heard = soon(broadcasts.next()).await.unwrap();
        assert!(heard.ack().await);
        if heard.message_id() == Some(id) {
            break;
        }
    }
}

#[tokio::test]
async fn a_progress_queue_hears_workers_and_progress_but_no_status() {
    let broker = Broker::given();
    let link = broker.link();
    let channel = soon(link.channel()).await.unwrap();
    let queue = topology::progress_queue(&channel).await.unwrap();
    let mut heard = consume(&channel, &queue, 10).await.unwrap();
    let key = fresh_key(JobKind::Backup);
    let worker = WorkerName::from(key.zone.to_string());
    let wanted = [
        topology::progress_key(key.kind, &key.zone),
        topology::worker_key(&worker),
    ];

    let publisher = common::broker::Publisher::new(link);
    let status = topology::status_key(key.kind, &key.zone);
    for routing_key in [&status].into_iter().chain(&wanted) {
        let event =
            common::broker::Outgoing::new(topology::EVENTS, routing_key, "test", Vec::new());
        publisher.publish(event).await;
    }

    for routing_key in &wanted {
        loop {
            let event = soon(heard.next()).await.unwrap();
            event.ack().await;
            assert!(!event.routing_key().starts_with("status."));
            if event.routing_key() == routing_key {
                break;
            }
        }
    }
}
