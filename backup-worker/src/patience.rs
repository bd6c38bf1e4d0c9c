//! Deeds that may hang, and callers that wait only so long.

use std::sync::mpsc;
use std::time::Duration;

/// Does it on a thread of its own, and waits for the end that long. `None`: it is not done, and goes on
/// there; what it brings later is dropped.
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    deed: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (tell, told) = mpsc::channel();
    std::thread::Builder::new()
        .name("patience".to_owned())
        .spawn(move || drop(tell.send(deed())))
        .ok()?;
    told.recv_timeout(limit).ok()
}
