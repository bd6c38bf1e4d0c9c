//! `check-config`: everything a worker needs to work, tried without taking jobs.

use std::io::Read;
use std::time::Duration;

use common::broker::reach;
use common::checks::Checks;
use common::config::{Settings, VolumeBackendDriver};
use common::domain::ContainerName;
use common::telemetry::error_chain;

use crate::store::{BackupStore, StoreError};

/// How long the broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
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
    let store = crate::store_of(settings);
    let tried = probe(store.as_ref());
    // A container of a directory stays when it is empty; one that somebody fills meanwhile is not ours to remove.
    let _ = std::fs::remove_dir(settings.backup.path.join(CONTAINER));
    checks.note(
        format!("backup.path {}", settings.backup.path.display()),
        tried
            .map(|()| "a probe was written, read and removed".to_owned())
            .map_err(|error| error_chain(&error)),
    );
    let broker = reach(&settings.amqp, PATIENCE).await;
    checks.note(
        format!("amqp.url {}", settings.amqp.shown_url()),
        broker.map(|()| "logged in; exchanges and queues are as they should be".to_owned()),
    );
    checks
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
