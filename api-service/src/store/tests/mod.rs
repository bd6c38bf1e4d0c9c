//! The laws of requests, each a story on real rows.

mod arranged;
mod cascades;
mod create;
pub(crate) mod databases;
mod endings;
mod figures;
mod imports;
mod over;
mod races;
mod replicas;
mod restore;
mod rows;
mod snapshots;
mod traced;
pub(crate) mod trouble;

use std::collections::BTreeMap;

use common::domain::{
    BackupId, BackupStatus, ContainerName, JobKind, JobState, SnapshotId, VolumeId, VolumeSource,
    VolumeStatus,
};
use common::messages::rpc::{Commit, Committed, Fail, FailCause, Failed, Outcome, Renew, Renewed};
use common::messages::sheet::Sheet;
use jiff::SignedDuration;

use super::*;
use crate::testing::{World, caller, skip};
use databases::postgres;

fn refusal(error: RequestError) -> Refusal {
    match error {
        RequestError::Refused(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

fn is_missing<T>(result: Result<T, RequestError>, resource: Resource) -> bool {
    matches!(result, Err(RequestError::NotFound { what, .. }) if what == resource)
}

async fn delete(world: &World, id: BackupId, force: bool) -> Result<(), RequestError> {
    let store = &world.store;
    store
        .delete_backup(&world.caller, &Scope::All, id, force)
        .await
}

/// Does the delete job of a backup as a worker does.
async fn work_off_delete(world: &World, id: BackupId) {
    let job = world.job_of(id).await;
    assert_eq!(job.kind(), JobKind::Delete);
    let (fence, grant) = world.grant(job.id).await;
    let Sheet::Delete(sheet) = grant.sheet else {
        panic!("a delete has a delete's sheet");
    };
    assert!(sheet.objects_too);
    assert!(!sheet.attempts.is_empty());
    world.finish(fence, Outcome::Deleted).await;
    assert!(world.is_gone(id).await);
}

async fn messages_of(world: &World, kind: &str) -> Vec<String> {
    let rows = world.store.due_messages(10_000).await.unwrap();
    let types = rows.into_iter().map(|row| row.message_type);
    types.filter(|name| name.starts_with(kind)).collect()
}
