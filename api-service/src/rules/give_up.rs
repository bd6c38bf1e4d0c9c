//! When a job that makes no progress is given up.

use std::time::Duration;

use common::domain::JobKind;

/// What counts for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trials<'a> {
    /// What the job does.
    pub kind: JobKind,
    /// Executions since the mark last moved.
    pub failures: u32,
    /// How long ago that was.
    pub without_progress: Duration,
    /// The last thing that went wrong, if anyone said.
    pub last_error: Option<&'a str>,
}

/// Why the job is to be given up, for its owner; `None` while it may be tried again. A clean is
/// never given up: what it is to remove does not go away by itself.
#[must_use]
pub fn why_give_up(trials: &Trials<'_>, failures_max: u32, age_max: Duration) -> Option<String> {
    if trials.kind == JobKind::Clean {
        return None;
    }
    let what = if trials.failures >= failures_max {
        format!("Given up after {} tries without progress", trials.failures)
    } else if trials.without_progress > age_max {
        let hours = trials.without_progress.as_secs() / 3600;
        format!("Given up after {hours} hours without progress")
    } else {
        return None;
    };
    Some(match trials.last_error {
        Some(last) => format!("{what}: {last}"),
        None => format!("{what}."),
    })
}

/// A job that is being given up, as far as its last execution counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastTries {
    /// How long it has been given up.
    pub given_up_for: Duration,
    /// Executions without progress, those before the give-up too.
    pub failures: u32,
}

/// Whether even the clean-up of a given-up job is to be left to a clean job: nobody managed it in
/// its time, or it has failed as often again as the job itself.
#[must_use]
pub fn ends_without_worker(tries: LastTries, failures_max: u32, deadline: Duration) -> bool {
    tries.given_up_for >= deadline || tries.failures >= failures_max.saturating_mul(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn trials(kind: JobKind, failures: u32, hours: u64) -> Trials<'static> {
        Trials {
            kind,
            failures,
            without_progress: Duration::from_secs(hours * 3600),
            last_error: Some("no space"),
        }
    }

    #[test]
    fn the_fifth_failure_or_the_second_day_ends_the_patience() {
        let why = |trials: &Trials<'_>| why_give_up(trials, 5, DAY);
        assert_eq!(why(&trials(JobKind::Backup, 4, 23)), None);
        assert_eq!(
            why(&trials(JobKind::Backup, 5, 0)).unwrap(),
            "Given up after 5 tries without progress: no space"
        );
        assert_eq!(
            why(&trials(JobKind::Restore, 0, 25)).unwrap(),
            "Given up after 25 hours without progress: no space"
        );
        assert_eq!(why(&trials(JobKind::Clean, 99, 99)), None);
    }

    #[test]
    fn a_give_up_has_its_time_and_its_tries_and_then_ends_without_a_worker() {
        let ends = |minutes: u64, failures| {
            let given_up_for = Duration::from_secs(minutes * 60);
            let tries = LastTries {
                given_up_for,
                failures,
            };
            ends_without_worker(tries, 5, Duration::from_secs(600))
        };
        assert!(!ends(9, 9));
        assert!(ends(10, 0));
        assert!(ends(0, 10));
    }
}
