use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use common::broker::{
    AskError, Hearing, Outgoing, Published, Publisher, RpcClient, RpcHandler, consume, serve_rpc,
    topology,
};
use common::domain::{ClaimId, JobId};
use common::messages::rpc::{Fence, Renew, Renewed, Reply, Request};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::proxy::Proxy;
use crate::{Broker, PATIENCE, soon};

fn renew(mark: u64) -> Renew {
    let fence = Fence {
        job_id: JobId::new(),
        generation: 1,
        claim_id: ClaimId::new(),
    };
    Renew { fence, mark }
}

const HELD: Renewed = Renewed::Held { cancel: false };

fn held() -> Vec<u8> {
    serde_json::to_vec(&Reply::Answer(HELD)).unwrap()
}

/// Answers `Held`; what it does before depends on how many requests came before.
struct Owner<F>(AtomicUsize, F);

#[async_trait]
impl<F, R> RpcHandler for Owner<F>
where
    F: Fn(usize) -> R + Send + Sync + 'static,
    R: Future<Output = Vec<u8>> + Send,
{
    async fn handle(&self, request: Request) -> Vec<u8> {
        assert!(matches!(request, Request::Renew(_)), "{request:?}");
        let number = self.0.fetch_add(1, Ordering::SeqCst);
        (self.1)(number).await
    }
}

fn owner<F, R>(behaviour: F) -> Arc<Owner<F>>
where
    F: Fn(usize) -> R + Send + Sync + 'static,
    R: Future<Output = Vec<u8>> + Send,
{
    Arc::new(Owner(AtomicUsize::new(0), behaviour))
}

#[tokio::test]
async fn a_request_is_answered() {
    let broker = Broker::given();
    let _mine = broker.rpc().await;
    let link = broker.link();
    let _hearing = serve_rpc(
        &link,
        &broker.link(),
        broker.stop.clone(),
        &broker.tracker,
        owner(|_| async { held() }),
    );
    let client = RpcClient::new(broker.link(), broker.tracker.clone());
    let never = CancellationToken::new();
    assert_eq!(soon(client.ask(renew(1), &never)).await.unwrap(), HELD);
    assert_eq!(client.ask_within(renew(2), PATIENCE).await.unwrap(), HELD);
}

#[tokio::test]
async fn an_owner_that_cannot_decide_is_asked_again() {
    let broker = Broker::given();
    let _mine = broker.rpc().await;
    let handler = owner(|number| async move {
        match number {
            0 | 1 => serde_json::to_vec(&Reply::<()>::TryAgain("database".to_owned())).unwrap(),
            2 => panic!("an owner's mistake"),
            _ => held(),
        }
    });
    let _hearing = serve_rpc(
        &broker.link(),
        &broker.link(),
        broker.stop.clone(),
        &broker.tracker,
        handler,
    );
    let client = RpcClient::new(broker.link(), broker.tracker.clone());
    assert_eq!(client.ask_within(renew(1), PATIENCE).await.unwrap(), HELD);
}

#[tokio::test]
async fn an_ask_survives_that_its_connection_is_cut() {
    let broker = Broker::given();
    let _mine = broker.rpc().await;
    let began = Arc::new(Notify::new());
    let begins = Arc::clone(&began);
    let handler = owner(move |number| {
        let begins = Arc::clone(&begins);
        async move {
            if number == 0 {
                begins.notify_one();
                std::future::pending::<()>().await;
            }
            held()
        }
    });
    let _hearing = serve_rpc(
        &broker.link(),
        &broker.link(),
        broker.stop.clone(),
        &broker.tracker,
        handler,
    );
    let proxy = Proxy::to(broker.address()).await;
    let client = RpcClient::new(
        broker.link_by(&broker.url_through(&proxy)),
        broker.tracker.clone(),
    );
    let never = CancellationToken::new();
    let cut = async {
        began.notified().await;
        proxy.cut();
    };
    let (answer, ()) = soon(async { tokio::join!(client.ask(renew(1), &never), cut) }).await;
    assert_eq!(answer.unwrap(), HELD);
}

#[tokio::test]
async fn an_ask_survives_that_its_connection_falls_silent() {
    let broker = Broker::given();
    let _mine = broker.rpc().await;
    let _hearing = serve_rpc(
        &broker.link(),
        &broker.link(),
        broker.stop.clone(),
        &broker.tracker,
        owner(|_| async { held() }),
    );
    let proxy = Proxy::to(broker.address()).await;
    let client = RpcClient::new(
        broker.link_by(&broker.url_through(&proxy)),
        broker.tracker.clone(),
    );
    let never = CancellationToken::new();
    assert_eq!(soon(client.ask(renew(1), &never)).await.unwrap(), HELD);
    proxy.swallow();
    assert_eq!(soon(client.ask(renew(2), &never)).await.unwrap(), HELD);
}

#[tokio::test]
async fn a_late_answer_to_an_earlier_try_is_an_answer() {
    let broker = Broker::given();
    let _mine = broker.rpc().await;
    let again = Arc::new(Notify::new());
    let seen = Arc::clone(&again);
    let handler = owner(move |number| {
        let seen = Arc::clone(&seen);
        async move {
            if number == 0 {
                seen.notified().await;
            } else {
                seen.notify_one();
                std::future::pending::<()>().await;
            }
            held()
        }
    });
    let _hearing = serve_rpc(
        &broker.link(),
        &broker.link(),
        broker.stop.clone(),
        &broker.tracker,
        handler,
    );
    let client = RpcClient::new(broker.link(), broker.tracker.clone());
    assert_eq!(client.ask_within(renew(1), PATIENCE).await.unwrap(), HELD);
}

#[tokio::test]
async fn an_ask_that_nobody_answers_ends_when_its_caller_gives_up() {
    let broker = Broker::given();
    let _mine = broker.rpc().await;
    let client = RpcClient::new(broker.link(), broker.tracker.clone());
    let limit = Duration::from_millis(300);
    let error = soon(client.ask_within(renew(1), limit)).await.unwrap_err();
    assert!(matches!(error, AskError::TimedOut(_)), "{error:?}");

    let give_up = CancellationToken::new();
    let asking = client.ask(renew(2), &give_up);
    let (error, ()) = tokio::join!(asking, async { give_up.cancel() });
    assert!(matches!(error, Err(AskError::GivenUp)), "{error:?}");
}

#[tokio::test]
async fn an_ask_ends_with_its_link() {
    let broker = Broker::given();
    let _mine = broker.rpc().await;
    let client = RpcClient::new(broker.link(), broker.tracker.clone());
    let never = CancellationToken::new();
    let stop = async {
        soon(async {
            while client
                .ask_within(renew(1), Duration::from_millis(100))
                .await
                .is_ok()
            {}
        })
        .await;
        broker.stop.cancel();
    };
    let (error, ()) = soon(async { tokio::join!(client.ask(renew(2), &never), stop) }).await;
    assert!(matches!(error, Err(AskError::Broker(_))), "{error:?}");
}

#[tokio::test]
async fn a_request_that_cannot_be_understood_is_answered_so_and_leaves_the_queue() {
    let broker = Broker::given();
    let _mine = broker.rpc().await;
    let link = broker.link();
    let _hearing = serve_rpc(
        &link,
        &broker.link(),
        broker.stop.clone(),
        &broker.tracker,
        owner(|_| async { held() }),
    );
    let channel = soon(link.channel()).await.unwrap();
    let options = lapin::options::BasicConsumeOptions {
        no_ack: true,
        ..Default::default()
    };
    let reply_to = "amq.rabbitmq.reply-to";
    let consume = channel.basic_consume(reply_to.into(), "".into(), options, Default::default());
    let mut answers = consume.await.unwrap();
    let properties = lapin::BasicProperties::default()
        .with_reply_to(reply_to.into())
        .with_correlation_id("7".into());
    let publish = channel.basic_publish(
        topology::RPC.into(),
        topology::RPC.into(),
        Default::default(),
        b"{\"op\":\"dance\"}",
        properties,
    );
    drop(publish.await.unwrap());
    let answer = soon(futures_util::StreamExt::next(&mut answers))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        answer
            .properties
            .correlation_id()
            .as_ref()
            .unwrap()
            .as_str(),
        "7"
    );
    let reply: Reply<Renewed> = serde_json::from_slice(&answer.data).unwrap();
    assert!(matches!(reply, Reply::Malformed(_)), "{reply:?}");
}

#[tokio::test]
async fn an_answer_goes_to_no_queue_that_a_requester_names() {
    let broker = Broker::given();
    let _mine = broker.rpc().await;
    let link = broker.link();
    let channel = soon(link.channel()).await.unwrap();
    let victim = topology::progress_queue(&channel).await.unwrap();
    let _hearing = serve_rpc(
        &link,
        &broker.link(),
        broker.stop.clone(),
        &broker.tracker,
        owner(|_| async { held() }),
    );
    let publisher = Publisher::new(link.clone());
    let body = serde_json::to_vec(&Request::from(renew(1))).unwrap();
    let mut request = Outgoing::new(topology::RPC, topology::RPC, "test", body);
    request.reply_to = Some(victim.clone());
    assert_eq!(soon(publisher.publish(request)).await, Published::Confirmed);
    // Requests are taken in their order, so when this one is answered the other one was handled.
    let client = RpcClient::new(broker.link(), broker.tracker.clone());
    client.ask_within(renew(2), PATIENCE).await.unwrap();

    let marker = Outgoing::new("", victim.as_str(), "marker", Vec::new());
    assert_eq!(soon(publisher.publish(marker)).await, Published::Confirmed);
    let mut heard = consume(&channel, &victim, 100).await.unwrap();
    loop {
        let message = soon(heard.next()).await.unwrap();
        match message.message_type() {
            Some("marker") => break,
            other => assert_ne!(other, Some("emberkeep.rpc.answer.v1")),
        }
    }
}

#[tokio::test]
async fn requests_are_handled_side_by_side_but_not_all_at_once() {
    const ASKS: usize = 48;
    let broker = Broker::given();
    let _mine = broker.rpc().await;
    let gate = Arc::new(Semaphore::new(0));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (entry, counts) = (Arc::clone(&gate), (Arc::clone(&now), Arc::clone(&most)));
    let handler = owner(move |_| {
        let (entry, (now, most)) = (Arc::clone(&entry), counts.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            entry.acquire().await.unwrap().forget();
            now.fetch_sub(1, Ordering::SeqCst);
            held()
        }
    });
    let mut hearing = serve_rpc(
        &broker.link(),
        &broker.link(),
        broker.stop.clone(),
        &broker.tracker,
        handler,
    );
    let is_hearing = |hearing: &Hearing| matches!(hearing, Hearing::Heard { .. });
    soon(hearing.wait_for(is_hearing)).await.unwrap();

    let client = RpcClient::new(broker.link(), broker.tracker.clone());
    let never = CancellationToken::new();
    let asks = (0..ASKS).map(|mark| client.ask(renew(mark as u64), &never));
    let open = async {
        soon(hearing.wait_for(|hearing| *hearing == Hearing::Deaf))
            .await
            .unwrap();
        assert_eq!(now.load(Ordering::SeqCst), 32, "more wait in the queue");
        gate.add_permits(10 * ASKS);
    };
    let (answers, ()) =
        soon(async { tokio::join!(futures_util::future::join_all(asks), open) }).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap() == HELD));
    assert_eq!(most.load(Ordering::SeqCst), 32);
    soon(hearing.wait_for(is_hearing)).await.unwrap();
}
