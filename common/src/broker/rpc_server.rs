//! The answering side of request and reply: the state owner.
//!
//! Requests are handled side by side, up to [`PREFETCH`] at a time, and acknowledged after they
//! are answered: what a crash leaves unanswered is delivered again, and every request is idempotent.
//!
//! [`Hearing`] tells whether the workers are heard. The reaper may end a lease only for silence in
//! a time in which it would have heard: connected, with no request left waiting in the queue, and
//! while the broker takes messages from whoever publishes. The last is asked with a message of our
//! own: a broker short of memory or disk stops reading from publishers, and tells only those that
//! publish. So an idle state owner learns of it too, and silence of muted workers ends no lease.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::FutureExt;
use lapin::Channel;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::consume::{Deliveries, Incoming, consume, queue_depth};
use super::{BrokerError, Link, Outgoing, Published, Publisher, topology};
use crate::messages::rpc::{Reply, Request};
use crate::retry::Backoff;
use crate::step;
use crate::telemetry::{error_chain, traces};

/// Requests handled at a time.
const PREFETCH: u16 = 32;
/// An answer is worthless when its request has been sent again.
const ANSWER_LIVES: Duration = Duration::from_secs(10);
/// Answers go to channels only, never to a queue that a requester names.
const REPLY_CHANNEL: &str = "amq.rabbitmq.reply-to";
const ANSWER_TYPE: &str = "emberkeep.rpc.answer.v1";
/// How often the queue is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// A request that is being handled for longer counts as not heard.
const HANDLED_WITHIN: Duration = Duration::from_secs(5);
/// A look that takes longer met an outage.
const LOOK_TAKES: Duration = Duration::from_secs(2);
/// Nobody is bound for it.
const PROBE_KEY: &str = "probe";
const PROBE_TYPE: &str = "emberkeep.probe.v1";
/// How long unanswered requests may take at the end.
const DRAIN: Duration = Duration::from_secs(10);

/// Decides what to answer.
#[async_trait]
pub trait RpcHandler: Send + Sync + 'static {
    /// The answer to a request: a [`Reply`] of the fitting answer type, as JSON.
    async fn handle(&self, request: Request) -> Vec<u8>;
}

/// Whether the state owner hears its workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// Not connected, requests wait, or the broker takes no messages.
    Deaf,
    /// Every request that was sent is handled, or being handled.
    Heard {
        /// Since when that is so without a break.
        since: Instant,
        /// Until when that is known. What came later may still be on its way, or held up.
        until: Instant,
    },
}

/// Answers requests until `stop`; then finishes those it has. Tells whether the workers are heard.
/// `publishing` is asked whether the broker takes messages.
#[must_use]
pub fn serve_rpc(
    link: &Link,
    publishing: &Link,
    stop: CancellationToken,
    tracker: &TaskTracker,
    handler: Arc<dyn RpcHandler>,
) -> watch::Receiver<Hearing> {
    let hearing = watch::Sender::new(Hearing::Deaf);
    let heard = hearing.subscribe();
    let server = Server {
        link: link.clone(),
        probe: Publisher::new(publishing.clone()),
        stop,
        tracker: tracker.clone(),
        handler,
        hearing,
        in_hand: Arc::default(),
    };
    tracker.spawn(server.run());
    heard
}

struct Server {
    link: Link,
    probe: Publisher,
    stop: CancellationToken,
    tracker: TaskTracker,
    handler: Arc<dyn RpcHandler>,
    hearing: watch::Sender<Hearing>,
    in_hand: Arc<InHand>,
}

impl Server {
    async fn run(self) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        while !self.stop.is_cancelled() {
            match self.serve().await {
                Ok(()) => backoff.reset(),
                Err(BrokerError::Stopped) => break,
                Err(error) if error.is_fatal() => {
                    tracing::error!(error = error_chain(&error), "requests cannot be served");
                }
                Err(error) => tracing::debug!(error = error_chain(&error), "serve requests again"),
            }
            self.hearing.send_replace(Hearing::Deaf);
            if !backoff.pause(&self.stop).await {
                break;
            }
        }
        self.hearing.send_replace(Hearing::Deaf);
    }

    /// Serves on one channel until it ends.
    async fn serve(&self) -> Result<(), BrokerError> {
        let channel = self.link.channel().await?;
        // Its own channel: looking must not close the one that serves.
        let looking = self.link.channel().await?;
        let requests = consume(&channel, topology::RPC, PREFETCH).await?;
        tokio::select! {
            () = self.answer_all(&channel, requests) => Ok(()),
            error = self.listen(&looking) => Err(error),
        }
    }

    async fn answer_all(&self, channel: &Channel, mut requests: Deliveries) {
        let here = TaskTracker::new();
        loop {
            let next = self.stop.run_until_cancelled(requests.next()).await;
            let request = match next {
                Some(Some(request)) => request,
                Some(None) => return,
                None => break,
            };
            let handler = Arc::clone(&self.handler);
            let channel = channel.clone();
            let in_hand = InHand::begin(&self.in_hand);
            let answering = async move {
                answer(&*handler, &channel, &request).await;
                drop(in_hand);
            };
            self.tracker.spawn(here.track_future(answering));
        }
        // What is not answered now is delivered to another, or to the next start.
        let _ = requests.cancel().await;
        here.close();
        let _ = tokio::time::timeout(DRAIN, here.wait()).await;
    }

    /// Watches the queue; ends when it cannot.
    async fn listen(&self, channel: &Channel) -> BrokerError {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let began = Instant::now();
            // When the broker has taken ours, it has taken what workers sent before.
            let is_taken = self.messages_are_taken().await;
            let is_drained = match queue_depth(channel, topology::RPC).await {
                Ok(depth) => depth == 0 && self.in_hand.oldest() < HANDLED_WITHIN,
                Err(error) => return error,
            };
            // A look that took long saw an outage end: what came in it is only being handled now.
            let is_prompt = began.elapsed() < LOOK_TAKES;
            self.hearing.send_modify(|hearing| {
                *hearing = match *hearing {
                    _ if !(is_taken && is_drained && is_prompt) => Hearing::Deaf,
                    Hearing::Heard { since, .. } => Hearing::Heard {
                        since,
                        until: began,
                    },
                    Hearing::Deaf => Hearing::Heard {
                        since: began,
                        until: began,
                    },
                };
            });
        }
    }

    async fn messages_are_taken(&self) -> bool {
        let mut probe = Outgoing::new(topology::CONTROL, PROBE_KEY, PROBE_TYPE, Vec::new());
        probe.persistent = false;
        probe.mandatory = false;
        self.probe.publish(probe).await == Published::Confirmed
    }
}

/// Requests being handled, and since when.
#[derive(Debug, Default)]
struct InHand(Mutex<(u64, BTreeMap<u64, Instant>)>);

/// One of them; over when dropped.
struct Handling {
    all: Arc<InHand>,
    number: u64,
}

impl InHand {
    fn begin(all: &Arc<Self>) -> Handling {
        let mut inner = all.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0 += 1;
        let number = inner.0;
        inner.1.insert(number, Instant::now());
        drop(inner);
        Handling {
            all: Arc::clone(all),
            number,
        }
    }

    /// Age of the oldest.
    fn oldest(&self) -> Duration {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = inner.1.first_key_value();
        first.map_or(Duration::ZERO, |(_, since)| since.elapsed())
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        let mut inner = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.1.remove(&self.number);
    }
}

/// Answers one request, then acknowledges it. A request that is part of a trace has a span in it.
async fn answer(handler: &dyn RpcHandler, channel: &Channel, request: &Incoming) {
    let body = match serde_json::from_slice::<Request>(request.body()) {
        Ok(body) => {
            let op = body.op();
            let span = traces::within(request.traceparent(), || {
                step!("answer", otel.name = op, otel.kind = "server")
            });
            let handled = handler.handle(body).instrument(span);
            let handled = AssertUnwindSafe(handled).catch_unwind();
            handled.await.unwrap_or_else(|_| {
                tracing::error!("handling a request panicked");
                refusal(&Reply::TryAgain("internal error".to_owned()))
            })
        }
        Err(error) => {
            tracing::warn!(%error, "a request cannot be understood");
            refusal(&Reply::Malformed(error.to_string()))
        }
    };
    match request.reply_to() {
        Some(_) if crate::faults::skips("rpc.answer") => {}
        Some(to) if to.starts_with(REPLY_CHANNEL) => {
            let mut answer = Outgoing::new("", to, ANSWER_TYPE, body);
            answer.correlation_id = request.correlation_id().map(str::to_owned);
            answer.expiration = Some(ANSWER_LIVES);
            answer.persistent = false;
            answer.mandatory = false;
            if let Err(error) = answer.send(channel).await {
                tracing::debug!(error = error_chain(&error), "the answer was not sent");
            }
        }
        Some(_) | None => tracing::warn!("a request wants its answer nowhere, or in a queue"),
    }
    request.ack().await;
}

fn refusal(reply: &Reply<()>) -> Vec<u8> {
    serde_json::to_vec(reply).expect("a text can be written as JSON")
}
