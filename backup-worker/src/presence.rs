//! Signs of life: the worker says that it has come, that it is here, and that it goes on purpose.
//!
//! They decide nothing about leases but one: a start ends the leases of the worker's earlier runs.
//! The start is therefore said again with every heartbeat's incarnation; nothing is lost with one event.

use std::sync::Arc;

use common::broker::{Outgoing, Published, topology};
use common::messages::events::{
    CloudEvent, WORKER_HEARTBEAT, WORKER_STARTED, WORKER_STOPPED, WorkerData,
};

use crate::environment::Environment;

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
