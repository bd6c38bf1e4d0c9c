//! Another service that listens to our events.

use std::collections::VecDeque;
use std::time::Instant;

use common::messages::events::CloudEvent;
use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, Consumer};
use serde_json::Value;

use crate::broker::Broker;
use crate::wait::PATIENCE;

/// An event with whatever it carries.
pub type Event = CloudEvent<Value>;

/// Hears everything from the moment it is made.
pub struct Listener {
    consumer: Consumer,
    passed_over: VecDeque<(String, Event)>,
    _connection: Connection,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener")
            .field("passed_over", &self.passed_over)
            .finish_non_exhaustive()
    }
}

impl Listener {
    /// Binds a queue of its own to the events with this key, for example `status.#`.
    pub(crate) async fn bind(broker: &Broker, key: &str) -> Self {
        let (connection, channel) = broker.channel().await;
        let queue = channel
            .queue_declare(
                "".into(),
                QueueDeclareOptions {
                    exclusive: true,
                    auto_delete: true,
                    ..QueueDeclareOptions::default()
                },
                FieldTable::default(),
            )
            .await
            .expect("a queue can be made");
        channel
            .queue_bind(
                queue.name().clone(),
                "bk.v1.events".into(),
                key.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .expect("a queue can be bound to the events");
        let consumer = channel
            .basic_consume(
                queue.name().clone(),
                "".into(),
                BasicConsumeOptions {
                    no_ack: true,
                    ..BasicConsumeOptions::default()
                },
                FieldTable::default(),
            )
            .await
            .expect("a queue can be consumed");
        Self {
            consumer,
            passed_over: VecDeque::new(),
            _connection: connection,
        }
    }

    /// The first event not given yet, heard already or to come, that is wanted; with its routing
    /// key. Others stay for later calls.
    ///
    /// # Panics
    /// When none comes in time; `what` says which was waited for.
    pub async fn hear(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&Event) -> bool,
    ) -> (String, Event) {
        if let Some(at) = self.passed_over.iter().position(|(_, event)| wanted(event)) {
            return self.passed_over.remove(at).expect("it was just found");
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            let delivery = tokio::time::timeout(rest, self.consumer.next())
                .await
                .unwrap_or_else(|_| panic!("waited for {what}, heard {:#?}", self.passed_over))
                .expect("the queue lives as long as the connection")
                .expect("the connection lives");
            let event: Event = serde_json::from_slice(&delivery.data)
                .unwrap_or_else(|error| panic!("an event that is no CloudEvent: {error}"));
            let key = delivery.routing_key.to_string();
            if wanted(&event) {
                return (key, event);
            }
            self.passed_over.push_back((key, event));
        }
    }

    /// Forgets what was heard until now, so that only newer events are given.
    pub async fn forget(&mut self) {
        self.passed_over.clear();
        while let Ok(Some(_)) =
            tokio::time::timeout(std::time::Duration::ZERO, self.consumer.next()).await
        {}
    }
}
