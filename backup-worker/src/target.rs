//! Whether the backup target can be used, looked at again and again while the worker lives.
//!
//! Looking may hang for as long as a server is away, so each look has a thread of its own, and who asks is told what
//! the last one saw and for how long this one has waited. Nothing here waits for the target: not the start, not
//! signs of life, not probes, not the end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::telemetry::error_chain;
use tokio::sync::oneshot;

use crate::environment::Environment;
use crate::patience::within;
use crate::store::{BackupStore, StoreError};

/// A target that takes longer to show its marker hangs.
const SLOW: Duration = Duration::from_secs(5);
/// How long the driver may take to leave.
const LEAVING: Duration = Duration::from_secs(10);

/// What is known of the target.
#[derive(Debug, Clone, Default)]
pub(crate) struct TargetState(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// When the look that is under way began.
    looking_since: Option<Instant>,
    /// What the last one saw; nothing before the first has ended.
    seen: Option<Result<(), String>>,
}

impl TargetState {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long it has not answered, if that is longer than it should take.
    pub(crate) fn hangs(&self) -> Option<String> {
        let waiting = self.known().looking_since?.elapsed();
        (waiting >= SLOW).then(|| format!("it has not answered for {} s", waiting.as_secs()))
    }

    /// Why it cannot be used, if so.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.hangs().or_else(|| match &self.known().seen {
            None => Some("it has not answered yet".to_owned()),
            Some(Err(why)) => Some(why.clone()),
            Some(Ok(())) => None,
        })
    }

    fn looks(&self) {
        self.known().looking_since = Some(Instant::now());
    }

    /// Notes what was seen, and says so if it is news.
    fn has_seen(&self, seen: Result<(), String>) {
        let mut known = self.known();
        known.looking_since = None;
        let is_news = known.seen.as_ref() != Some(&seen);
        known.seen = Some(seen.clone());
        drop(known);
        match seen {
            Ok(()) if is_news => tracing::info!("the backup target can be used"),
            Err(error) if is_news => tracing::warn!(error, "the backup target cannot be used"),
            Ok(()) | Err(_) => {}
        }
    }
}

/// Looks at the target, once with every heartbeat, until the worker ends.
pub(crate) async fn watch(env: Arc<Environment>) {
    let end = env.stopping.end.clone();
    loop {
        env.target_state.looks();
        let seen = end.run_until_cancelled(look(Arc::clone(&env.store))).await;
        let Some(seen) = seen else { return };
        env.target_state.has_seen(seen);
        let pause = tokio::time::sleep(env.heartbeat);
        if end.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

async fn look(store: Arc<dyn BackupStore>) -> Result<(), String> {
    let (tell, told) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("target".to_owned())
        .spawn(move || drop(tell.send(store.check_marker())));
    match thread {
        Ok(_detached) => match told.await {
            Ok(seen) => seen.map_err(|error: StoreError| error_chain(&error)),
            Err(_) => Err("looking at it ended without an answer".to_owned()),
        },
        Err(error) => Err(format!("no thread can be started to look at it: {error}")),
    }
}

/// Has the driver take down what it set up.
pub(crate) async fn leave(env: &Environment) {
    let store = Arc::clone(&env.store);
    let left = move || within(LEAVING, move || store.leave()).is_some();
    match tokio::task::spawn_blocking(left).await {
        Ok(true) => {}
        Ok(false) | Err(_) => tracing::warn!("the backup target could not be left in time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_in_trouble_until_it_was_seen_and_while_it_hangs() {
        let state = TargetState::default();
        assert!(state.trouble().is_some());
        state.looks();
        assert_eq!(state.trouble().unwrap(), "it has not answered yet");
        state.has_seen(Ok(()));
        assert_eq!(state.trouble(), None);
        state.looks();
        assert_eq!(state.trouble(), None, "a look takes a moment");
        state.known().looking_since = Instant::now().checked_sub(SLOW);
        assert!(
            state
                .trouble()
                .unwrap()
                .contains("has not answered for 5 s")
        );
        state.has_seen(Err("it is another's".to_owned()));
        assert_eq!(state.trouble().unwrap(), "it is another's");
        assert_eq!(state.hangs(), None, "who answers does not hang");
    }
}
