//! Wall-clock time as an argument, so that a test can bring its own.

use jiff::Timestamp;

/// Tells the time of day. For durations use [`std::time::Instant`].
pub trait Clock: std::fmt::Debug + Send + Sync {
    /// Now, in UTC.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
