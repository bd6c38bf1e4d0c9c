//! One way to wait before trying again: exponential, with full jitter, without a limit of attempts.
//!
//! Full jitter (a delay anywhere between zero and the ceiling) keeps a fleet that lost the same
//! broker at the same moment from coming back at the same moment.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Delays that grow: each is drawn between zero and a ceiling that doubles up to a limit.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    ceiling: Duration,
}

impl Backoff {
    /// Ceilings from `first` to `longest`.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            ceiling: first.min(longest),
        }
    }

    /// The longest the next delay can be.
    #[must_use]
    pub fn ceiling(&self) -> Duration {
        self.ceiling
    }

    /// Draws a delay, and doubles the ceiling for the one after.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.ceiling.mul_f64(rand::random::<f64>());
        self.ceiling = self.ceiling.saturating_mul(2).min(self.longest);
        delay
    }

    /// Begins again: the last try did what it should.
    pub fn reset(&mut self) {
        self.ceiling = self.first.min(self.longest);
    }

    /// Sleeps the next delay. `false` when `stop` came first.
    pub async fn pause(&mut self, stop: &CancellationToken) -> bool {
        let delay = self.next_delay();
        stop.run_until_cancelled(tokio::time::sleep(delay))
            .await
            .is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_under_a_ceiling_that_doubles_up_to_the_longest() {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(1));
        for ceiling_ms in [200, 400, 800, 1000, 1000] {
            let ceiling = Duration::from_millis(ceiling_ms);
            assert_eq!(backoff.ceiling(), ceiling);
            assert!(backoff.next_delay() <= ceiling);
        }
        backoff.reset();
        assert_eq!(backoff.ceiling(), Duration::from_millis(200));
    }

    #[tokio::test]
    async fn a_stop_ends_the_pause() {
        let stop = CancellationToken::new();
        stop.cancel();
        let hour = Duration::from_secs(3600);
        assert!(!Backoff::new(hour, hour).pause(&stop).await);
    }
}
