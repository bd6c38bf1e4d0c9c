//! Once to the broker and back, for who only wants to know whether that works.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Link, LinkState};
use crate::config::Amqp;
use crate::telemetry::error_chain;

/// Connects, logs in and declares the topology, as the services do.
///
/// # Errors
/// A sentence: what the broker refused, or what stood in the way for all of `patience`.
pub async fn reach(settings: &Amqp, patience: Duration) -> Result<(), String> {
    let tracker = TaskTracker::new();
    let stop = CancellationToken::new();
    let link = Link::start(settings, "check-config".to_owned(), &tracker, stop.clone());
    let mut state = link.state();
    let up = state.wait_for(|state| !matches!(state, LinkState::Down { .. }));
    let reached = tokio::select! {
        error = link.failed() => Err(error_chain(&error)),
        waited = tokio::time::timeout(patience, up) => match waited {
            Ok(Ok(state)) => match &*state {
                LinkState::Blocked => Err("it takes no messages: short of memory or disk".to_owned()),
                LinkState::Up { .. } | LinkState::Down { .. } => Ok(()),
            },
            Ok(Err(_)) | Err(_) => match &*link.state().borrow() {
                LinkState::Down { why } => Err(why.clone()),
                LinkState::Up { .. } | LinkState::Blocked => Ok(()),
            },
        },
    };
    stop.cancel();
    tracker.close();
    tracker.wait().await;
    reached
}
