//! A backup target with faults.

use std::io::{self, Read, Write};
use std::sync::Arc;

use common::domain::ContainerName;

use super::{Faults, Verb};
use crate::store::{BackupStore, Part, StoreError};

/// Any store, with faults.
#[derive(Debug)]
pub(crate) struct FaultyStore {
    inner: Arc<dyn BackupStore>,
    faults: Faults,
}

impl FaultyStore {
    pub(crate) fn new(inner: Arc<dyn BackupStore>, faults: &Faults) -> Arc<Self> {
        Arc::new(Self {
            inner,
            faults: faults.clone(),
        })
    }

    fn call<T>(
        &self,
        verb: Verb,
        name: &str,
        call: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let failed = |source| StoreError::Io {
            verb: "use",
            path: name.to_owned(),
            source,
        };
        self.faults.call(verb, name, failed, call)
    }
}

impl BackupStore for FaultyStore {
    fn check_marker(&self) -> Result<(), StoreError> {
        self.call(Verb::CheckMarker, "", || self.inner.check_marker())
    }

    fn prepare(&self, container: &ContainerName, scratch: &str) -> Result<(), StoreError> {
        self.call(Verb::Prepare, scratch, || {
            self.inner.prepare(container, scratch)
        })
    }

    fn write_part(
        &self,
        container: &ContainerName,
        scratch: &str,
        part: &str,
        data: &[u8],
    ) -> Result<Part, StoreError> {
        self.call(Verb::WritePart, part, || {
            self.inner.write_part(container, scratch, part, data)
        })
    }

    fn discard_parts(
        &self,
        container: &ContainerName,
        scratch: &str,
        prefix: &str,
    ) -> Result<(), StoreError> {
        self.call(Verb::Remove, prefix, || {
            self.inner.discard_parts(container, scratch, prefix)
        })
    }

    /// One part at a time, so that some of them may be published when it fails.
    fn publish_parts(
        &self,
        container: &ContainerName,
        scratch: &str,
        parts: &[(Part, String)],
    ) -> Result<(), StoreError> {
        for part in parts.chunks(1) {
            self.call(Verb::Publish, &part[0].1, || {
                self.inner.publish_parts(container, scratch, part)
            })?;
        }
        Ok(())
    }

    fn put_stream(
        &self,
        container: &ContainerName,
        scratch: &str,
        object: &str,
        in_scratch: bool,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        self.call(Verb::Put, object, || {
            self.inner
                .put_stream(container, scratch, object, in_scratch, write)
        })
    }

    fn open(
        &self,
        container: &ContainerName,
        object: &str,
    ) -> Result<(Box<dyn Read + Send>, u64), StoreError> {
        let (inner, size) = self.call(Verb::Open, object, || self.inner.open(container, object))?;
        Ok((self.reader(inner, object), size))
    }

    fn will_read(&self, container: &ContainerName, object: &str) {
        self.inner.will_read(container, object);
    }

    fn open_in_scratch(
        &self,
        container: &ContainerName,
        scratch: &str,
        name: &str,
    ) -> Result<Box<dyn Read + Send>, StoreError> {
        let inner = self.call(Verb::Open, name, || {
            self.inner.open_in_scratch(container, scratch, name)
        })?;
        Ok(self.reader(inner, name))
    }

    fn for_each_name(
        &self,
        container: &ContainerName,
        prefix: &str,
        tell: &mut dyn FnMut(&str),
    ) -> Result<(), StoreError> {
        self.call(Verb::List, prefix, || {
            self.inner.for_each_name(container, prefix, tell)
        })
    }

    fn list_scratch(
        &self,
        container: &ContainerName,
        scratch: &str,
    ) -> Result<Vec<String>, StoreError> {
        self.call(Verb::List, scratch, || {
            self.inner.list_scratch(container, scratch)
        })
    }

    fn remove(&self, container: &ContainerName, objects: &[String]) -> Result<(), StoreError> {
        self.call(Verb::Remove, &objects.join(" "), || {
            self.inner.remove(container, objects)
        })
    }

    fn remove_scratch(&self, container: &ContainerName, scratch: &str) -> Result<(), StoreError> {
        self.call(Verb::Remove, scratch, || {
            self.inner.remove_scratch(container, scratch)
        })
    }
}

impl FaultyStore {
    fn reader(&self, inner: Box<dyn Read + Send>, name: &str) -> Box<dyn Read + Send> {
        Box::new(FaultyRead {
            inner,
            name: name.to_owned(),
            faults: self.faults.clone(),
        })
    }
}

struct FaultyRead {
    inner: Box<dyn Read + Send>,
    name: String,
    faults: Faults,
}

impl Read for FaultyRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self {
            inner,
            name,
            faults,
        } = self;
        faults.call(Verb::ReadStored, name, |error| error, || inner.read(buffer))
    }
}
