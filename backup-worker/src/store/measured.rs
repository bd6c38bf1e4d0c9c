//! Any store, with a clock beside it: how long the target takes, and how often it refuses.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;

use common::domain::ContainerName;
use common::metrics::{TARGET_DURATION, TARGET_ERRORS};

use super::{BackupStore, Part, StoreError};

/// Counts what another store does.
#[derive(Debug)]
pub(crate) struct Measured(pub(crate) Arc<dyn BackupStore>);

/// What is not there is an answer, not a refusal.
fn measured<T>(
    operation: &'static str,
    run: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let began = Instant::now();
    let result = run();
    metrics::histogram!(TARGET_DURATION, "operation" => operation).record(began.elapsed());
    if let Err(error) = &result
        && !matches!(
            error,
            StoreError::NoSuchContainer { .. } | StoreError::NoSuchObject { .. }
        )
    {
        metrics::counter!(TARGET_ERRORS, "operation" => operation).increment(1);
    }
    result
}

impl BackupStore for Measured {
    fn check_marker(&self) -> Result<(), StoreError> {
        measured("check_marker", || self.0.check_marker())
    }

    fn leave(&self) {
        self.0.leave();
    }

    fn prepare(&self, container: &ContainerName, scratch: &str) -> Result<(), StoreError> {
        measured("prepare", || self.0.prepare(container, scratch))
    }

    fn write_part(
        &self,
        container: &ContainerName,
        scratch: &str,
        part: &str,
        data: &[u8],
    ) -> Result<Part, StoreError> {
        measured("write_part", || {
            self.0.write_part(container, scratch, part, data)
        })
    }

    fn publish_parts(
        &self,
        container: &ContainerName,
        scratch: &str,
        parts: &[(Part, String)],
    ) -> Result<(), StoreError> {
        measured("publish_parts", || {
            self.0.publish_parts(container, scratch, parts)
        })
    }

    fn discard_parts(
        &self,
        container: &ContainerName,
        scratch: &str,
        prefix: &str,
    ) -> Result<(), StoreError> {
        measured("remove", || {
            self.0.discard_parts(container, scratch, prefix)
        })
    }

    fn put_stream(
        &self,
        container: &ContainerName,
        scratch: &str,
        object: &str,
        in_scratch: bool,
        write: &mut dyn FnMut(&mut dyn io::Write) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        measured("put_stream", || {
            self.0
                .put_stream(container, scratch, object, in_scratch, write)
        })
    }

    fn open(
        &self,
        container: &ContainerName,
        object: &str,
    ) -> Result<(Box<dyn Read + Send>, u64), StoreError> {
        measured("open", || self.0.open(container, object))
    }

    fn will_read(&self, container: &ContainerName, object: &str) {
        self.0.will_read(container, object);
    }

    fn open_in_scratch(
        &self,
        container: &ContainerName,
        scratch: &str,
        name: &str,
    ) -> Result<Box<dyn Read + Send>, StoreError> {
        measured("open", || self.0.open_in_scratch(container, scratch, name))
    }

    fn for_each_name(
        &self,
        container: &ContainerName,
        prefix: &str,
        tell: &mut dyn FnMut(&str),
    ) -> Result<(), StoreError> {
        measured("list", || self.0.for_each_name(container, prefix, tell))
    }

    fn list_scratch(
        &self,
        container: &ContainerName,
        scratch: &str,
    ) -> Result<Vec<String>, StoreError> {
        measured("list", || self.0.list_scratch(container, scratch))
    }

    fn remove(&self, container: &ContainerName, objects: &[String]) -> Result<(), StoreError> {
        measured("remove", || self.0.remove(container, objects))
    }

    fn remove_scratch(&self, container: &ContainerName, scratch: &str) -> Result<(), StoreError> {
        measured("remove", || self.0.remove_scratch(container, scratch))
    }
}
