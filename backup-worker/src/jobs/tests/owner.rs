//! What the state owner would answer about one job.

use std::sync::{Mutex, MutexGuard};

use common::domain::{AttemptNames, ContainerName};
use common::messages::rpc::{
    Committed, FailCause, Failed, Finished, FrozenAnswer, Outcome, Released, Renewed, Request,
    Restarted,
};
use common::messages::sheet::{BackupSheet, RestoreSheet, Sheet};
use jiff::ToSpan as _;
use serde_json::{Value, to_value};

use crate::lease::Answers;

/// Attempts a backup may have.
const ATTEMPTS_MAX: u32 = 5;

/// One job's rows.
#[derive(Debug)]
pub(super) struct Owner(Mutex<Rows>);

#[derive(Debug, Clone)]
pub(super) struct Rows {
    pub(super) sheet: Sheet,
    /// Every attempt's names, the present one last.
    pub(super) attempts: Vec<AttemptNames>,
    pub(super) given_up: Option<String>,
    /// The last thing a release said.
    pub(super) released: Option<String>,
    pub(super) restarts: Vec<String>,
    pub(super) settled: Option<Outcome>,
}

impl Owner {
    pub(super) fn new(sheet: Sheet) -> Self {
        let attempts = match &sheet {
            Sheet::Backup(sheet) => vec![sheet.names.clone()],
            _ => Vec::new(),
        };
        Self(Mutex::new(Rows {
            sheet,
            attempts,
            given_up: None,
            released: None,
            restarts: Vec::new(),
            settled: None,
        }))
    }

    pub(super) fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap()
    }
}

fn backup(sheet: &mut Sheet) -> &mut BackupSheet {
    match sheet {
        Sheet::Backup(sheet) => sheet,
        other => panic!("a {} is asked of as a backup", other.kind()),
    }
}

impl Rows {
    fn note_mark(&mut self, mark: u64) {
        match &mut self.sheet {
            Sheet::Backup(sheet) => sheet.mark = sheet.mark.max(mark),
            Sheet::Restore(RestoreSheet { mark: noted, .. }) => *noted = (*noted).max(mark),
            Sheet::Delete(_) | Sheet::Volume(_) | Sheet::Clean(_) => {}
        }
    }

    fn restart(&mut self, reason: String) -> Restarted {
        let sheet = backup(&mut self.sheet);
        if sheet.committed {
            return Restarted::Committed;
        }
        if sheet.names.number >= ATTEMPTS_MAX {
            return Restarted::Exhausted { reason };
        }
        self.restarts.push(reason);
        sheet.names = names(sheet, sheet.names.number + 1);
        sheet.frozen = None;
        sheet.mark = 0;
        self.attempts.push(sheet.names.clone());
        Restarted::Attempt(Box::new(self.sheet.clone()))
    }
}

/// The names of an attempt: each a second later than the one before.
fn names(sheet: &BackupSheet, number: u32) -> AttemptNames {
    AttemptNames::new(
        number,
        ContainerName::from_backup_id(sheet.backup_id),
        sheet.volume.volume_id,
        sheet.backup_id,
        sheet.record.created_at + i64::from(number).seconds(),
    )
}

impl Answers for Owner {
    fn answer(&self, request: Request) -> Value {
        let mut rows = self.rows();
        let answer = match request {
            Request::Renew(renew) => {
                rows.note_mark(renew.mark);
                to_value(Renewed::Held { cancel: false })
            }
            Request::Frozen(report) => {
                let first = backup(&mut rows.sheet).frozen.get_or_insert(report.frozen);
                to_value(FrozenAnswer::Recorded(first.clone()))
            }
            Request::Restart(restart) => to_value(rows.restart(restart.reason)),
            Request::Fail(fail) => {
                let committed = backup(&mut rows.sheet).committed;
                if committed && fail.cause != FailCause::Lost {
                    to_value(Failed::Committed)
                } else {
                    rows.given_up.get_or_insert(fail.reason);
                    to_value(Failed::Recorded)
                }
            }
            Request::Commit(_) => {
                backup(&mut rows.sheet).committed = true;
                to_value(Committed::Passed)
            }
            Request::Release(release) => {
                rows.note_mark(release.mark);
                rows.released = Some(release.message);
                to_value(Released::Queued)
            }
            Request::Finish(finish) => {
                if matches!(finish.outcome, Outcome::BackedUp { .. }) {
                    assert!(
                        backup(&mut rows.sheet).committed,
                        "only a committed attempt is stored"
                    );
                }
                rows.settled = Some(finish.outcome);
                to_value(Finished::Settled)
            }
            Request::Claim(_) | Request::Submit(_) => panic!("a granted job claims nothing"),
        };
        answer.expect("answers can be written")
    }
}
