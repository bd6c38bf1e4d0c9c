//! Waiting for something to become true.

use std::time::{Duration, Instant};

/// How long anything may take on a busy machine before a test calls it a failure.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Time between the first two looks; it grows, because what takes long is not worth many looks.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_LONGEST: Duration = Duration::from_millis(100);

/// Looks until there is something to see, for as long as [`PATIENCE`].
///
/// # Panics
/// When it never shows; `what` says what was waited for.
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, look).await
}

/// Looks until there is something to see, for as long as `limit`.
///
/// # Panics
/// When it never shows; `what` says what was waited for.
pub async fn until_within<T>(
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    let mut pause = PAUSE_FIRST;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}");
        tokio::time::sleep(pause).await;
        pause = PAUSE_LONGEST.min(pause.mul_f32(1.2));
    }
}
