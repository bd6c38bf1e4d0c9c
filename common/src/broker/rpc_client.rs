//! The asking side of request and reply.
//!
//! Answers come by *direct reply-to*: to the very channel the request went out on, so there is no
//! queue to leak, and an answer is lost with its channel. That is fine, because every request is
//! idempotent and is simply sent again, with the same content and the same correlation id: an
//! answer to an earlier try is as good as one to the last.
//!
//! ```text
//! ask ──► send ──► wait 5 s ──► send again … until Answer, Malformed, or given up
//!           ▲         │
//!           └─ backoff, full jitter: TryAgain, channel or connection gone, no answer
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::BasicConsumeOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::error::within;
use super::{BrokerError, Link, Outgoing, topology};
use crate::domain::TraceParent;
use crate::messages::rpc::{Ask, Reply, Request};
use crate::retry::Backoff;
use crate::telemetry::{error_chain, traces};

/// How long a try waits for its answer.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// A request that waited this long in the queue has been sent again meanwhile.
const REQUEST_LIVES: Duration = Duration::from_secs(10);
const AGAIN_FIRST: Duration = Duration::from_millis(200);
const AGAIN_LONGEST: Duration = Duration::from_secs(5);
/// Answers of one ask that are waiting to be looked at; more are late copies.
const ANSWERS_WAITING: usize = 4;
/// The pseudo-queue of direct reply-to.
const REPLY_TO: &str = "amq.rabbitmq.reply-to";
const REQUEST_TYPE: &str = "emberkeep.rpc.v1";

/// Why an ask ended without an answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AskError {
    /// The state owner does not understand the request, or we do not understand its answer.
    #[error("the state owner and this worker do not understand each other: {0}")]
    Malformed(String),
    /// The caller gave up.
    #[error("given up before the state owner answered")]
    GivenUp,
    /// The time was up.
    #[error("the state owner did not answer in time: {0}")]
    TimedOut(String),
    /// The link to the broker is gone for good.
    #[error("ask the state owner")]
    Broker(#[source] BrokerError),
}

/// Asks the state owner over a link. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RpcClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    link: Link,
    tracker: TaskTracker,
    /// Asks that wait, by correlation id.
    waiting: Mutex<HashMap<String, mpsc::Sender<Vec<u8>>>>,
    session: tokio::sync::Mutex<Option<Session>>,
    /// Ends the readers of answers with the last clone of the client.
    in_use: DropGuard,
    /// What those readers hold.
    me: Weak<Inner>,
}

/// A channel with its stream of answers.
#[derive(Debug, Clone)]
struct Session {
    channel: Channel,
    /// The stream of answers ended.
    over: CancellationToken,
}

impl RpcClient {
    /// Opens its channel when it is first needed.
    #[must_use]
    pub fn new(link: Link, tracker: TaskTracker) -> Self {
        Self(Arc::new_cyclic(|me| Inner {
            link,
            tracker,
            waiting: Mutex::default(),
            session: tokio::sync::Mutex::default(),
            in_use: CancellationToken::new().drop_guard(),
            me: me.clone(),
        }))
    }

    /// Asks until there is an answer, through outages of the broker and of the state owner.
    ///
    /// # Errors
    /// When `give_up` comes first, or asking again is no use.
    pub async fn ask<A: Ask>(
        &self,
        ask: A,
        give_up: &CancellationToken,
    ) -> Result<A::Answer, AskError> {
        let mut last = String::new();
        give_up
            .run_until_cancelled(self.0.ask::<A>(ask.into(), &mut last))
            .await
            .unwrap_or(Err(AskError::GivenUp))
    }

    /// Asks, but not longer than `limit`.
    ///
    /// # Errors
    /// As [`ask`](Self::ask), and [`AskError::TimedOut`] with the last thing that went wrong.
    pub async fn ask_within<A: Ask>(&self, ask: A, limit: Duration) -> Result<A::Answer, AskError> {
        let mut last = "the broker cannot be reached".to_owned();
        let asked = tokio::time::timeout(limit, self.0.ask::<A>(ask.into(), &mut last)).await;
        asked.unwrap_or(Err(AskError::TimedOut(last)))
    }
}

/// Forgets the ask when it ends, however it ends.
struct Registered<'a> {
    inner: &'a Inner,
    correlation_id: String,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.inner.lock_waiting().remove(&self.correlation_id);
    }
}

impl Inner {
    fn lock_waiting(&self) -> MutexGuard<'_, HashMap<String, mpsc::Sender<Vec<u8>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask<A: Ask>(
        &self,
        request: Request,
        last: &mut String,
    ) -> Result<A::Answer, AskError> {
        let body =
            serde_json::to_vec(&request).map_err(|error| AskError::Malformed(error.to_string()))?;
        let place = traces::place_here();
        let correlation_id = Uuid::now_v7().to_string();
        let (answer_to, mut answers) = mpsc::channel(ANSWERS_WAITING);
        self.lock_waiting()
            .insert(correlation_id.clone(), answer_to);
        let registered = Registered {
            inner: self,
            correlation_id,
        };
        let mut backoff = Backoff::new(AGAIN_FIRST, AGAIN_LONGEST);
        loop {
            let over = match self.send(&registered.correlation_id, place, &body).await {
                Ok(over) => {
                    "no answer".clone_into(last);
                    over
                }
                Err(error) if self.link.is_over() => return Err(AskError::Broker(error)),
                Err(error) => {
                    *last = error_chain(&error);
                    let over = CancellationToken::new();
                    over.cancel();
                    over
                }
            };
            let mut again_at = Instant::now() + TRY_TIMEOUT;
            let mut is_over = false;
            loop {
                tokio::select! {
                    biased;
                    Some(answer) = answers.recv() => match serde_json::from_slice(&answer) {
                        Ok(Reply::Answer(answer)) => return Ok(answer),
                        Ok(Reply::Malformed(why)) => return Err(AskError::Malformed(why)),
                        Ok(Reply::TryAgain(why)) => {
                            *last = why;
                            again_at = Instant::now() + backoff.next_delay();
                        }
                        Err(error) => return Err(AskError::Malformed(error.to_string())),
                    },
                    () = over.cancelled(), if !is_over => {
                        "the connection was lost".clone_into(last);
                        is_over = true;
                        again_at = Instant::now() + backoff.next_delay();
                    }
                    () = tokio::time::sleep_until(again_at) => break,
                }
            }
        }
    }

    /// Sends one try; what ends when no answer can come any more.
    async fn send(
        &self,
        correlation_id: &str,
        place: Option<TraceParent>,
        body: &[u8],
    ) -> Result<CancellationToken, BrokerError> {
        // What is sent while the broker takes no messages would all go out later, stale.
        self.link.writable().await?;
        let session = self.session().await?;
        let mut request = Outgoing::new(topology::RPC, topology::RPC, REQUEST_TYPE, body.to_vec());
        request.correlation_id = Some(correlation_id.to_owned());
        request.trace(place);
        request.reply_to = Some(REPLY_TO.to_owned());
        request.expiration = Some(REQUEST_LIVES);
        request.persistent = false;
        request.mandatory = false;
        request.send(&session.channel).await?;
        Ok(session.over)
    }

    /// The channel in use, or a new one.
    async fn session(&self) -> Result<Session, BrokerError> {
        let mut current = self.session.lock().await;
        if let Some(session) = &*current
            && !session.over.is_cancelled()
            && session.channel.status().connected()
        {
            return Ok(session.clone());
        }
        *current = None;
        let session = self.open().await?;
        *current = Some(session.clone());
        Ok(session)
    }

    async fn open(&self) -> Result<Session, BrokerError> {
        let channel = self.link.channel().await?;
        let options = BasicConsumeOptions {
            no_ack: true,
            ..Default::default()
        };
        let tag = ShortString::default();
        let consume = channel.basic_consume(REPLY_TO.into(), tag, options, FieldTable::default());
        let answers = within("consume answers", consume).await?;
        let over = CancellationToken::new();
        let client = self.me.clone();
        let in_use = self.in_use.token().clone();
        let ended = over.clone().drop_guard();
        self.tracker.spawn(async move {
            let _ended = ended;
            in_use.run_until_cancelled(deliver(answers, client)).await;
        });
        Ok(Session { channel, over })
    }
}

/// Gives each answer to the ask that waits for it. One that nobody waits for is a late copy.
async fn deliver(mut answers: Consumer, client: Weak<Inner>) {
    while let Some(Ok(answer)) = answers.next().await {
        let Some(client) = client.upgrade() else {
            return;
        };
        let Some(id) = answer.properties.correlation_id() else {
            continue;
        };
        let waiting = client.lock_waiting().get(id.as_str()).cloned();
        if let Some(ask) = waiting {
            let _ = ask.try_send(answer.data);
        }
    }
}
