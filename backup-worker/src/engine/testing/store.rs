//! A backup target in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, Read, Write};
use std::sync::Mutex;

use common::domain::ContainerName;

use crate::store::{BackupStore, Part, StoreError};

/// What was said of an object in a container, or done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) enum Look {
    WillRead(String),
    Open(String),
}

/// Objects in memory: scratch places are containers of their own.
#[derive(Debug, Default)]
pub(in crate::engine) struct MemoryStore {
    objects: Mutex<BTreeMap<(String, String), Vec<u8>>>,
    prepared: Mutex<BTreeSet<String>>,
    /// Objects that were said to be read before long, and objects that were opened, in order.
    looks: Mutex<Vec<Look>>,
}

impl MemoryStore {
    pub(in crate::engine) fn put(&self, container: &str, object: &str, bytes: Vec<u8>) {
        self.objects
            .lock()
            .unwrap()
            .insert((container.to_owned(), object.to_owned()), bytes);
    }

    pub(in crate::engine) fn get(&self, container: &str, object: &str) -> Option<Vec<u8>> {
        self.objects
            .lock()
            .unwrap()
            .get(&(container.to_owned(), object.to_owned()))
            .cloned()
    }

    pub(in crate::engine) fn delete(&self, container: &str, object: &str) {
        self.objects
            .lock()
            .unwrap()
            .remove(&(container.to_owned(), object.to_owned()));
    }

    /// All looks so far.
    pub(in crate::engine) fn looks(&self) -> Vec<Look> {
        self.looks.lock().unwrap().clone()
    }

    /// Names in a container or scratch place.
    pub(in crate::engine) fn names(&self, container: &str, prefix: &str) -> Vec<String> {
        self.objects
            .lock()
            .unwrap()
            .keys()
            .filter(|(place, name)| place == container && name.starts_with(prefix))
            .map(|(_, name)| name.clone())
            .collect()
    }

    fn reader(
        &self,
        container: &ContainerName,
        place: &str,
        object: &str,
    ) -> Result<Cursor<Vec<u8>>, StoreError> {
        self.get(place, object)
            .map(Cursor::new)
            .ok_or_else(|| StoreError::NoSuchObject {
                container: container.clone(),
                object: object.to_owned(),
            })
    }
}

pub(in crate::engine) fn scratch_place(container: &ContainerName, scratch: &str) -> String {
    format!("{container}/{scratch}")
}

impl BackupStore for MemoryStore {
    fn check_marker(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn prepare(&self, container: &ContainerName, scratch: &str) -> Result<(), StoreError> {
        self.prepared
            .lock()
            .unwrap()
            .insert(scratch_place(container, scratch));
        Ok(())
    }

    fn write_part(
        &self,
        container: &ContainerName,
        scratch: &str,
        part: &str,
        data: &[u8],
    ) -> Result<Part, StoreError> {
        let place = scratch_place(container, scratch);
        assert!(self.prepared.lock().unwrap().contains(&place));
        self.put(&place, part, data.to_vec());
        Ok(Part {
            name: part.to_owned(),
            bytes: data.len() as u64,
        })
    }

    fn discard_parts(
        &self,
        container: &ContainerName,
        scratch: &str,
        prefix: &str,
    ) -> Result<(), StoreError> {
        let place = scratch_place(container, scratch);
        for part in self.names(&place, prefix) {
            self.delete(&place, &part);
        }
        Ok(())
    }

    fn publish_parts(
        &self,
        container: &ContainerName,
        scratch: &str,
        parts: &[(Part, String)],
    ) -> Result<(), StoreError> {
        let place = scratch_place(container, scratch);
        for (part, object) in parts {
            let bytes = self
                .get(&place, &part.name)
                .expect("a part is there until it is published");
            assert_eq!(bytes.len() as u64, part.bytes);
            self.put(container.as_str(), object, bytes);
            self.delete(&place, &part.name);
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
        let scratch = scratch_place(container, scratch);
        let mut bytes = Vec::new();
        write(&mut bytes).map_err(|source| StoreError::Io {
            verb: "write",
            path: object.to_owned(),
            source,
        })?;
        let place = if in_scratch {
            &scratch
        } else {
            container.as_str()
        };
        self.put(place, object, bytes);
        Ok(())
    }

    fn open(
        &self,
        container: &ContainerName,
        object: &str,
    ) -> Result<(Box<dyn Read + Send>, u64), StoreError> {
        let look = Look::Open(object.to_owned());
        self.looks.lock().unwrap().push(look);
        let reader = self.reader(container, container.as_str(), object)?;
        let bytes = reader.get_ref().len() as u64;
        Ok((Box::new(reader), bytes))
    }

    fn will_read(&self, _container: &ContainerName, object: &str) {
        let look = Look::WillRead(object.to_owned());
        self.looks.lock().unwrap().push(look);
    }

    fn open_in_scratch(
        &self,
        container: &ContainerName,
        scratch: &str,
        name: &str,
    ) -> Result<Box<dyn Read + Send>, StoreError> {
        let place = scratch_place(container, scratch);
        Ok(Box::new(self.reader(container, &place, name)?))
    }

    fn for_each_name(
        &self,
        container: &ContainerName,
        prefix: &str,
        tell: &mut dyn FnMut(&str),
    ) -> Result<(), StoreError> {
        let names = self.names(container.as_str(), prefix);
        names.iter().for_each(|name| tell(name));
        Ok(())
    }

    fn list_scratch(
        &self,
        container: &ContainerName,
        scratch: &str,
    ) -> Result<Vec<String>, StoreError> {
        Ok(self.names(&scratch_place(container, scratch), ""))
    }

    fn remove(&self, container: &ContainerName, objects: &[String]) -> Result<(), StoreError> {
        for object in objects {
            self.delete(container.as_str(), object);
        }
        Ok(())
    }

    fn remove_scratch(&self, container: &ContainerName, scratch: &str) -> Result<(), StoreError> {
        let place = scratch_place(container, scratch);
        self.objects
            .lock()
            .unwrap()
            .retain(|(container, _), _| *container != place);
        Ok(())
    }
}
