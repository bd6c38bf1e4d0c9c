//! How much of the measuring is left.

use std::time::{Duration, Instant};

use crate::say;

/// What was expected of the parts, and how it went.
#[derive(Debug)]
pub(super) struct Pace {
    began: Instant,
    /// Expected seconds of what is done, and of all.
    done_s: f64,
    all_s: f64,
}

impl Pace {
    /// Nothing done yet of what should take so many seconds on a machine like the one these expectations come from.
    pub(super) fn new(all_s: f64) -> Self {
        Self {
            began: Instant::now(),
            done_s: 0.0,
            all_s,
        }
    }

    /// Says what begins, and about how long it takes to the end of all. `expected_s` is that part's.
    pub(super) fn begin(&mut self, what: &str, expected_s: f64) {
        let left = minutes(left(self.began.elapsed(), self.done_s, self.all_s));
        say::heading(format_args!("== {what}, about {left} to the end"));
        self.done_s += expected_s;
    }
}

/// By the speed so far, of which the first part says little.
fn left(spent: Duration, done_s: f64, all_s: f64) -> Duration {
    let speed = match done_s {
        0.0 => 1.0,
        done_s => spent.as_secs_f64() / done_s,
    };
    Duration::from_secs_f64((all_s - done_s).max(0.0) * speed)
}

/// Whole minutes, for people.
pub(super) fn minutes(time: Duration) -> String {
    format!("{} min", time.as_secs().div_ceil(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_what_was_expected_at_the_speed_so_far() {
        let seconds = Duration::from_secs;
        assert_eq!(left(seconds(0), 0.0, 600.0), seconds(600));
        assert_eq!(left(seconds(200), 100.0, 600.0), seconds(1000));
        assert_eq!(left(seconds(10), 700.0, 600.0), seconds(0));
    }
}
