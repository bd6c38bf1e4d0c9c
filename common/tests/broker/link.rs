use std::time::Duration;

use common::broker::{BrokerError, LinkState, Publisher, close, consume, queue_depth, topology};
use common::domain::JobKind;
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use tokio::net::TcpListener;

use crate::proxy::Proxy;
use crate::{Broker, eventually, fresh_key, soon};

async fn up(link: &common::broker::Link, after: u64) -> u64 {
    let mut state = link.state();
    let newer = |state: &LinkState| matches!(state, LinkState::Up { epoch } if *epoch > after);
    let state = soon(state.wait_for(newer)).await.unwrap().clone();
    match state {
        LinkState::Up { epoch } => epoch,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_link_comes_back_after_its_connection_is_cut_and_the_old_stream_ends() {
    let broker = Broker::given();
    let proxy = Proxy::to(broker.address()).await;
    let link = broker.link_by(&broker.url_through(&proxy));
    let channel = soon(link.channel()).await.unwrap();
    let first = up(&link, 0).await;
    let key = fresh_key(JobKind::Backup);
    topology::declare_job_queue(&channel, &key).await.unwrap();
    let queue = topology::job_queue(&key);
    let mut jobs = consume(&channel, &queue, 1).await.unwrap();
    let ids = crate::publish::ring(&link, &key, 1).await;
    let held = soon(jobs.next()).await.unwrap();

    proxy.cut();

    assert!(soon(jobs.next()).await.is_none());
    assert!(!held.ack().await, "an acknowledgement of a lost delivery");
    assert!(up(&link, first).await > first);
    let channel = soon(link.channel()).await.unwrap();
    let mut jobs = consume(&channel, &queue, 1).await.unwrap();
    let again = soon(jobs.next()).await.unwrap();
    assert_eq!(again.message_id(), Some(ids[0]));
    assert!(again.is_redelivered());
}

#[tokio::test]
async fn what_a_consumer_holds_that_was_given_up_comes_back_when_its_channel_is_closed() {
    let broker = Broker::given();
    let link = broker.link();
    let channel = soon(link.channel()).await.unwrap();
    let other = soon(link.channel()).await.unwrap();
    let key = fresh_key(JobKind::Backup);
    topology::declare_job_queue(&channel, &key).await.unwrap();
    let queue = topology::job_queue(&key);
    let ids = crate::publish::ring(&link, &key, 1).await;
    {
        let options = BasicConsumeOptions::default();
        let begun = channel.basic_consume(
            queue.as_str().into(),
            "".into(),
            options,
            FieldTable::default(),
        );
        // Sent, and its answer not waited for, as when the time for it is over.
        assert!(futures_util::poll!(Box::pin(begun)).is_pending());
    }
    eventually("the message to be out", async || {
        queue_depth(&other, &queue).await.unwrap() == 0
    })
    .await;

    close(&channel).await;
    drop(channel);

    let mut jobs = consume(&other, &queue, 1).await.unwrap();
    let again = soon(jobs.next()).await.unwrap();
    assert_eq!(again.message_id(), Some(ids[0]));
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_replaced() {
    let broker = Broker::given();
    let proxy = Proxy::to(broker.address()).await;
    let link = broker.link_by(&broker.url_through(&proxy));
    let first = up(&link, 0).await;
    proxy.swallow();
    assert!(up(&link, first).await > first);
    assert!(soon(link.channel()).await.is_ok());
}

#[tokio::test]
async fn a_connection_that_a_user_found_broken_is_replaced_once() {
    let broker = Broker::given();
    let link = broker.link();
    let first = up(&link, 0).await;
    link.broken(first);
    let second = up(&link, first).await;
    link.broken(first);
    assert_eq!(second, first + 1);
    assert!(soon(link.channel()).await.is_ok());
    assert_eq!(*link.state().borrow(), LinkState::Up { epoch: second });
}

#[tokio::test]
async fn a_refused_login_ends_the_link_at_its_start_and_no_text_shows_the_password() {
    let broker = Broker::given();
    let url = format!("amqp://nobody:hunter2@{}/%2f", broker.address());
    let link = broker.link_by(&url);
    let error = soon(link.failed()).await;
    assert!(error.is_fatal(), "{error:?}");
    assert!(soon(link.channel()).await.is_err());
    assert!(!link.is_up());
    let texts = format!("{error:?} {link:?} {:?}", link.state().borrow());
    assert!(!texts.contains("hunter2"), "{texts}");
}

#[tokio::test]
async fn a_stopped_link_gives_no_channel() {
    let broker = Broker::given();
    let link = broker.link();
    up(&link, 0).await;
    broker.stop.cancel();
    broker.tracker.close();
    soon(broker.tracker.wait()).await;
    let error = soon(link.channel()).await.unwrap_err();
    assert!(matches!(error, BrokerError::Stopped), "{error:?}");
    assert!(!link.is_up());
}

#[tokio::test]
async fn a_broker_that_accepts_and_says_nothing_holds_nobody_up() {
    let broker = Broker::given();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("amqp://guest:guest@{}/%2f", silent.local_addr().unwrap());
    let link = broker.link_by(&url);
    let (mut peer, _) = soon(silent.accept()).await.unwrap();
    let publisher = Publisher::new(link.clone());
    let event = common::broker::Outgoing::new(topology::EVENTS, "any", "test", Vec::new());
    assert!(matches!(
        soon(publisher.publish(event)).await,
        common::broker::Published::Unknown(_)
    ));
    // The socket is given up too, and with it the thread that waited there.
    let mut rest = Vec::new();
    let end = tokio::io::AsyncReadExt::read_to_end(&mut peer, &mut rest);
    tokio::time::timeout(Duration::from_secs(30), end)
        .await
        .expect("the socket is closed")
        .unwrap();
}
