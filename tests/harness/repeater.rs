//! A broker's bad day: messages come again, late and in the wrong order.

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, Consumer};

use crate::broker::Broker;

/// The header that marks a copy, so that copies are not copied.
const MARK: &str = "x-test-repeated";

/// Publishes messages again until it is dropped.
#[derive(Debug)]
pub struct Repeater {
    channel: Channel,
    exchange: String,
    times: usize,
    held: usize,
    consumer: Consumer,
    _connection: Connection,
}

impl Repeater {
    /// Binds a queue of its own. Each message comes `times` more; that begins when `held` newer ones
    /// have come, or none comes for a moment, and the newest goes first.
    pub(crate) async fn bind(
        broker: &Broker,
        exchange: &str,
        key: &str,
        times: usize,
        held: usize,
    ) -> Self {
        let (connection, channel) = broker.channel().await;
        let options = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        let queue = channel
            .queue_declare("".into(), options, FieldTable::default())
            .await
            .expect("a queue can be made");
        let name = queue.name().clone();
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        channel
            .queue_bind(name.clone(), exchange.into(), key.into(), options, none)
            .await
            .expect("a queue can be bound");
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let consumer = channel
            .basic_consume(name, "".into(), options, FieldTable::default())
            .await
            .expect("a queue can be consumed");
        Self {
            channel,
            exchange: exchange.to_owned(),
            times,
            held,
            consumer,
            _connection: connection,
        }
    }

    /// Repeats for as long as this is polled.
    ///
    /// # Panics
    /// When the broker goes away.
    pub async fn run(mut self) {
        let moment = std::time::Duration::from_millis(200);
        let mut waiting: Vec<Delivery> = Vec::new();
        loop {
            match tokio::time::timeout(moment, self.consumer.next()).await {
                Ok(Some(Ok(message))) if is_copy(&message) => continue,
                Ok(Some(Ok(message))) => waiting.push(message),
                Ok(Some(Err(error))) => panic!("the repeater hears nothing more: {error}"),
                Ok(None) => panic!("the repeater's queue is gone"),
                Err(_) => self.send(&mut waiting).await,
            }
            if waiting.len() > self.held {
                self.send(&mut waiting).await;
            }
        }
    }

    async fn send(&self, waiting: &mut Vec<Delivery>) {
        while let Some(message) = waiting.pop() {
            let mut headers = message.properties.headers().clone().unwrap_or_default();
            headers.insert(MARK.into(), AMQPValue::Boolean(true));
            for _ in 0..self.times {
                let properties = message.properties.clone().with_headers(headers.clone());
                self.channel
                    .basic_publish(
                        self.exchange.as_str().into(),
                        message.routing_key.clone(),
                        BasicPublishOptions::default(),
                        &message.data,
                        properties,
                    )
                    .await
                    .expect("a message can be sent");
            }
        }
    }
}

fn is_copy(message: &Delivery) -> bool {
    let headers = message.properties.headers().as_ref();
    headers.is_some_and(|headers| headers.inner().contains_key(MARK))
}
