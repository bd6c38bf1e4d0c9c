//! Signs of life: the worker says that it has come, that it is here, and that it goes on purpose.
//!
//! They decide nothing about leases but one: a start ends the leases of the worker's earlier runs.
//! The start is therefore said again with every heartbeat's incarnation; nothing is lost with one event.

use std::sync::Arc;
use std::time::Duration;

use common::broker::{BrokerError, Link, Outgoing, Published, consume, topology};
use common::messages::events::{
    CloudEvent, WORKER_HEARTBEAT, WORKER_STARTED, WORKER_STOPPED, WorkerData,
};

use common::retry::Backoff;
use common::telemetry::error_chain;

use crate::environment::Environment;

const LISTEN_AGAIN_FIRST: Duration = Duration::from_millis(200);
const LISTEN_AGAIN_LONGEST: Duration = Duration::from_secs(15);

/// A sign of life is worthless after this many heartbeats.
const LIVES_HEARTBEATS: u32 = 3;

/// Says `started`, then `heartbeat` until the worker ends.
pub(crate) async fn show(env: Arc<Environment>) {
    let end = env.stopping.end.clone();
    let mut event_type = WORKER_STARTED;
    loop {
        let said = say(&env, event_type);
        match end.run_until_cancelled(said).await {
            None => return,
            Some(true) => event_type = WORKER_HEARTBEAT,
            Some(false) => {}
        }
        let pause = tokio::time::sleep(env.heartbeat);
        if end.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

/// Returns when another process bears this worker's name and began later. The state owner has given it all there is
/// to have: two that work under one name would end each other's leases for ever.
pub(crate) async fn until_replaced(env: &Environment, link: &Link) {
    let mut backoff = Backoff::new(LISTEN_AGAIN_FIRST, LISTEN_AGAIN_LONGEST);
    loop {
        match hear_successor(env, link).await {
            Ok(true) => return,
            Ok(false) => backoff.reset(),
            Err(error) => {
                let error = error_chain(&error);
                tracing::debug!(error, "listen to workers of this name again");
            }
        }
        if !backoff.pause(&env.stopping.end).await {
            return std::future::pending().await;
        }
    }
}

/// Whether a successor was heard before the stream of messages ended.
async fn hear_successor(env: &Environment, link: &Link) -> Result<bool, BrokerError> {
    let channel = link.channel().await?;
    let queue = topology::namesake_queue(&channel, &env.worker).await?;
    let mut messages = consume(&channel, &queue, 1).await?;
    while let Some(message) = messages.next().await {
        let event = serde_json::from_slice::<CloudEvent<WorkerData>>(message.body());
        message.ack().await;
        // One that only goes has nothing any more.
        if let Ok(event) = event
            && event.event_type != WORKER_STOPPED
            && event.data.worker == env.worker
            && event.data.incarnation > env.incarnation
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Says that the worker goes on purpose.
pub(crate) async fn say_goodbye(env: &Environment) {
    say(env, WORKER_STOPPED).await;
}

/// Whether the broker has it.
async fn say(env: &Environment, event_type: &str) -> bool {
    let data = WorkerData {
        worker: env.worker.clone(),
        incarnation: env.incarnation,
        zone: env.zone.clone(),
        volume_backends: env.volumes.keys().cloned().collect(),
        targets: vec![env.target.clone()],
        slots: env.slots,
        running: env.running.jobs(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let source = format!("/backup-worker/{}", env.worker);
    let subject = env.worker.to_string();
    let event = CloudEvent::new(source, event_type, subject, env.clock.now(), data);
    let key = topology::worker_key(&env.worker);
    let lives = env.heartbeat * LIVES_HEARTBEATS;
    match Outgoing::event(&event, key, Some(lives)) {
        Ok(event) => env.publisher.publish(event).await == Published::Confirmed,
        Err(_) => false,
    }
}
