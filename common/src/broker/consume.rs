//! Consuming: a stream of messages that ends when its channel or connection does.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    QueueDeclareOptions,
};
use lapin::protocol::constants::REPLY_SUCCESS;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Consumer};
use uuid::Uuid;

use super::error::within;
use super::{BrokerError, Outgoing, Published, Publisher, topology};
use crate::domain::TraceParent;
use crate::messages::published::REQUEST_BYTES_MAX;
use crate::messages::rpc::Submit;
use crate::telemetry::{error_chain, traces};

/// Headers of a parked message. Its routing key is kept as it was.
pub mod parked {
    /// A word for programs.
    pub const ERROR_CODE: &str = "x-bk-error-code";
    /// A sentence for people.
    pub const ERROR: &str = "x-bk-error";
    /// The exchange it was published to.
    pub const EXCHANGE: &str = "x-bk-exchange";
    /// The login of its publisher, as the broker had checked it.
    pub const PUBLISHED_BY: &str = "x-bk-user-id";
}

/// Starts to consume. At most `prefetch` messages are out at a time.
///
/// # Errors
/// When the broker refuses or does not answer. Then the channel is closed: a late answer would make a consumer that
/// nobody reads, and that keeps lapin from closing the channel when its last handle goes.
pub async fn consume(
    channel: &Channel,
    queue: &str,
    prefetch: u16,
) -> Result<Deliveries, BrokerError> {
    let begun = begin(channel, queue, prefetch).await;
    if begun.is_err() {
        close(channel).await;
    }
    begun
}

async fn begin(channel: &Channel, queue: &str, prefetch: u16) -> Result<Deliveries, BrokerError> {
    let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
    within("set the prefetch", qos).await?;
    let options = BasicConsumeOptions::default();
    let tag = ShortString::default();
    let consume = channel.basic_consume(queue.into(), tag, options, FieldTable::default());
    let consumer = within(format!("consume `{queue}`"), consume).await?;
    Ok(Deliveries {
        channel: channel.clone(),
        queue: queue.to_owned(),
        consumer,
        ended: false,
    })
}

/// Ends a channel, so that the broker takes back at once what is unanswered on it. One that is gone already is no matter.
pub async fn close(channel: &Channel) {
    let closed = channel.close(REPLY_SUCCESS, "it is of no more use".into());
    if let Err(error) = within("close a channel", closed).await {
        tracing::debug!(error = error_chain(&error), "a channel was not closed");
    }
}

/// How many messages of a queue wait for a consumer.
///
/// # Errors
/// [`BrokerError::is_not_found`] when there is no such queue; the channel is closed by that.
pub async fn queue_depth(channel: &Channel, queue: &str) -> Result<u32, BrokerError> {
    let options = QueueDeclareOptions {
        passive: true,
        ..Default::default()
    };
    let look = channel.queue_declare(queue.into(), options, FieldTable::default());
    let found = within(format!("look at queue `{queue}`"), look).await?;
    Ok(found.message_count())
}

/// Messages of one queue. The end means: build it again.
#[derive(Debug)]
pub struct Deliveries {
    channel: Channel,
    queue: String,
    consumer: Consumer,
    ended: bool,
}

impl Deliveries {
    /// The next message; `None` when the consumer was cancelled, or its channel or connection died.
    pub async fn next(&mut self) -> Option<Incoming> {
        StreamExt::next(self).await
    }

    /// Asks the broker for no more, and waits for its answer. What came before is still in the stream.
    ///
    /// # Errors
    /// When the broker refuses or does not answer; then the channel is of no more use.
    pub async fn cancel(&self) -> Result<(), BrokerError> {
        let tag = self.consumer.tag();
        let cancel = self
            .channel
            .basic_cancel(tag, BasicCancelOptions::default());
        within(format!("stop consuming `{}`", self.queue), cancel).await
    }
}

impl Stream for Deliveries {
    type Item = Incoming;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Incoming>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = Pin::new(&mut self.consumer).poll_next(context);
        next.map(|delivery| match delivery {
            Some(Ok(delivery)) => Some(Incoming { delivery }),
            Some(Err(error)) => {
                let why = error_chain(&error);
                tracing::debug!(queue = self.queue, why, "the consumer ended");
                self.ended = true;
                None
            }
            None => {
                self.ended = true;
                None
            }
        })
    }
}

/// A message that came in, and must be answered: [`ack`](Self::ack), [`requeue`](Self::requeue)
/// or [`park`](Self::park). Dropped without, it waits until its channel closes.
#[derive(Debug)]
pub struct Incoming {
    delivery: Delivery,
}

impl Incoming {
    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.delivery.data
    }

    /// The routing key it was published with.
    #[must_use]
    pub fn routing_key(&self) -> &str {
        self.delivery.routing_key.as_str()
    }

    /// It was delivered before, to somebody.
    #[must_use]
    pub fn is_redelivered(&self) -> bool {
        self.delivery.redelivered
    }

    /// The sender's id of this message, if it is a UUID.
    #[must_use]
    pub fn message_id(&self) -> Option<Uuid> {
        as_str(self.delivery.properties.message_id())?.parse().ok()
    }

    /// What kind of message it says it is.
    #[must_use]
    pub fn message_type(&self) -> Option<&str> {
        as_str(self.delivery.properties.kind())
    }

    /// How its body says to be written.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        as_str(self.delivery.properties.content_type())
    }

    /// The request it belongs to.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        as_str(self.delivery.properties.correlation_id())
    }

    /// The login of its publisher, which the broker has compared with its connection; `None` when the
    /// publisher did not say.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        as_str(self.delivery.properties.user_id())
    }

    /// Where an answer goes.
    #[must_use]
    pub fn reply_to(&self) -> Option<&str> {
        as_str(self.delivery.properties.reply_to())
    }

    /// What the state owner needs to know of a message that is no doorbell.
    #[must_use]
    pub fn to_submit(&self) -> Submit {
        let text = str::from_utf8(self.body()).ok();
        Submit {
            body: text
                .filter(|text| text.len() <= REQUEST_BYTES_MAX)
                .map(str::to_owned),
            login: self.user_id().map(str::to_owned),
            message_id: self.message_id(),
            reply_to: self.reply_to().map(str::to_owned),
            correlation_id: self.correlation_id().map(str::to_owned),
            traceparent: self.traceparent(),
        }
    }

    /// Its place in a trace, if it has one.
    #[must_use]
    pub fn traceparent(&self) -> Option<TraceParent> {
        self.header(traces::HEADER)?.parse().ok()
    }

    /// A header, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let headers = self.delivery.properties.headers().as_ref()?;
        header_text(headers.inner().get(name)?)
    }

    /// Done with it. `false` when its channel is gone: then it will be delivered again.
    pub async fn ack(&self) -> bool {
        let ack = self.delivery.ack(BasicAckOptions::default());
        written("acknowledge", within("acknowledge a message", ack).await)
    }

    /// Gives it back to the queue; counts as a delivery there. `false` when its channel is gone:
    /// then it is back already.
    pub async fn requeue(&self) -> bool {
        let options = BasicNackOptions {
            requeue: true,
            ..Default::default()
        };
        let nack = self.delivery.nack(options);
        written("requeue", within("give a message back", nack).await)
    }

    /// Moves it to `bk.v1.parked` with a reason: publish, confirm, then acknowledge. It is not
    /// rejected to there, because a dead letter cannot carry a reason.
    ///
    /// # Errors
    /// [`BrokerError::NotParked`]: it was given back to its queue instead.
    pub async fn park(
        &self,
        publisher: &Publisher,
        code: &str,
        reason: &str,
    ) -> Result<(), BrokerError> {
        let why = match publisher.publish(self.parked(code, reason)).await {
            Published::Confirmed => {
                self.ack().await;
                return Ok(());
            }
            Published::Unroutable => "no queue is bound for dead letters".to_owned(),
            Published::Refused => "the queue for dead letters refused it".to_owned(),
            Published::Unknown(why) => why,
        };
        self.requeue().await;
        Err(BrokerError::NotParked { why })
    }

    fn parked(&self, code: &str, reason: &str) -> Outgoing {
        let properties = &self.delivery.properties;
        let text = |value: &Option<ShortString>| as_str(value).unwrap_or_default().to_owned();
        let mut moved = Outgoing::new(
            topology::DEAD,
            self.routing_key(),
            text(properties.kind()),
            self.body().to_vec(),
        );
        moved.content_type = text(properties.content_type());
        moved.correlation_id = self.correlation_id().map(str::to_owned);
        moved.message_id = self.message_id().unwrap_or(moved.message_id);
        moved.headers = self.kept_headers();
        let exchange = self.delivery.exchange.to_string();
        for (name, value) in [
            (parked::ERROR_CODE, code.to_owned()),
            (parked::ERROR, reason.to_owned()),
            (parked::EXCHANGE, exchange),
        ] {
            moved.headers.insert(name.to_owned(), value);
        }
        // The property itself must name the login that publishes, and that is now ours.
        if let Some(login) = as_str(properties.user_id()) {
            moved
                .headers
                .insert(parked::PUBLISHED_BY.to_owned(), login.to_owned());
        }
        moved
    }

    /// Its headers, as far as they are text.
    #[must_use]
    pub fn headers(&self) -> BTreeMap<String, String> {
        let Some(headers) = self.delivery.properties.headers() else {
            return BTreeMap::new();
        };
        let all = headers.inner().iter();
        all.filter_map(|(name, value)| Some((name.to_string(), header_text(value)?)))
            .collect()
    }

    /// Headers worth keeping. The broker's own notes on dead letters would be read as instructions.
    fn kept_headers(&self) -> BTreeMap<String, String> {
        let mut headers = self.headers();
        headers
            .retain(|name, _| !(name.starts_with("x-death") || name.starts_with("x-first-death")));
        headers
    }
}

fn as_str(value: &Option<ShortString>) -> Option<&str> {
    value.as_ref().map(ShortString::as_str)
}

fn header_text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// Whether an acknowledgement went out. There is no answer to one, so this is all that can be known.
fn written(what: &str, result: Result<bool, BrokerError>) -> bool {
    result.unwrap_or_else(|error| {
        tracing::debug!(what, error = error_chain(&error), "the channel is gone");
        false
    })
}
