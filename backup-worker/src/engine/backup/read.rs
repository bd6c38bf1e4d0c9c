//! Reading one chunk of the frozen volume, without reading its holes.

use std::ops::Range;

use crate::engine::EngineError;
use crate::engine::pages::Pages;
use crate::engine::shelf::Buffer;
use crate::engine::throttle::Pace;
use crate::volume::{Extent, FrozenVolume};

/// One thread's view of the volume.
#[derive(Debug)]
pub(super) struct ChunkReader<'a> {
    source: &'a dyn FrozenVolume,
    block_size: usize,
    /// Bytes of every buffer.
    length: usize,
    /// So many bytes behind a chunk are read by others meanwhile.
    ahead: u64,
    pace: Pace<'a>,
    /// Which blocks of the chunk have no data at all.
    holes: Vec<bool>,
    /// What the driver said last: from this offset on, the first data is there.
    known: Option<(u64, Option<Extent>)>,
}

/// A chunk in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk<'b> {
    /// Its bytes; holes are zeros.
    pub(super) data: &'b [u8],
    /// Which of its blocks are holes.
    pub(super) holes: &'b [bool],
    /// How many bytes were read.
    pub(super) read_bytes: u64,
}

impl<'a> ChunkReader<'a> {
    /// For one of so many threads that take chunks in turn.
    pub(super) fn new(
        source: &'a dyn FrozenVolume,
        chunk_size: usize,
        block_size: usize,
        threads: usize,
        pace: Pace<'a>,
    ) -> Self {
        let ahead = (threads.saturating_sub(1) * chunk_size) as u64;
        let chunk_size = usize::try_from(source.size_bytes())
            .unwrap_or(usize::MAX)
            .min(chunk_size);
        Self {
            source,
            block_size,
            length: chunk_size,
            ahead,
            pace,
            holes: Vec::new(),
            known: None,
        }
    }

    /// Reads the `wanted` runs of blocks of `extent`, at most a chunk, into `buffer`. In other blocks of the buffer
    /// is anything, and they count as holes.
    pub(super) fn read<'b>(
        &'b mut self,
        extent: Extent,
        wanted: &[Range<usize>],
        buffer: &'b mut Buffer,
    ) -> Result<Chunk<'b>, EngineError> {
        let Buffer { bytes, zeroed } = buffer;
        if bytes.is_empty() {
            *bytes = Pages::zeroed(self.length)?;
            *zeroed = true;
        }
        let length = index(extent.length);
        self.holes.clear();
        self.holes.resize(length.div_ceil(self.block_size), true);
        let mut read_bytes = 0;
        for run in wanted {
            let (start, end) = (
                run.start * self.block_size,
                length.min(run.end * self.block_size),
            );
            let is_whole = end - start == length;
            let mut filled = start;
            let place = |at: u64| index(at - extent.offset);
            let until = extent.offset + end as u64;
            while let Some(data) = self.data_from(extent.offset + filled as u64, until)? {
                let (from, to) = (place(data.offset), place(data.end()));
                if !*zeroed {
                    bytes[filled..from].fill(0);
                }
                *zeroed = false;
                self.pace.read(data.length); // before anything is read ahead
                if is_whole {
                    self.ask_for_the_next(extent);
                }
                self.source.read_at(data.offset, &mut bytes[from..to])?;
                self.source.was_read(data);
                self.holes[from / self.block_size..to.div_ceil(self.block_size)].fill(false);
                read_bytes += data.length;
                filled = to;
            }
            if !*zeroed {
                // An untouched chunk makes the whole buffer zeros, so that a long hole is filled once.
                let is_untouched = is_whole && filled == 0;
                let end = if is_untouched { bytes.len() } else { end };
                bytes[filled..end].fill(0);
                *zeroed = is_untouched;
            }
        }
        Ok(Chunk {
            data: &bytes[..length],
            holes: &self.holes,
            read_bytes,
        })
    }

    /// Where the data that is being read goes on behind this chunk and those that others have, it is read while
    /// all are at work. Only where it goes on: read ahead, a hole would take memory like data.
    fn ask_for_the_next(&self, chunk: Extent) {
        if let Some((_, Some(run))) = self.known {
            let offset = chunk.end() + self.ahead;
            let length = run.end().saturating_sub(offset).min(self.length as u64);
            if length > 0 {
                self.source.will_read(Extent { offset, length });
            }
        }
    }

    /// The first run of data at or after `from`, inside `from..end`.
    fn data_from(&mut self, from: u64, end: u64) -> Result<Option<Extent>, EngineError> {
        if from >= end {
            return Ok(None);
        }
        let run = match self.known {
            Some((asked, None)) if asked <= from => None,
            Some((asked, Some(run))) if asked <= from && from < run.end() => Some(run),
            _ => {
                let run = self.source.next_data(from)?;
                self.known = Some((from, run));
                run
            }
        };
        Ok(run.and_then(|run| {
            let start = run.offset.max(from);
            let end = run.end().min(end);
            (start < end).then(|| Extent {
                offset: start,
                length: end - start,
            })
        }))
    }
}

/// A length within a chunk as an index; chunks are below 4 GiB.
fn index(length: u64) -> usize {
    usize::try_from(length).expect("a chunk fits into memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Throttle;
    use crate::engine::testing::{MemoryVolume, TestMonitor};

    #[test]
    fn holes_are_zeros_and_are_not_read() {
        let mut volume = MemoryVolume::new(4096);
        volume.write(600, &[5; 100]);
        volume.write(2000, &[6; 100]);
        let frozen = volume.freeze();
        let (throttle, monitor) = (Throttle::default(), TestMonitor::new());
        let pace = throttle.pace(&*monitor);
        let mut reader = ChunkReader::new(&*frozen, 2048, 512, 2, pace);
        let mut buffer = Buffer::default();
        for _ in 0..2 {
            let chunk = reader
                .read(
                    Extent {
                        offset: 0,
                        length: 2048,
                    },
                    std::slice::from_ref(&(0..4)),
                    &mut buffer,
                )
                .unwrap();
            assert_eq!(chunk.data, &volume.bytes()[..2048]);
            assert_eq!(chunk.holes, [true, false, true, false]);
            assert_eq!(chunk.read_bytes, 148);
            let chunk = reader
                .read(
                    Extent {
                        offset: 2048,
                        length: 2048,
                    },
                    std::slice::from_ref(&(0..4)),
                    &mut buffer,
                )
                .unwrap();
            assert_eq!(chunk.data, &volume.bytes()[2048..]);
            assert_eq!(chunk.holes, [false, true, true, true]);
            assert_eq!(chunk.read_bytes, 52);
        }
    }

    #[test]
    fn a_hole_after_data_leaves_nothing_of_the_data() {
        let mut volume = MemoryVolume::new(3072);
        volume.write(0, &[5; 1024]);
        let frozen = volume.freeze();
        let (throttle, monitor) = (Throttle::default(), TestMonitor::new());
        let pace = throttle.pace(&*monitor);
        let mut reader = ChunkReader::new(&*frozen, 1024, 512, 1, pace);
        let mut buffer = Buffer::default();
        for offset in [0, 1024, 2048, 0, 2048] {
            let chunk = reader
                .read(
                    Extent {
                        offset,
                        length: 1024,
                    },
                    std::slice::from_ref(&(0..2)),
                    &mut buffer,
                )
                .unwrap();
            let at = usize::try_from(offset).unwrap();
            assert_eq!(chunk.data, &volume.bytes()[at..at + 1024]);
        }
    }
}
