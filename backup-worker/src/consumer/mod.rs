//! Takes jobs from the queues: claims, acknowledges, and only then works.
//!
//! ```text
//!           slot free? ── no ──► no consumer: other workers see the message
//!               │ yes
//! message ──► take slot ──► claim ──► durable answer? ──► stop consuming if that was the last slot
//!                              │ none                     ──► acknowledge ──► job's own thread
//!                              ▼
//!              stop consuming, give the message back once, wait for the state owner
//! ```
//!
//! A message is unacknowledged for as long as a claim takes. One that is no doorbell is handed to the
//! state owner, which makes a job of it or says why not; then it is parked with that reason. Whatever ends the stream of
//! messages, the session is built again on a new channel; and after a while without any reason, because a
//! consumer can be deaf and not know it.

mod dispatch;
mod lane;

use std::sync::Arc;
use std::time::Duration;

use common::broker::{self, AskError, BrokerError, Incoming, Link, topology};
use common::domain::{ClaimId, JobId, JobKind, QueueKey};
use common::messages::jobs::JobMessage;
use common::messages::rpc::{Ask, Claim, Claimed, Fence, Renew, Submitted};
use common::retry::Backoff;
use common::step;
use common::telemetry::{error_chain, traces};
use lapin::Channel;
use tracing::Instrument;
use uuid::Uuid;

use crate::environment::Environment;
use crate::running::{Lane, Slot};
use lane::LaneConsumers;

const AGAIN_FIRST: Duration = Duration::from_millis(200);
const AGAIN_LONGEST: Duration = Duration::from_secs(15);
/// How long one channel is used. A quorum queue that is removed and made again at once keeps its consumers,
/// but their channel takes the first messages of the new queue for ones it had, and drops them
/// unacknowledged (seen with RabbitMQ 3.10.8). The broker does not tell, and only the channel's end
/// gives those messages back.
const SESSION_LASTS: Duration = Duration::from_secs(30);
/// A claim that is under way when the worker begins to stop may take this much longer.
const LAST_CLAIM: Duration = Duration::from_secs(3);

/// The queues this worker takes jobs from.
fn queues(env: &Environment, lane: Lane) -> Vec<QueueKey> {
    let key = |kind, backend: &common::domain::Token| QueueKey {
        kind,
        zone: env.zone.clone(),
        backend: backend.clone(),
    };
    let for_volumes: &[JobKind] = match lane {
        Lane::Restores => &[JobKind::Restore],
        Lane::Others => &[JobKind::Backup, JobKind::Volume, JobKind::Clean],
    };
    let mut keys: Vec<QueueKey> = env
        .volumes
        .keys()
        .flat_map(|backend| for_volumes.iter().map(move |kind| key(*kind, backend)))
        .collect();
    if lane == Lane::Others {
        for kind in [JobKind::Delete, JobKind::Clean] {
            let key = key(kind, &env.target);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    keys
}

/// Why a session on one channel is over.
enum SessionEnd {
    /// The worker takes no more jobs.
    Drained,
    /// Channel or connection are gone.
    Broken,
    /// The channel was used long enough.
    Old,
    /// The state owner did not answer a claim.
    OwnerDown,
}

/// Consumes until the worker drains.
pub(crate) async fn consume_jobs(env: Arc<Environment>, link: Link) {
    let drain = env.stopping.drain.clone();
    let mut backoff = Backoff::new(AGAIN_FIRST, AGAIN_LONGEST);
    while !drain.is_cancelled() {
        let Some(opened) = drain.run_until_cancelled(open(&env, &link)).await else {
            return;
        };
        let end = match opened {
            Ok(session) => {
                backoff.reset();
                let channel = session.channel.clone();
                let end = session.run().await;
                broker::close(&channel).await;
                end
            }
            Err(error) => {
                tracing::warn!(
                    error = error_chain(&error),
                    "job queues cannot be consumed yet"
                );
                SessionEnd::Broken
            }
        };
        match end {
            SessionEnd::Drained => return,
            SessionEnd::Old => {}
            SessionEnd::Broken => {
                backoff.pause(&drain).await;
            }
            SessionEnd::OwnerDown => {
                tracing::warn!("the state owner does not answer; no jobs are taken until it does");
                if drain
                    .run_until_cancelled(owner_answers(&env))
                    .await
                    .is_some()
                {
                    tracing::info!("the state owner answers again");
                }
            }
        }
    }
}

/// Waits for the state owner: asks to renew a lease that nobody has, which is answered `fenced`.
async fn owner_answers(env: &Environment) {
    let nobody = Fence {
        job_id: JobId::from(Uuid::nil()),
        generation: 0,
        claim_id: ClaimId::from(Uuid::nil()),
    };
    let probe = Renew {
        fence: nobody,
        mark: 0,
    };
    if let Err(error) = env.rpc.ask(probe, &env.stopping.drain).await {
        tracing::warn!(
            error = error_chain(&error),
            "the state owner cannot be asked"
        );
        tokio::time::sleep(AGAIN_LONGEST).await;
    }
}

async fn open(env: &Arc<Environment>, link: &Link) -> Result<Session, BrokerError> {
    let channel = link.channel().await?;
    let restores = queues(env, Lane::Restores);
    let others = queues(env, Lane::Others);
    for key in restores.iter().chain(&others) {
        topology::declare_job_queue(&channel, key).await?;
    }
    Ok(Session {
        env: Arc::clone(env),
        restores: LaneConsumers::new(restores),
        others: LaneConsumers::new(others),
        channel,
        old_at: tokio::time::Instant::now() + SESSION_LASTS,
    })
}

/// Consumers on one channel.
struct Session {
    env: Arc<Environment>,
    channel: Channel,
    restores: LaneConsumers,
    others: LaneConsumers,
    old_at: tokio::time::Instant,
}

/// What a session waits for.
enum Happened {
    Message(Lane, Box<Incoming>),
    /// Slots or the set of queues worth consuming changed.
    LookAgain,
    Drain,
    Old,
    Broken,
}

impl Session {
    async fn run(mut self) -> SessionEnd {
        let drain = self.env.stopping.drain.clone();
        let mut given_back = self.env.running.given_back();
        loop {
            given_back.mark_unchanged();
            if let Err(error) = self.fit_to_slots().await {
                tracing::debug!(error = error_chain(&error), "the channel is of no more use");
                return SessionEnd::Broken;
            }
            let happened = tokio::select! {
                biased;
                () = drain.cancelled() => Happened::Drain,
                () = tokio::time::sleep_until(self.old_at) => Happened::Old,
                message = self.restores.next() => from_lane(Lane::Restores, message),
                message = self.others.next() => from_lane(Lane::Others, message),
                _ = given_back.changed() => Happened::LookAgain,
            };
            match happened {
                Happened::Drain => {
                    self.stop_all().await;
                    return SessionEnd::Drained;
                }
                Happened::Old => {
                    self.stop_all().await;
                    return SessionEnd::Old;
                }
                Happened::Broken => return SessionEnd::Broken,
                Happened::LookAgain => {}
                Happened::Message(lane, message) => {
                    if let Some(end) = self.take(lane, *message).await {
                        return end;
                    }
                }
            }
        }
    }

    /// Consumes where there are free slots, and nowhere else.
    async fn fit_to_slots(&mut self) -> Result<(), BrokerError> {
        let running = &self.env.running;
        self.restores
            .fit(&self.channel, running.free(Lane::Restores))
            .await?;
        self.others
            .fit(&self.channel, running.free(Lane::Others))
            .await
    }

    async fn stop_all(&mut self) {
        for lane in [&mut self.restores, &mut self.others] {
            if let Err(error) = lane.stop().await {
                tracing::debug!(error = error_chain(&error), "the channel is of no more use");
            }
        }
    }

    /// Takes one message. `Some` when the session is over.
    async fn take(&mut self, lane: Lane, message: Incoming) -> Option<SessionEnd> {
        let Some(slot) = self.env.running.take(lane) else {
            message.requeue().await; // the other lane was faster
            return None;
        };
        let Some(job) = JobMessage::read(message.body()) else {
            return self.submit(&message).await;
        };
        let claim = Claim {
            job_id: job.job_id,
            claim_id: ClaimId::new(),
            worker: self.env.worker.clone(),
            incarnation: self.env.incarnation,
        };
        let asked_at = self.env.boot_clock.now();
        if common::faults::planted("ack_before_claim") {
            message.ack().await;
            tokio::time::sleep(Duration::from_millis(300)).await; // it has gone out
        }
        let span = traces::within(
            message.traceparent(),
            || step!("claim", otel.kind = "consumer", job.id = %job.job_id, job.kind = %job.kind),
        );
        let asking = self.ask(claim.clone()).instrument(span);
        match common::durable!("worker.claim", asking.await) {
            Ok(answer) => self.answered(slot, &message, claim, asked_at, answer).await,
            Err(error) => Some(self.not_answered(&message, &error).await),
        }
    }

    /// Hands in what is no doorbell. If it becomes a job, that has a doorbell of its own.
    async fn submit(&mut self, message: &Incoming) -> Option<SessionEnd> {
        let span = traces::within(message.traceparent(), || {
            step!("submit", otel.kind = "consumer")
        });
        match self.ask(message.to_submit()).instrument(span).await {
            Ok(Submitted::Accepted { job_id }) => {
                tracing::debug!(job.id = %job_id, "a publisher's request was handed in");
                message.ack().await;
                None
            }
            Ok(Submitted::Rejected { code, message: why }) => {
                tracing::warn!(code, why, "a message is no job; it is parked");
                if let Err(error) = message.park(&self.env.publisher, &code, &why).await {
                    tracing::error!(error = error_chain(&error), "the message was not parked");
                }
                None
            }
            Err(error) => Some(self.not_answered(message, &error).await),
        }
    }

    /// The state owner did not decide: the message goes back.
    async fn not_answered(&mut self, message: &Incoming, error: &AskError) -> SessionEnd {
        let end = match error {
            AskError::Malformed(why) => {
                // Two versions that do not understand each other: nothing is wrong with the message.
                tracing::error!(why, "the state owner does not understand");
                SessionEnd::Broken
            }
            other => {
                let error = error_chain(other);
                tracing::warn!(error, "the state owner did not answer");
                SessionEnd::OwnerDown
            }
        };
        self.stop_all().await;
        message.requeue().await;
        end
    }

    /// Asks; gives up after a while, and sooner when the worker is stopping.
    async fn ask<A: Ask>(&self, ask: A) -> Result<A::Answer, AskError> {
        let asking = self.env.rpc.ask_within(ask, self.env.claim_patience);
        let stopping = async {
            self.env.stopping.drain.cancelled().await;
            tokio::time::sleep(LAST_CLAIM).await;
        };
        tokio::select! {
            biased;
            answer = asking => answer,
            () = stopping => Err(AskError::GivenUp),
        }
    }

    /// The answer is durable: from now on the state owner answers for the job.
    async fn answered(
        &mut self,
        slot: Slot,
        message: &Incoming,
        claim: Claim,
        asked_at: Duration,
        answer: Claimed,
    ) -> Option<SessionEnd> {
        let job_id = claim.job_id;
        let grant = match answer {
            Claimed::Granted(grant) => grant,
            Claimed::Duplicate | Claimed::Busy | Claimed::Cancelled => {
                tracing::debug!(job.id = %job_id, "nothing to do for this message");
                drop(slot);
                message.ack().await;
                return None;
            }
        };
        // Before the acknowledgement, so that the broker sends no message into a full worker.
        let fitted = self.fit_to_slots().await;
        common::durable!("worker.ack", message.ack().await);
        let place = message.traceparent();
        dispatch::start(&self.env, slot, claim, asked_at, *grant, place);
        fitted.err().map(|_| SessionEnd::Broken)
    }
}

fn from_lane(lane: Lane, message: lane::Next) -> Happened {
    match message {
        lane::Next::Message(message) => Happened::Message(lane, message),
        lane::Next::LookAgain => Happened::LookAgain,
        lane::Next::Broken => Happened::Broken,
    }
}
