//! `check-config`: everything a worker needs to work, tried without taking jobs.

use std::io::Read;
use std::time::Duration;

use common::broker::reach;
use common::checks::Checks;
use common::config::{BackupDriver, Settings, VolumeBackendDriver};
use common::domain::ContainerName;
use common::telemetry::error_chain;

use crate::patience::within;
use crate::store::{BackupStore, StoreError};

/// How long the broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the target may take to do what it does in a moment when it is well.
const TARGET_PATIENCE: Duration = Duration::from_secs(20);
/// What is written to the target, read back and removed.
const PROBE: &[u8] = b"written by check-config, which removes it again";
const CONTAINER: &str = "check-config";
const SCRATCH: &str = ".emberkeep-check-config";

/// Looks at each volume backend, tries the target, and logs in to the broker.
pub async fn check_config(settings: &Settings) -> Checks {
    let mut checks = Checks::default();
    for (name, backend) in &settings.volume_backends {
        let found = match backend.driver {
            VolumeBackendDriver::File => std::fs::read_dir(&backend.path)
                .map(|files| format!("{} files in {}", files.count(), backend.path.display()))
                .map_err(|error| format!("read {}: {error}", backend.path.display())),
        };
        checks.note(format!("volume_backends.{name}"), found);
    }
    if settings.volume_backends.is_empty() {
        let why = "none is configured: this worker would only delete backups".to_owned();
        checks.note("volume_backends", Err(why));
    }
    let (key, place) = match settings.backup.driver {
        BackupDriver::Posix => ("backup.path", settings.backup.path.display().to_string()),
        BackupDriver::Nfs => ("backup.nfs.share", settings.backup.nfs.share.clone()),
    };
    checks.note(format!("{key} {place}"), try_target(settings));
    let broker = reach(&settings.amqp, PATIENCE).await;
    checks.note(
        format!("amqp.url {}", settings.amqp.shown_url()),
        broker.map(|()| "logged in; exchanges and queues are as they should be".to_owned()),
    );
    checks
}

/// Tries the target, on a thread of its own: a share may hang.
fn try_target(settings: &Settings) -> Result<String, String> {
    let (store, root) = (crate::store_of(settings), crate::root_of(settings));
    let limit = TARGET_PATIENCE + settings.backup.nfs.mount_timeout;
    let done = format!(
        "a probe was written, read and removed in {}",
        root.display()
    );
    let tried = within(limit, move || {
        let tried = probe(store.as_ref());
        // A container of a directory stays when it is empty; one that somebody fills meanwhile is not ours to remove.
        let _ = std::fs::remove_dir(root.join(CONTAINER));
        store.leave();
        tried
    });
    match tried {
        Some(Ok(())) => Ok(done),
        Some(Err(error)) => Err(error_chain(&error)),
        None => Err(format!("it has not answered for {} s", limit.as_secs())),
    }
}

/// Does once what every backup does with the target. What was written is removed whatever comes.
fn probe(store: &dyn BackupStore) -> Result<(), StoreError> {
    let object = format!("probe-{}", uuid::Uuid::now_v7());
    let container = ContainerName::new(CONTAINER).expect("it is a name");
    store.check_marker()?;
    store.prepare(&container, SCRATCH)?;
    let tried = write_and_read(store, &container, &object);
    let removed = store.remove(&container, &[object]);
    let removed = store.remove_scratch(&container, SCRATCH).and(removed);
    tried.and(removed)
}

fn write_and_read(
    store: &dyn BackupStore,
    container: &ContainerName,
    object: &str,
) -> Result<(), StoreError> {
    store.put_stream(container, SCRATCH, object, false, &mut |file| {
        file.write_all(PROBE)
    })?;
    let failed = |source| StoreError::Io {
        verb: "read back",
        path: format!("{container}/{object}"),
        source,
    };
    let (mut reader, _) = store.open(container, object)?;
    let mut found = Vec::new();
    reader.read_to_end(&mut found).map_err(failed)?;
    if found != PROBE {
        let other = std::io::Error::other("it is not what was written");
        return Err(failed(other));
    }
    Ok(())
}
