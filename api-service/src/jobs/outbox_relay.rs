//! From the outbox to the broker: batches, confirms, and another try for everything else.
//!
//! Woken by every commit that left a message, and at short intervals for what waits for its time or was left by
//! another api-service: only the one with the lead sends, so that no row goes out twice and none overtakes another.
//! While the broker is away nothing is tried; the API goes on accepting.

use std::collections::HashSet;
use std::time::Duration;

use common::broker::{BrokerError, Link, Outgoing, Published, Publisher, topology};
use common::domain::QueueKey;
use common::step;
use common::telemetry::{error_chain, traces};
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::leader::Leading;
use crate::store::{OutboxRow, Store, StoreError};

/// Messages in one batch.
const BATCH: u32 = 100;
/// How often the outbox is looked at without being woken: what another api-service accepts waits no longer.
const LOOK: Duration = Duration::from_millis(250);
/// The wait after the first failed try; doubles.
const RETRY_FIRST: SignedDuration = SignedDuration::from_secs(1);
/// And its limit, as a number of doublings.
const RETRY_DOUBLINGS_MAX: u32 = 5;

/// Why a batch was not sent.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("read or settle the outbox")]
    Store(#[from] StoreError),
    #[error("declare a job queue")]
    Broker(#[from] BrokerError),
}

/// Sends what waits until `stop`, while this process has the lead.
pub(crate) async fn run(store: Store, link: Link, leading: Leading, stop: CancellationToken) {
    let waker = store.outbox_waker();
    let mut relay = Relay {
        publisher: Publisher::new(link.clone()),
        store,
        link,
        leading,
        declared: HashSet::new(),
    };
    while !stop.is_cancelled() {
        let tick = async {
            tokio::select! {
                () = waker.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        };
        if stop.run_until_cancelled(tick).await.is_none() {
            // What this process accepted last may still go out; what does not is durable.
            relay.send_all().await;
            return;
        }
        relay.send_all().await;
    }
}

struct Relay {
    store: Store,
    link: Link,
    leading: Leading,
    publisher: Publisher,
    /// Queues that exist on the broker as far as this connection knows.
    declared: HashSet<String>,
}

impl Relay {
    /// Sends until nothing is due or the broker does not take it.
    async fn send_all(&mut self) {
        while self.link.is_up() && *self.leading.borrow() {
            match self.send_batch().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(
                        error = error_chain(&error),
                        "the outbox could not be emptied"
                    );
                    self.declared.clear();
                    return;
                }
            }
        }
        // Another connection may be to a broker that was rebuilt empty.
        self.declared.clear();
    }

    /// One batch; whether there may be more that can be sent now.
    async fn send_batch(&mut self) -> Result<bool, Trouble> {
        let rows = self.store.due_messages(BATCH).await?;
        if rows.is_empty() {
            return Ok(false);
        }
        self.declare_queues(&rows).await?;
        // Each ends when the broker has answered for its message.
        let spans: Vec<_> = rows.iter().map(span_of).collect();
        let messages = rows.iter().zip(&spans);
        let messages = messages.map(|(row, span)| outgoing(row, span)).collect();
        let verdicts =
            common::durable!("api.publish", self.publisher.publish_batch(messages).await);
        drop(spans);
        let mut tx = self.store.write().await?;
        let mut all_sent = true;
        for (row, verdict) in rows.iter().zip(verdicts) {
            let why = match verdict {
                Published::Confirmed => {
                    tx.message_is_sent(row).await?;
                    continue;
                }
                // Nobody needs to listen to an event.
                Published::Unroutable if row.job_id.is_none() => {
                    tx.message_is_sent(row).await?;
                    continue;
                }
                Published::Unroutable => "no queue is bound for it".to_owned(),
                Published::Refused => "its queue is full".to_owned(),
                Published::Unknown(why) => why,
            };
            tracing::warn!(message.id = %row.id, key = row.routing_key, why, "a message waits");
            all_sent = false;
            let until = tx.now + RETRY_FIRST * 2_i32.pow(row.tries.min(RETRY_DOUBLINGS_MAX));
            tx.message_waits(row, until, &why).await?;
        }
        common::durable!("api.sent", tx.commit().await)?;
        if !all_sent {
            self.declared.clear();
        }
        Ok(all_sent)
    }

    /// A queue exists before its first message is published: a doorbell waits for a worker that has
    /// not come yet.
    async fn declare_queues(&mut self, rows: &[OutboxRow]) -> Result<(), BrokerError> {
        let mut channel = None;
        for row in rows.iter().filter(|row| row.exchange == topology::JOBS) {
            if self.declared.contains(&row.routing_key) {
                continue;
            }
            let Some(key) = read_key(&row.routing_key) else {
                continue;
            };
            let channel = match &channel {
                Some(channel) => channel,
                None => channel.insert(self.link.channel().await?),
            };
            topology::declare_job_queue(channel, &key).await?;
            self.declared.insert(row.routing_key.clone());
        }
        Ok(())
    }
}

/// The queue a routing key of a job names.
fn read_key(text: &str) -> Option<QueueKey> {
    let mut words = text.split('.');
    let key = QueueKey {
        kind: words.next()?.parse().ok()?,
        zone: words.next()?.parse().ok()?,
        backend: words.next()?.parse().ok()?,
    };
    words.next().is_none().then_some(key)
}

/// From the outbox to the broker's answer, for a message that is part of a trace.
fn span_of(row: &OutboxRow) -> Span {
    traces::within(row.traceparent, || {
        step!(
            "publish",
            otel.name = %format_args!("publish {}", row.message_type),
            otel.kind = "producer",
            messaging.system = "rabbitmq",
            messaging.destination.name = row.exchange,
            messaging.rabbitmq.destination.routing_key = row.routing_key,
            messaging.message.id = %row.id,
        )
    })
}

fn outgoing(row: &OutboxRow, span: &Span) -> Outgoing {
    let mut message = Outgoing::new(
        row.exchange.as_str(),
        row.routing_key.as_str(),
        row.message_type.as_str(),
        row.body.clone().into_bytes(),
    );
    message.message_id = row.id;
    message.content_type.clone_from(&row.content_type);
    message.correlation_id.clone_from(&row.correlation_id);
    message.mandatory = row.job_id.is_some();
    message.trace(traces::place_of(span).or(row.traceparent));
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_routing_key_reads_back_as_the_queue_it_was_made_of() {
        let key = read_key("backup.nova.fast").unwrap();
        assert_eq!(key.to_string(), "backup.nova.fast");
        assert!(read_key("backup.nova").is_none());
        assert!(read_key("backup.nova.fast.more").is_none());
        assert!(read_key("status.nova.fast").is_none());
    }
}
