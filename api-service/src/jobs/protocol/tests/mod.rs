//! The laws of the protocol, each a story on real rows.

mod attempts;
mod gate;
mod give_up;
mod lease;
mod model;
mod random;

use common::domain::{BackupStatus, ClaimId, Incarnation, JobKind, JobState, VolumeStatus};
use common::messages::rpc::{
    Claim, Claimed, Commit, Committed, Fail, FailCause, Failed, Fence, Finish, Finished,
    FrozenAnswer, FrozenReport, Outcome, Release, ReleaseReason, Released, Renew, Renewed, Reply,
    Restart, Restarted,
};
use common::messages::sheet::{BackupSheet, CleanScope, Frozen, Sheet, WorkTotals};
use jiff::SignedDuration;

use crate::jobs::reaper;
use crate::store::Scope;
use crate::testing::World;

fn backup_sheet(sheet: Sheet) -> BackupSheet {
    match sheet {
        Sheet::Backup(sheet) => *sheet,
        other => panic!("not a backup's sheet: {other:?}"),
    }
}

fn stale(fence: Fence) -> Fence {
    Fence {
        generation: fence.generation - 1,
        ..fence
    }
}

fn frozen(identity: &str) -> Frozen {
    Frozen {
        identity: identity.to_owned(),
        taken_at: "2026-03-01T10:00:05Z".parse().unwrap(),
        codec_fingerprint: "lz4".to_owned(),
    }
}

fn release(fence: Fence, why: ReleaseReason) -> Release {
    Release {
        fence,
        why,
        message: "no space left".to_owned(),
        mark: 0,
        retry_after_ms: 0,
    }
}

fn fail(fence: Fence, cause: FailCause) -> Fail {
    Fail {
        fence,
        cause,
        reason: "the volume is gone".to_owned(),
    }
}
