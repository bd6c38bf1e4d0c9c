//! Doorbells that no queue was bound for: their queue is declared and they are rung again. A
//! publisher's request is taken in like any other. What names no job of ours is put aside for a person.

use std::sync::Arc;
use std::time::Duration;

use common::broker::{BrokerError, Incoming, Link, Publisher, consume, topology};
use common::domain::JobState;
use common::messages::jobs::JobMessage;
use common::messages::rpc::Submitted;
use common::retry::Backoff;
use common::telemetry::error_chain;
use tokio_util::sync::CancellationToken;

use super::Intake;
use crate::store::{Store, StoreError};

const PREFETCH: u16 = 10;
/// How often a database that fails is asked again.
const DATABASE_AGAIN: Duration = Duration::from_secs(1);

/// What became of a doorbell.
enum Rung {
    Again,
    Needless,
    /// It cannot be; a word for programs and a sentence for people.
    Never(String, String),
}

/// Consumes until `stop`.
pub(crate) async fn run(
    store: Store,
    intake: Arc<dyn Intake>,
    consuming: Link,
    publishing: Link,
    stop: CancellationToken,
) {
    let publisher = Publisher::new(publishing);
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    while !stop.is_cancelled() {
        let serve = serve(&store, intake.as_ref(), &consuming, &publisher);
        match stop.run_until_cancelled(serve).await {
            None | Some(Err(BrokerError::Stopped)) => return,
            Some(Ok(())) => backoff.reset(),
            Some(Err(error)) => {
                tracing::debug!(error = error_chain(&error), "look for unrouted jobs again");
            }
        }
        if !backoff.pause(&stop).await {
            return;
        }
    }
}

async fn serve(
    store: &Store,
    intake: &dyn Intake,
    link: &Link,
    publisher: &Publisher,
) -> Result<(), BrokerError> {
    let channel = link.channel().await?;
    let declaring = link.channel().await?;
    let mut messages = consume(&channel, topology::UNROUTED, PREFETCH).await?;
    while let Some(message) = messages.next().await {
        // A database that is away is waited for with the message in hand: given back, it would come
        // again at once, and be parked after enough returns.
        let rung = loop {
            match ring_again(store, intake, &declaring, &message).await? {
                Ok(rung) => break rung,
                Err(error) => {
                    tracing::warn!(error = error_chain(&error), "an unrouted job waits");
                    tokio::time::sleep(DATABASE_AGAIN).await;
                }
            }
        };
        match rung {
            Rung::Again | Rung::Needless => {
                message.ack().await;
            }
            Rung::Never(code, why) => {
                let parked = message.park(publisher, &code, &why);
                if let Err(error) = parked.await {
                    tracing::warn!(error = error_chain(&error), "a message was not put aside");
                }
            }
        }
    }
    Ok(())
}

async fn ring_again(
    store: &Store,
    intake: &dyn Intake,
    channel: &lapin::Channel,
    message: &Incoming,
) -> Result<Result<Rung, StoreError>, BrokerError> {
    let Some(doorbell) = JobMessage::read(message.body()) else {
        // A request that was published for a zone or backend nobody serves yet, or under a wrong key: the job's
        // own doorbell finds the right queue.
        let taken = intake.take(&message.to_submit()).await;
        return Ok(taken.map(|submitted| match submitted {
            Submitted::Accepted { .. } => Rung::Needless,
            Submitted::Rejected { code, message } => Rung::Never(code, message),
        }));
    };
    let job = match store.job(doorbell.job_id).await {
        Ok(Some(job)) => job,
        Ok(None) => {
            let why = "it names no job".to_owned();
            return Ok(Ok(Rung::Never("unknown_job".to_owned(), why)));
        }
        Err(error) => return Ok(Err(error)),
    };
    if job.state != JobState::Queued {
        return Ok(Ok(Rung::Needless));
    }
    topology::declare_job_queue(channel, &job.queue).await?;
    let ring = async {
        let mut tx = store.write().await?;
        if !tx.doorbell_waits(job.id).await? {
            tx.ring(job.id, &job.queue, job.origin(), job.next_at)
                .await?;
        }
        tx.commit().await
    };
    Ok(ring.await.map(|()| Rung::Again))
}
