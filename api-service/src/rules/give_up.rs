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
        format!(
            "Given up after {} executions without progress",
            trials.failures
        )
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
            "Given up after 5 executions without progress: no space"
        );
        assert_eq!(
            why(&trials(JobKind::Restore, 0, 25)).unwrap(),
            "Given up after 25 hours without progress: no space"
        );
        assert_eq!(why(&trials(JobKind::Clean, 99, 99)), None);
    }
}
