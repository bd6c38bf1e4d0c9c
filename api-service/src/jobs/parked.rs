//! Messages that nobody could handle are taken over from the broker into a table, where a person
//! decides about them: a queue cannot be browsed without counting as delivered again.
//!
//! A job whose doorbell ends here is not lost: the reconciler rings again.

use std::time::Duration;

use common::broker::{BrokerError, Incoming, Link, consume, parked, topology};
use common::retry::Backoff;
use common::telemetry::error_chain;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::{ParkedMessage, Store, StoreError};

const PREFETCH: u16 = 10;
/// How often a database that fails is asked again.
const DATABASE_AGAIN: Duration = Duration::from_secs(1);

/// What the broker itself notes about a message that it gave up (RabbitMQ's dead letters).
const DEATH_REASON: &str = "x-first-death-reason";
const DEATH_QUEUE: &str = "x-first-death-queue";
const DEATH_EXCHANGE: &str = "x-first-death-exchange";

/// Takes over until `stop`.
pub(crate) async fn run(store: Store, link: Link, stop: CancellationToken) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    while !stop.is_cancelled() {
        match stop.run_until_cancelled(take_over(&store, &link)).await {
            None | Some(Err(BrokerError::Stopped)) => return,
            Some(Ok(())) => backoff.reset(),
            Some(Err(error)) => {
                tracing::debug!(
                    error = error_chain(&error),
                    "look for parked messages again"
                );
            }
        }
        if !backoff.pause(&stop).await {
            return;
        }
    }
}

async fn take_over(store: &Store, link: &Link) -> Result<(), BrokerError> {
    let channel = link.channel().await?;
    let mut messages = consume(&channel, topology::PARKED, PREFETCH).await?;
    while let Some(message) = messages.next().await {
        let row = parked_message(&message, store);
        while let Err(error) = keep(store, &row, message.is_redelivered()).await {
            tracing::warn!(error = error_chain(&error), "a parked message waits");
            tokio::time::sleep(DATABASE_AGAIN).await;
        }
        tracing::warn!(
            parked.id = %row.id,
            key = row.routing_key,
            code = row.code,
            reason = row.reason,
            "a message that nobody could handle is parked"
        );
        message.ack().await;
    }
    Ok(())
}

async fn keep(store: &Store, row: &ParkedMessage, is_redelivered: bool) -> Result<(), StoreError> {
    let mut tx = store.write().await?;
    tx.keep_parked(row, is_redelivered).await?;
    tx.commit().await
}

/// The row of a message, with the reason that its consumer gave, or the broker.
fn parked_message(message: &Incoming, store: &Store) -> ParkedMessage {
    let text = |name: &str| message.header(name);
    let by_broker = || {
        let queue = text(DEATH_QUEUE).unwrap_or_else(|| "its queue".to_owned());
        match text(DEATH_REASON).as_deref() {
            Some("delivery_limit") => {
                format!("it was given back to {queue} too often: it may end its readers")
            }
            Some(other) => format!("the broker took it out of {queue}: {other}"),
            None => "nobody said why".to_owned(),
        }
    };
    let code = text(parked::ERROR_CODE).or_else(|| text(DEATH_REASON));
    let exchange = text(parked::EXCHANGE).or_else(|| text(DEATH_EXCHANGE));
    ParkedMessage {
        id: Uuid::now_v7(),
        message_id: message.message_id(),
        exchange: exchange.unwrap_or_default(),
        routing_key: message.routing_key().to_owned(),
        message_type: message.message_type().unwrap_or_default().to_owned(),
        content_type: message.content_type().unwrap_or_default().to_owned(),
        correlation_id: message.correlation_id().map(str::to_owned),
        headers: message.headers(),
        body: message.body().to_vec(),
        code: code.unwrap_or_else(|| "unknown".to_owned()),
        reason: text(parked::ERROR).unwrap_or_else(by_broker),
        published_by: text(parked::PUBLISHED_BY),
        parked_at: store.now(),
    }
}
