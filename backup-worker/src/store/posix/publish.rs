//! A batch of parts becomes objects: all of them are made durable side by side, then all get their names, and then the
//! names are made durable by one sync of their directory.
//!
//! One sync waits for the disk, or for the server's answer; several that wait together cost little more than one, as the
//! file system commits them together. No part has its final name before every part of its batch is durable.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;

use super::container::{Container, check_name, failed, forget, io_failed, unlink};
use crate::store::{Part, StoreError};

/// Syncs that are under way at once: a sealed batch of the usual size has as many objects.
const SYNCS_MAX: usize = 8;

/// Makes parts durable and gives them their final names.
///
/// # Errors
/// When a part is gone or the system refuses; no part was renamed then, unless a rename is what failed. Parts that could
/// not be made durable are removed.
pub(super) fn publish(
    container: &Container<'_>,
    scratch: &str,
    parts: &[(Part, String)],
) -> Result<(), StoreError> {
    for (part, object) in parts {
        check_name(&part.name)?;
        check_name(object)?;
    }
    let batch = Batch {
        container,
        directory: container.scratch(scratch)?,
        parts,
    };
    let unnamed = batch.sync()?;
    for (part, object) in unnamed {
        common::failpoint!("store.rename");
        rustix::fs::renameat(&batch.directory, &part.name, &container.fd, object)
            .map_err(|errno| failed("publish", &container.below(object), errno))?;
    }
    container.sync()
}

struct Batch<'a> {
    container: &'a Container<'a>,
    /// The scratch place.
    directory: OwnedFd,
    parts: &'a [(Part, String)],
}

impl<'a> Batch<'a> {
    /// Makes the content of all parts durable, and tells those that have no final name yet, in order.
    fn sync(&self) -> Result<Vec<&'a (Part, String)>, StoreError> {
        let next = AtomicUsize::new(0);
        let sync_some = || {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(part) = self.parts.get(index) else {
                    return done;
                };
                done.push((index, self.sync_one(part)));
            }
        };
        let mut done = std::thread::scope(|scope| {
            let helpers: Vec<_> = (1..self.parts.len().min(SYNCS_MAX))
                // This thread syncs too, so it does not matter if the system has no other.
                .map_while(|_| {
                    let helper = Builder::new().name("sync".to_owned());
                    helper.spawn_scoped(scope, sync_some).ok()
                })
                .collect();
            let mut done = sync_some();
            for helper in helpers {
                match helper.join() {
                    Ok(more) => done.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            done
        });
        done.sort_unstable_by_key(|(index, _)| *index);
        let mut unnamed = Vec::with_capacity(done.len());
        for (index, synced) in done {
            if synced? {
                unnamed.push(&self.parts[index]);
            }
        }
        Ok(unnamed)
    }

    /// Makes one part's content durable. `false` if it has its final name already.
    fn sync_one(&self, (part, object): &(Part, String)) -> Result<bool, StoreError> {
        let container = self.container;
        let file = match container.file(&self.directory, &part.name) {
            Ok((file, _)) => file,
            // Published by a call that failed further on.
            Err(missing @ StoreError::NoSuchObject { .. }) => {
                return match container.file(&container.fd, object) {
                    Ok((_, bytes)) if bytes == part.bytes => Ok(false),
                    _ => Err(missing),
                };
            }
            Err(error) => return Err(error),
        };
        common::faults::io("store.io")
            .and_then(|()| {
                if common::faults::planted("rename_without_fsync") {
                    return Ok(());
                }
                common::durable!("store.sync", file.sync_all())
            })
            .map_err(|source| {
                // What was not written then will never be: a second sync would say that all is well.
                let _ = unlink(&self.directory, &part.name);
                io_failed("sync", &container.below(object), source)
            })?;
        forget(&file);
        Ok(true)
    }
}
