//! Publishing with confirms.
//!
//! The broker answers each message: taken, refused (its queue is full), or returned first because
//! no queue wants it. lapin hands a returned message to whichever confirm completes next, so a
//! batch is judged as a whole: when all its confirms are there, each message looks for its own id
//! among the returned ones. For the same reason one channel carries one batch at a time, and a
//! channel with unanswered messages is never used again.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

use super::error::within;
use super::{BROKER_TIMEOUT, BrokerError, Link, topology};
use crate::domain::{QueueKey, TraceParent};
use crate::messages::events::CloudEvent;
use crate::messages::jobs::JobMessage;
use crate::telemetry::{error_chain, traces};

const JSON: &str = "application/json";
const CLOUD_EVENT: &str = "application/cloudevents+json; charset=utf-8";
const PERSISTENT: u8 = 2;
const TRANSIENT: u8 = 1;

/// A message on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Stays the same when the message is sent again.
    pub message_id: Uuid,
    /// Where to.
    pub exchange: String,
    /// For whom.
    pub routing_key: String,
    /// What it is, for example `emberkeep.job.v1`.
    pub message_type: String,
    /// How the body is written.
    pub content_type: String,
    /// The request it belongs to.
    pub correlation_id: Option<String>,
    /// Where an answer goes.
    pub reply_to: Option<String>,
    /// The body.
    pub body: Vec<u8>,
    /// Survives a restart of the broker.
    pub persistent: bool,
    /// Comes back if no queue wants it.
    pub mandatory: bool,
    /// Worthless after this time.
    pub expiration: Option<Duration>,
    /// Headers; text only.
    pub headers: BTreeMap<String, String>,
}

impl Outgoing {
    /// A JSON message that must not be lost: persistent and mandatory.
    #[must_use]
    pub fn new(
        exchange: impl Into<String>,
        routing_key: impl Into<String>,
        message_type: impl Into<String>,
        body: Vec<u8>,
    ) -> Self {
        Self {
            message_id: Uuid::now_v7(),
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            message_type: message_type.into(),
            content_type: JSON.to_owned(),
            correlation_id: None,
            reply_to: None,
            body,
            persistent: true,
            mandatory: true,
            expiration: None,
            headers: BTreeMap::new(),
        }
    }

    /// The doorbell for a job. `message_id` is the outbox row's.
    ///
    /// # Errors
    /// Never, for these types; serialization says so.
    pub fn job(
        message_id: Uuid,
        key: &QueueKey,
        message: &JobMessage,
    ) -> Result<Self, serde_json::Error> {
        let body = serde_json::to_vec(message)?;
        let mut outgoing = Self::new(topology::JOBS, key.to_string(), &message.schema, body);
        outgoing.message_id = message_id;
        Ok(outgoing)
    }

    /// An event; nobody needs to listen. `lives` makes it transient: worthless after that time.
    ///
    /// # Errors
    /// When the data cannot be written as JSON.
    pub fn event<T: Serialize>(
        event: &CloudEvent<T>,
        routing_key: impl Into<String>,
        lives: Option<Duration>,
    ) -> Result<Self, serde_json::Error> {
        let body = serde_json::to_vec(event)?;
        let mut outgoing = Self::new(topology::EVENTS, routing_key, &event.event_type, body);
        outgoing.message_id = event.id;
        outgoing.content_type = CLOUD_EVENT.to_owned();
        outgoing.mandatory = false;
        outgoing.persistent = lives.is_none();
        outgoing.expiration = lives;
        Ok(outgoing)
    }

    /// Names its place in a trace.
    pub fn trace(&mut self, place: Option<TraceParent>) {
        if let Some(place) = place {
            self.headers
                .insert(traces::HEADER.to_owned(), place.to_string());
        }
    }

    /// Hands the message to lapin. The result only says that it is on its way.
    pub(super) async fn send(&self, channel: &Channel) -> Result<PublisherConfirm, BrokerError> {
        let options = BasicPublishOptions {
            mandatory: self.mandatory,
            immediate: false,
        };
        let publish = channel.basic_publish(
            self.exchange.as_str().into(),
            self.routing_key.as_str().into(),
            options,
            &self.body,
            self.properties(),
        );
        within(format!("publish to `{}`", self.exchange), publish).await
    }

    fn properties(&self) -> BasicProperties {
        let mode = if self.persistent {
            PERSISTENT
        } else {
            TRANSIENT
        };
        let mut properties = BasicProperties::default()
            .with_message_id(self.message_id.to_string().into())
            .with_type(self.message_type.as_str().into())
            .with_content_type(self.content_type.as_str().into())
            .with_delivery_mode(mode);
        if let Some(id) = &self.correlation_id {
            properties = properties.with_correlation_id(id.as_str().into());
        }
        if let Some(queue) = &self.reply_to {
            properties = properties.with_reply_to(queue.as_str().into());
        }
        if let Some(lives) = self.expiration {
            properties = properties.with_expiration(lives.as_millis().to_string().into());
        }
        if !self.headers.is_empty() {
            let mut table = FieldTable::default();
            for (name, value) in &self.headers {
                let value = AMQPValue::LongString(value.as_str().into());
                table.insert(name.as_str().into(), value);
            }
            properties = properties.with_headers(table);
        }
        properties
    }
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// The broker has it.
    Confirmed,
    /// No queue wants it; the broker has it not.
    Unroutable,
    /// The broker refused it, for a full queue mostly. Try later.
    Refused,
    /// Nobody can say. Send it again with the same message id.
    Unknown(String),
}

/// Publishes over a link, and says of each message what became of it.
#[derive(Debug)]
pub struct Publisher {
    link: Link,
    /// A channel with nothing unanswered. Whoever publishes takes it out, and puts it back only
    /// when every answer is there; dropped on the way, it is closed.
    idle: Mutex<Option<Channel>>,
}

impl Publisher {
    /// Opens its channel when it is first needed.
    #[must_use]
    pub fn new(link: Link) -> Self {
        Self {
            link,
            idle: Mutex::new(None),
        }
    }

    /// Publishes one message.
    pub async fn publish(&self, message: Outgoing) -> Published {
        let mut verdicts = self.publish_batch(vec![message]).await;
        verdicts
            .pop()
            .unwrap_or_else(|| Published::Unknown("no answer".to_owned()))
    }

    /// Publishes all, then waits for all answers; one verdict for each message, in their order.
    /// Takes 10 s for a channel and 10 s for the answers at most.
    pub async fn publish_batch(&self, messages: Vec<Outgoing>) -> Vec<Published> {
        let unsent = |why: String| vec![Published::Unknown(why); messages.len()];
        let ready = async {
            let mut idle = self.idle.lock().await;
            self.link.writable().await?;
            let channel = self.ready_channel(idle.take()).await;
            channel.map(|channel| (idle, channel))
        };
        let (mut idle, channel) = match tokio::time::timeout(BROKER_TIMEOUT, ready).await {
            Ok(Ok(ready)) => ready,
            Ok(Err(error)) => return unsent(error_chain(&error)),
            Err(_) => {
                return unsent("the broker cannot be reached, or takes no messages".to_owned());
            }
        };
        let (verdicts, all_answered) = send_all(&channel, &messages).await;
        if all_answered {
            *idle = Some(channel);
        }
        verdicts
    }

    async fn ready_channel(&self, idle: Option<Channel>) -> Result<Channel, BrokerError> {
        if let Some(channel) = idle.filter(|channel| channel.status().connected()) {
            return Ok(channel);
        }
        let channel = self.link.channel().await?;
        let options = ConfirmSelectOptions::default();
        within("turn confirms on", channel.confirm_select(options)).await?;
        Ok(channel)
    }
}

/// Verdicts in order, and whether the channel has nothing unanswered left.
async fn send_all(channel: &Channel, messages: &[Outgoing]) -> (Vec<Published>, bool) {
    let mut confirms = Vec::with_capacity(messages.len());
    for message in messages {
        confirms.push(message.send(channel).await);
    }
    let deadline = Instant::now() + BROKER_TIMEOUT;
    let mut verdicts = Vec::with_capacity(messages.len());
    let mut returned = HashSet::new();
    let mut all_answered = true;
    for confirm in confirms {
        let answer = match confirm {
            Ok(confirm) => tokio::time::timeout_at(deadline, confirm)
                .await
                .map_err(|_| "the broker did not confirm in time".to_owned())
                .and_then(|answer| answer.map_err(|error| error_chain(&error))),
            Err(error) => Err(error_chain(&error)),
        };
        verdicts.push(match answer {
            Ok(answer) => {
                let verdict = match answer {
                    Confirmation::Ack(_) => Published::Confirmed,
                    Confirmation::Nack(_) => Published::Refused,
                    Confirmation::NotRequested => {
                        Published::Unknown("the channel has no confirms".to_owned())
                    }
                };
                let message = answer.take_message();
                let id = message.and_then(|message| message.properties.message_id().clone());
                returned.extend(id.map(|id| id.to_string()));
                verdict
            }
            Err(why) => {
                all_answered = false;
                Published::Unknown(why)
            }
        });
    }
    for (message, verdict) in messages.iter().zip(&mut verdicts) {
        if returned.contains(&message.message_id.to_string()) {
            *verdict = Published::Unroutable;
        }
    }
    (verdicts, all_answered)
}
