//! What workers say about themselves and their jobs. It is only remembered, never stored, but for
//! which workers there are; every api-service listens on a queue of its own.

use std::time::Duration;

use common::broker::{BrokerError, Incoming, Link, consume, topology};
use common::messages::events::{
    CloudEvent, ProgressData, WORKER_STARTED, WORKER_STOPPED, WorkerData,
};
use common::retry::Backoff;
use common::telemetry::error_chain;
use serde::de::DeserializeOwned;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::board::Seen;
use super::{LiveWorkers, ProgressBoard, reaper};
use crate::store::{Store, StoreError};

/// Messages out at a time.
const PREFETCH: u16 = 200;

/// Listens until `stop`.
#[derive(Debug, Clone)]
pub(crate) struct Listener {
    pub(crate) store: Store,
    pub(crate) board: ProgressBoard,
    pub(crate) workers: LiveWorkers,
}

impl Listener {
    /// Listens on queue after queue; each lives as long as its connection.
    pub(crate) async fn run(self, link: Link, stop: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        while !stop.is_cancelled() {
            match stop.run_until_cancelled(Box::pin(self.listen(&link))).await {
                None | Some(Err(BrokerError::Stopped)) => break,
                Some(Ok(())) => backoff.reset(),
                Some(Err(error)) => {
                    tracing::debug!(error = error_chain(&error), "listen to workers again");
                }
            }
            self.workers.goes_deaf();
            if !backoff.pause(&stop).await {
                break;
            }
        }
        self.workers.goes_deaf();
    }

    async fn listen(&self, link: &Link) -> Result<(), BrokerError> {
        let channel = link.channel().await?;
        let queue = topology::progress_queue(&channel).await?;
        let mut messages = consume(&channel, &queue, PREFETCH).await?;
        self.workers.hears();
        while let Some(message) = messages.next().await {
            self.note(&message).await;
            message.ack().await;
        }
        Ok(())
    }

    async fn note(&self, message: &Incoming) {
        let key = message.routing_key();
        if key.starts_with("progress.") {
            if let Some(event) = read::<ProgressData>(message) {
                self.board.note(event.data);
            }
        } else if key.starts_with("worker.")
            && let Some(event) = read::<WorkerData>(message)
            && let Err(error) = self.note_worker(&event).await
        {
            tracing::warn!(
                error = error_chain(&error),
                worker = event.data.worker.as_str(),
                "a worker's sign of life could not be noted"
            );
        }
    }

    async fn note_worker(&self, event: &CloudEvent<WorkerData>) -> Result<(), StoreError> {
        let data = &event.data;
        if event.event_type == WORKER_STOPPED {
            self.workers.stopped(data);
            let mut tx = self.store.write().await?;
            tx.saw_worker(data, true).await?;
            return tx.commit().await;
        }
        let seen = self.workers.heard(data.clone());
        if matches!(seen, Seen::Started | Seen::Changed) {
            let mut tx = self.store.write().await?;
            tx.saw_worker(data, false).await?;
            tx.commit().await?;
        }
        if seen == Seen::Started || event.event_type == WORKER_STARTED {
            tracing::info!(
                worker = data.worker.as_str(),
                incarnation = %data.incarnation,
                zone = data.zone.as_str(),
                "a worker is here"
            );
            reaper::worker_started(&self.store, &data.worker, data.incarnation).await?;
        }
        Ok(())
    }

    /// Closes the streams of jobs that settle, until `stop`: at once when they settle here, and at the next look when
    /// another api-service settled them.
    pub(crate) async fn close_settled(self, stop: CancellationToken) {
        let mut settled = self.store.settled_jobs();
        let mut looks = tokio::time::interval(self.store.settings().jobs.sweep);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                next = settled.recv() => match next {
                    Ok(job) => self.board.settled(job.0),
                    // The next look finds those that were missed.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                _ = looks.tick() => {
                    if let Err(error) = self.close_missed().await {
                        tracing::debug!(error = error_chain(&error), "settled jobs were not looked for");
                    }
                }
            }
        }
    }

    async fn close_missed(&self) -> Result<(), StoreError> {
        for id in self.board.remembered() {
            if self
                .store
                .job(id)
                .await?
                .is_none_or(|job| job.outcome.is_some())
            {
                self.board.settled(id);
            }
        }
        Ok(())
    }
}

/// An event that says what we can read; others are not for us.
fn read<T: DeserializeOwned>(message: &Incoming) -> Option<CloudEvent<T>> {
    serde_json::from_slice(message.body())
        .inspect_err(|error| {
            tracing::debug!(%error, key = message.routing_key(), "an event cannot be read");
        })
        .ok()
}
