//! Step 8 of *Create*: a whole chain of segments becomes the two closing files.
//!
//! ```text
//! segments ─► checked from 0 to the volume's end ─► <prefix>_sha256file ● ─► strays removed ─► <prefix>_metadata ● = P1
//! ```
//!
//! The chain is read a few times over, one segment in memory at a time; each reading checks every
//! segment's own SHA-256 and that of its predecessor. Any execution may do this, any number of
//! times: the chain alone decides what is written.

use std::io;
use std::sync::Arc;

use common::domain::{ContainerName, ObjectPrefix};
use common::messages::sheet::{BackupSheet, StoredBackup};
use common::step;
use jiff::Timestamp;

use super::{EngineError, Monitor, scratch_of};
use crate::format::FormatError;
use crate::format::metadata::{self, MetadataHead, ObjectEntry};
use crate::format::segment::{self, NO_PREDECESSOR, Segment, SegmentChain};
use crate::format::sha256file::{self, Sha256Head};
use crate::store::{BackupStore, StoreError};

/// A backup to close.
#[derive(Debug)]
pub struct CloseTask<'a> {
    /// The backup and its names.
    pub sheet: &'a BackupSheet,
    /// Bytes of the frozen volume: where the chain has to end.
    pub volume_bytes: u64,
    /// When the volume was frozen.
    pub frozen_at: Timestamp,
    /// Where the objects are.
    pub store: Arc<dyn BackupStore>,
    /// The job.
    pub monitor: Arc<dyn Monitor>,
}

/// A backup that is whole and durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Data objects, without the two closing files.
    pub object_count: u64,
    /// Whether it was closed before, and nothing was left to do.
    pub already: bool,
}

/// Looks for a whole metadata file: the mark that a backup is closed.
///
/// # Errors
/// When the target cannot be read. A file that is not whole is no metadata file.
pub fn find_closed(
    store: &dyn BackupStore,
    backup: &StoredBackup,
) -> Result<Option<Closed>, EngineError> {
    let name = backup.prefix.metadata();
    let input = match store.open(&backup.container, &name) {
        Ok((input, _)) => input,
        Err(StoreError::NoSuchObject { .. } | StoreError::NoSuchContainer { .. }) => {
            return Ok(None);
        }
        Err(source) => return Err(source.into()),
    };
    let mut object_count = 0;
    let head = metadata::read(input, &mut |_object| {
        object_count += 1;
        Ok(())
    });
    match head {
        Ok(head) if head.backup_id == Some(backup.backup_id.to_string()) => Ok(Some(Closed {
            object_count,
            already: true,
        })),
        Ok(_) => Ok(None),
        Err(source) if source.is_transient() => Err(EngineError::File {
            backup_id: backup.backup_id,
            object: name,
            source,
        }),
        Err(_) => Ok(None),
    }
}

/// Closes a backup whose chain of segments covers the volume. Closed already is success.
///
/// # Errors
/// [`EngineError::Gap`] when the chain does not reach the volume's end, or an object it names is gone.
pub fn close_backup(task: &CloseTask<'_>) -> Result<Closed, EngineError> {
    close(task).map_err(|error| super::unless_away(&*task.store, error))
}

fn close(task: &CloseTask<'_>) -> Result<Closed, EngineError> {
    let CloseTask { sheet, store, .. } = task;
    let store = &**store;
    let backup = StoredBackup {
        backup_id: sheet.backup_id,
        container: sheet.names.container.clone(),
        prefix: sheet.names.prefix.clone(),
    };
    if let Some(closed) = find_closed(store, &backup)? {
        return Ok(closed);
    }
    let scratch = scratch_of(sheet)?;
    let container = &backup.container;
    store.check_marker()?;
    store.prepare(container, scratch)?;

    let chain = segment::longest_chain(store, container, scratch)
        .map_err(|source| EngineError::segments(sheet.backup_id, source))?;
    let reader = ChainReader {
        store,
        container,
        scratch,
        chain,
        sheet,
    };
    let object_count = reader.check(task)?;
    let strays = strays(store, container, &backup.prefix, object_count)?;

    let head = MetadataHead::of_record(
        sheet.backup_id,
        sheet.volume.volume_id,
        sheet.parent.as_ref().map(|parent| parent.backup_id),
        &sheet.record,
        task.frozen_at,
    );
    let monitor = &*task.monitor;
    monitor.may_write()?;
    common::failpoint!("backup.sha256file.before");
    let writing = step!("sha256 file").entered();
    put(
        &reader,
        monitor,
        &backup.prefix.sha256file(),
        &mut |out, failed| {
            let head = Sha256Head::beside(&head, u64::from(sheet.options.block_size_bytes));
            let mut digests = reader
                .segments(failed)
                .flat_map(|segment| each(segment, |segment| segment.digests));
            sha256file::write(out, &head, &mut digests)
        },
    )?;
    drop(writing);
    common::failpoint!("backup.sha256file.after");
    monitor.may_write()?;
    store.remove(container, &strays)?;
    common::failpoint!("backup.metadata.before");
    let writing = step!("metadata file").entered();
    put(
        &reader,
        monitor,
        &backup.prefix.metadata(),
        &mut |out, failed| {
            let mut objects = reader.segments(failed).flat_map(|segment| {
                each(segment, |segment| segment.objects).map(|object| {
                    object.map(|object| ObjectEntry {
                        name: backup.prefix.object(object.number),
                        offset: object.offset,
                        length: Some(u64::from(object.length)),
                        compression: object.compression,
                        md5: Some(object.md5),
                    })
                })
            });
            metadata::write(out, &head, &mut objects)
        },
    )?;
    drop(writing);
    common::failpoint!("backup.metadata.after");
    Ok(Closed {
        object_count,
        already: false,
    })
}

/// Writes the content of a closing file, and leaves an error of the chain beside its own.
type WriteFile<'a> = dyn FnMut(&mut dyn io::Write, &mut Option<EngineError>) -> io::Result<()> + 'a;

/// Writes one closing file. An error of the chain comes out as itself and not as a failed write. It gets its name only
/// while the lease is beyond doubt: an execution that slept may find the backup deleted.
fn put(
    reader: &ChainReader<'_>,
    monitor: &dyn Monitor,
    object: &str,
    write: &mut WriteFile<'_>,
) -> Result<(), EngineError> {
    let mut failed = None;
    let outcome = reader.store.put_stream(
        reader.container,
        reader.scratch,
        object,
        false,
        &mut |out| {
            let mut out = io::BufWriter::new(out);
            write(&mut out, &mut failed)?;
            io::Write::flush(&mut out)?;
            monitor.may_write().map_err(|stop| {
                failed = Some(stop.into());
                io::Error::other("the lease is over")
            })
        },
    );
    match failed {
        Some(error) => Err(error),
        None => Ok(outcome?),
    }
}

/// The items of a segment one by one, or its error.
fn each<T>(
    segment: io::Result<Segment>,
    items: impl FnOnce(Segment) -> Vec<T>,
) -> impl Iterator<Item = io::Result<T>> {
    let (items, error) = match segment {
        Ok(segment) => (items(segment), None),
        Err(error) => (Vec::new(), Some(Err(error))),
    };
    items.into_iter().map(Ok).chain(error)
}

/// What lies under the prefix and will not be named, and a check that all that will be named is there.
pub(super) fn strays(
    store: &dyn BackupStore,
    container: &ContainerName,
    prefix: &ObjectPrefix,
    object_count: u64,
) -> Result<Vec<String>, EngineError> {
    let (mut found, mut strays) = (0, Vec::new());
    store.for_each_name(container, prefix.as_str(), &mut |name| {
        if !prefix.can_have(name) {
            return;
        }
        let number = super::number_of(prefix, name);
        if number.is_some_and(|number| (1..=object_count).contains(&number)) {
            found += 1;
        } else if *name != prefix.sha256file() && *name != prefix.metadata() {
            strays.push(name.to_owned());
        }
    })?;
    if found != object_count {
        return Err(EngineError::Gap {
            why: format!("{found} of its {object_count} objects are on the backup target"),
        });
    }
    Ok(strays)
}

/// The chain of one attempt, read again and again.
struct ChainReader<'a> {
    store: &'a dyn BackupStore,
    container: &'a ContainerName,
    scratch: &'a str,
    chain: SegmentChain,
    sheet: &'a BackupSheet,
}

impl ChainReader<'_> {
    /// Reads the chain once and checks that it is the whole volume; tells how many objects it has.
    fn check(&self, task: &CloseTask<'_>) -> Result<u64, EngineError> {
        let gap = |why: String| EngineError::Gap { why };
        let block_size = u64::from(self.sheet.options.block_size_bytes);
        let (mut end, mut number, mut extent_end) = (0, 0, 0);
        let mut failed = None;
        for segment in self.segments(&mut failed) {
            task.monitor.keep_going()?;
            let Ok(segment) = segment else { break };
            if segment.start != end
                || segment.digests.len() as u64
                    != (segment.end - segment.start).div_ceil(block_size)
            {
                return Err(gap(format!(
                    "segment {} does not go on at byte {end}",
                    segment.sequence
                )));
            }
            for object in &segment.objects {
                let next = if self.sheet.parent.is_some() {
                    object.offset >= extent_end
                } else {
                    object.offset == extent_end // a full backup has every byte
                };
                let inside = next
                    && object.offset >= segment.start
                    && object.offset + u64::from(object.length) <= segment.end;
                if object.number != number + 1 || !inside {
                    return Err(gap(format!("object {} is out of order", object.number)));
                }
                number = object.number;
                extent_end = object.offset + u64::from(object.length);
            }
            end = segment.end;
        }
        if let Some(error) = failed {
            return Err(error);
        }
        if self.sheet.parent.is_none() && extent_end != end {
            return Err(gap(format!(
                "the objects end at byte {extent_end} of {end}"
            )));
        }
        if end != task.volume_bytes {
            return Err(gap(format!(
                "they end at byte {end} of {}",
                task.volume_bytes
            )));
        }
        Ok(number)
    }

    /// The segments in order, ending with the first that fails, whose error is left in `failed`.
    fn segments<'b>(
        &'b self,
        failed: &'b mut Option<EngineError>,
    ) -> impl Iterator<Item = io::Result<Segment>> + 'b {
        let mut previous = NO_PREDECESSOR;
        let mut over = false;
        self.chain.segments.iter().map_while(move |name| {
            if over {
                return None;
            }
            let error = match Segment::open(self.store, self.container, self.scratch, *name) {
                Ok((segment, sum)) if segment.previous == previous => {
                    previous = sum;
                    return Some(Ok(segment));
                }
                Ok(_) => EngineError::Gap {
                    why: format!("{name} does not follow its predecessor"),
                },
                Err(source) => EngineError::segments(self.sheet.backup_id, source),
            };
            over = true;
            *failed = Some(error);
            Some(Err(io::Error::other("a segment cannot be read")))
        })
    }
}

impl EngineError {
    pub(super) fn segments(backup_id: common::domain::BackupId, source: FormatError) -> Self {
        Self::File {
            backup_id,
            object: "a segment".to_owned(),
            source,
        }
    }
}
