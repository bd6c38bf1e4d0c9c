//! Volumes in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use common::domain::BackupId;
use jiff::Timestamp;

use crate::volume::{Extent, FrozenVolume, TargetVolume, Unchanged, VolumeError};

/// A volume that knows which of its bytes were written.
#[derive(Debug, Clone)]
pub(in crate::engine) struct MemoryVolume {
    bytes: Vec<u8>,
    written: Vec<bool>,
    unchanged: Option<Vec<Extent>>,
    reads: Arc<Mutex<Vec<Extent>>>,
}

impl MemoryVolume {
    /// All hole.
    pub(in crate::engine) fn new(size: usize) -> Self {
        Self {
            bytes: vec![0; size],
            written: vec![false; size],
            unchanged: None,
            reads: Arc::default(),
        }
    }

    /// From now on it tells that these ranges are as any parent has them, whether or not they are.
    pub(in crate::engine) fn tell_unchanged(&mut self, ranges: Vec<Extent>) {
        self.unchanged = Some(ranges);
    }

    /// What was read of it and its frozen views since this was asked last.
    pub(in crate::engine) fn take_reads(&self) -> Vec<Extent> {
        std::mem::take(&mut *self.reads.lock().unwrap())
    }

    pub(in crate::engine) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(in crate::engine) fn write(&mut self, offset: usize, data: &[u8]) {
        self.bytes[offset..offset + data.len()].copy_from_slice(data);
        self.written[offset..offset + data.len()].fill(true);
    }

    /// Makes a hole.
    pub(in crate::engine) fn trim(&mut self, offset: usize, length: usize) {
        self.bytes[offset..offset + length].fill(0);
        self.written[offset..offset + length].fill(false);
    }

    pub(in crate::engine) fn resize(&mut self, size: usize) {
        self.bytes.resize(size, 0);
        self.written.resize(size, false);
    }

    pub(in crate::engine) fn freeze(&self) -> Arc<dyn FrozenVolume> {
        Arc::new(self.clone())
    }
}

impl FrozenVolume for MemoryVolume {
    fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn identity(&self) -> &str {
        "memory"
    }

    fn frozen_at(&self) -> Option<Timestamp> {
        None
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), VolumeError> {
        self.reads.lock().unwrap().push(Extent {
            offset,
            length: buffer.len() as u64,
        });
        let offset = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(&self.bytes[offset..offset + buffer.len()]);
        Ok(())
    }

    fn next_data(&self, offset: u64) -> Result<Option<Extent>, VolumeError> {
        let from = usize::try_from(offset).unwrap();
        let Some(start) = (from..self.written.len()).find(|at| self.written[*at]) else {
            return Ok(None);
        };
        let end = (start..self.written.len())
            .find(|at| !self.written[*at])
            .unwrap_or(self.written.len());
        Ok(Some(Extent {
            offset: start as u64,
            length: (end - start) as u64,
        }))
    }

    fn will_read(&self, extent: Extent) {
        assert!(extent.length > 0 && extent.end() <= self.size_bytes());
        let range = usize::try_from(extent.offset).unwrap()..usize::try_from(extent.end()).unwrap();
        assert!(
            self.written[range].iter().all(|is_data| *is_data),
            "a hole is not read ahead"
        );
    }

    fn was_read(&self, extent: Extent) {
        assert!(extent.end() <= self.size_bytes());
    }

    fn check_unchanged(&self) -> Result<(), VolumeError> {
        Ok(())
    }

    fn unchanged_since(&self, _parent: BackupId) -> Option<Box<dyn Unchanged>> {
        let told = self.unchanged.clone()?;
        Some(Box::new(Told(told)))
    }
}

/// Says what it was told to say.
#[derive(Debug)]
struct Told(Vec<Extent>);

impl Unchanged for Told {
    fn unchanged_in(&self, extent: Extent, ranges: &mut Vec<Extent>) {
        ranges.clear();
        ranges.extend(self.0.iter().filter_map(|told| {
            let offset = told.offset.max(extent.offset);
            let end = told.end().min(extent.end());
            (offset < end).then(|| Extent {
                offset,
                length: end - offset,
            })
        }));
    }
}

/// A target volume, and what happened to it.
#[derive(Debug)]
pub(in crate::engine) struct MemoryTarget {
    bytes: Mutex<Vec<u8>>,
    pub(in crate::engine) written_bytes: AtomicU64,
    pub(in crate::engine) syncs: AtomicU64,
}

impl MemoryTarget {
    pub(in crate::engine) fn filled(size: usize, byte: u8) -> Arc<Self> {
        Self::holding(vec![byte; size])
    }

    pub(in crate::engine) fn holding(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self {
            bytes: Mutex::new(bytes),
            written_bytes: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
        })
    }

    pub(in crate::engine) fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }
}

impl TargetVolume for MemoryTarget {
    fn size_bytes(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), VolumeError> {
        let offset = usize::try_from(offset).unwrap();
        self.bytes.lock().unwrap()[offset..offset + data.len()].copy_from_slice(data);
        self.written_bytes
            .fetch_add(data.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), VolumeError> {
        let offset = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(&self.bytes.lock().unwrap()[offset..offset + buffer.len()]);
        Ok(())
    }

    fn sync(&self) -> Result<(), VolumeError> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
