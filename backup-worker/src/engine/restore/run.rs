//! One window, run to its end by one thread: decode, check, write, batch after batch.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::chain::Chain;
use super::check::{BlockChecker, Verdict, push_range};
use super::merge::Piece;
use super::objects::{Fault, OpenObjects};
use super::windows::Window;
use crate::engine::digest::is_zero;
use crate::engine::{BadExtent, Damage, EngineError, Monitor, TargetHolds};
use crate::store::BackupStore;
use crate::volume::TargetVolume;

/// Where restored bytes go.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sink<'a> {
    /// To a volume, all but the zeros that it has already.
    Volume {
        target: &'a dyn TargetVolume,
        holds: TargetHolds,
    },
    /// Nowhere: they are only checked, and every object to its end.
    Nowhere,
}

/// What all threads of a restore share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared<'a> {
    pub(super) store: &'a dyn BackupStore,
    pub(super) chain: &'a Chain,
    pub(super) sink: Sink<'a>,
    pub(super) monitor: &'a dyn Monitor,
    /// Bytes of a block; of a convenient piece when there are no digests.
    pub(super) block_size: usize,
    /// Bytes of the volume that are checked and written at once; whole blocks.
    pub(super) batch: usize,
    /// Bytes below this are covered by digests of whole blocks.
    pub(super) whole_blocks_end: u64,
    /// Where the volume's last, perhaps short block begins, if there are digests.
    pub(super) last_block: Option<u64>,
    pub(super) damage: &'a Mutex<Damage>,
    /// Whom to name for a block that no object has.
    pub(super) gap: &'a BadExtent,
}

/// How far a thread is in its window.
#[derive(Debug)]
pub(super) struct Report {
    /// The window's place in the order.
    pub(super) window: u64,
    /// Bytes of the volume before this are done, as far as this window goes.
    pub(super) position: u64,
    /// Whether the window is.
    pub(super) finished: bool,
    /// Bytes of the volume that were done since the last report.
    pub(super) done: u64,
    /// Bytes that came out of decoders.
    pub(super) read: u64,
    /// Bytes written to the target.
    pub(super) written: u64,
}

impl Report {
    /// A window that nobody looks at.
    pub(super) fn passed_over(number: u64, window: &Window) -> Self {
        Self {
            window: number,
            position: window.end,
            finished: true,
            done: window.end - window.start,
            read: 0,
            written: 0,
        }
    }
}

/// One thread's tools.
#[derive(Debug)]
pub(super) struct WindowRunner<'a> {
    shared: Shared<'a>,
    objects: OpenObjects<'a>,
    checker: BlockChecker,
    buffer: Vec<u8>,
    /// What the target has; of use only where an earlier execution may have written.
    found: Vec<u8>,
    /// What objects gave of the batch, and what they failed to give; offsets in the buffer.
    given: Vec<Range<usize>>,
    missing: Vec<Range<usize>>,
    /// Objects that gave all their bytes, and not those of their MD5.
    doubtful: Vec<(u32, String)>,
    verdicts: Vec<Verdict>,
    writes: Vec<Range<usize>>,
}

impl<'a> WindowRunner<'a> {
    pub(super) fn new(shared: Shared<'a>) -> Self {
        Self {
            shared,
            objects: OpenObjects::new(shared.store, shared.chain),
            checker: BlockChecker::new(shared.block_size),
            buffer: vec![0; shared.batch],
            found: Vec::new(),
            given: Vec::new(),
            missing: Vec::new(),
            doubtful: Vec::new(),
            verdicts: Vec::new(),
            writes: Vec::new(),
        }
    }

    /// Runs one window. `report` tells whether anyone still listens.
    pub(super) fn run(
        &mut self,
        number: u64,
        window: &Window,
        mut report: impl FnMut(Report) -> bool,
    ) -> Result<(), EngineError> {
        let mut position = window.start;
        let mut pieces = &window.pieces[..];
        let mut blocks_done = 0;
        while position < window.end {
            self.shared.monitor.keep_going()?;
            let length = self.buffer.len().min(index(window.end - position));
            let end = position + length as u64;
            while let [first, rest @ ..] = pieces
                && first.end <= position
            {
                pieces = rest;
            }
            let here = &pieces[..pieces.partition_point(|piece| piece.start < end)];
            self.gather(position, length, here)?;
            let digests = &window.digests[blocks_done.min(window.digests.len())..];
            self.judge(position, length, here, digests);
            for (object, why) in self.doubtful.drain(..) {
                if !self.shared.is_noted(object) {
                    self.shared.whole_object(object, why);
                }
            }
            let written = self.write(position, length)?;

            let (shared, whole) = (self.shared, self.shared.whole_blocks_end);
            // What digests cover is proven; an object that gave anything else is read to its end for its MD5.
            let to_the_end =
                |object_end| object_end > whole || matches!(shared.sink, Sink::Nowhere);
            self.objects.close_ended(end, to_the_end, |object, why| {
                shared.whole_object(object, why);
            })?;
            blocks_done += self.verdicts.len();
            position = end;
            if position == window.end {
                self.objects.close_all();
            }
            let listened = report(Report {
                window: number,
                position,
                finished: position == window.end,
                done: length as u64,
                read: self.objects.take_decoded_bytes(),
                written,
            });
            if !listened {
                break;
            }
        }
        Ok(())
    }

    /// Fills the buffer from the pieces; gaps are zeros.
    fn gather(&mut self, start: u64, length: usize, pieces: &[Piece]) -> Result<(), EngineError> {
        self.given.clear();
        self.missing.clear();
        let mut filled = 0;
        for piece in pieces {
            let from = piece.start.max(start);
            let range = index(from - start)..index(piece.end - start).min(length);
            self.buffer[filled..range.start].fill(0);
            filled = range.end;
            let object = &self.shared.chain.objects()[piece.object as usize];
            let buffer = &mut self.buffer[range.clone()];
            match self
                .objects
                .read(piece.object, from - object.offset, buffer)
            {
                Ok(()) => push_range(&mut self.given, range),
                Err(Fault::Damage { why, whole: true }) if self.shared.last_block.is_some() => {
                    // All bytes came; the block digests will tell which of them are wrong.
                    push_range(&mut self.given, range);
                    self.doubtful.push((piece.object, why));
                }
                Err(Fault::Damage { why, whole: true }) => {
                    self.shared.whole_object(piece.object, why);
                    push_range(&mut self.missing, range);
                }
                Err(Fault::Damage { why, whole: false }) => {
                    let bad =
                        self.shared
                            .chain
                            .bad(piece.object as usize, from, range.len() as u64, why);
                    self.shared.note(bad);
                    push_range(&mut self.missing, range);
                }
                Err(Fault::Engine(error)) => return Err(error),
            }
        }
        self.buffer[filled..length].fill(0);
        Ok(())
    }

    /// Judges every block of the buffer, and notes those that are not what their digest says.
    fn judge(&mut self, start: u64, length: usize, pieces: &[Piece], digests: &[[u8; 32]]) {
        let block_size = self.shared.block_size;
        self.verdicts.clear();
        self.verdicts
            .resize(length.div_ceil(block_size), Verdict::NoDigest);
        if digests.is_empty() {
            return;
        }
        for missing in &self.missing {
            self.verdicts[missing.start / block_size..missing.end.div_ceil(block_size)]
                .fill(Verdict::Missing);
        }
        self.checker
            .check(&self.buffer[..length], digests, &mut self.verdicts);
        for (block, digest) in digests.iter().enumerate().take(self.verdicts.len()) {
            if self.verdicts[block] != Verdict::Bad {
                continue;
            }
            let range = block * block_size..length.min((block + 1) * block_size);
            if self.shared.last_block == Some(start + range.start as u64) {
                let ends = pieces
                    .iter()
                    .map(|piece| index(piece.end.saturating_sub(start)))
                    .filter(|end| (range.start + 1..range.end).contains(end))
                    .map(|end| end - range.start);
                let found =
                    BlockChecker::last_block_length(&self.buffer[range.clone()], digest, ends);
                if let Some(covered) = found {
                    self.verdicts[block] = Verdict::Good(covered);
                    continue;
                }
            }
            self.shared
                .bad_block(start + range.start as u64..start + range.end as u64, pieces);
        }
    }

    /// Whether these bytes of the buffer are zeros that the target has already.
    fn is_there(&mut self, start: u64, range: Range<usize>) -> Result<bool, EngineError> {
        let Sink::Volume { target, holds } = self.shared.sink else {
            return Ok(true);
        };
        if holds == TargetHolds::Anything || !is_zero(&self.buffer[range.clone()]) {
            return Ok(false);
        }
        if holds == TargetHolds::Zeros {
            return Ok(true);
        }
        self.found.resize(range.len(), 0);
        target.read_at(start + range.start as u64, &mut self.found)?;
        Ok(is_zero(&self.found))
    }

    /// Writes what may be written, and tells how many bytes.
    fn write(&mut self, start: u64, length: usize) -> Result<u64, EngineError> {
        let Sink::Volume { target, .. } = self.shared.sink else {
            return Ok(0);
        };
        let block_size = self.shared.block_size;
        self.writes.clear();
        for block in 0..self.verdicts.len() {
            let range = block * block_size..length.min((block + 1) * block_size);
            let covered = match self.verdicts[block] {
                Verdict::Good(covered) => range.start + covered,
                Verdict::NoDigest => range.start,
                Verdict::Missing | Verdict::Bad => continue,
            };
            if !self.is_there(start, range.start..covered)? {
                push_range(&mut self.writes, range.start..covered);
            }
            // Without a digest there is only what objects gave; a gap keeps what the target has, as in Cinder.
            for given in 0..self.given.len() {
                let given = &self.given[given];
                let given = given.start.max(covered)..given.end.min(range.end);
                if !given.is_empty() && !self.is_there(start, given.clone())? {
                    push_range(&mut self.writes, given);
                }
            }
        }
        let mut written = 0;
        if !self.writes.is_empty() {
            self.shared.monitor.may_write()?;
        }
        for range in &self.writes {
            target.write_at(start + range.start as u64, &self.buffer[range.clone()])?;
            written += range.len() as u64;
        }
        Ok(written)
    }
}

impl Shared<'_> {
    fn note(&self, extent: BadExtent) {
        self.damage
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(extent);
    }

    /// Whether a bad extent of an object was noted.
    fn is_noted(&self, object: u32) -> bool {
        let name = self.chain.object_name(object as usize);
        let damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        damage.extents.iter().any(|extent| extent.object == name)
    }

    /// Notes an object that is damaged as a whole.
    fn whole_object(&self, object: u32, why: String) {
        let extent = &self.chain.objects()[object as usize];
        self.note(
            self.chain
                .bad(object as usize, extent.offset, extent.length, why),
        );
    }

    /// Notes a block whose bytes are not what its digest says, under every object that gave a part of it.
    fn bad_block(&self, block: Range<u64>, pieces: &[Piece]) {
        let mut named = false;
        for piece in pieces {
            let (from, to) = (piece.start.max(block.start), piece.end.min(block.end));
            if from < to {
                named = true;
                self.note(self.chain.bad(
                    piece.object as usize,
                    from,
                    to - from,
                    "its bytes are not those of the block digest".to_owned(),
                ));
            }
        }
        if !named {
            self.note(BadExtent {
                offset: block.start,
                length: block.end - block.start,
                ..self.gap.clone()
            });
        }
    }
}

/// An offset within a batch or a window.
fn index(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
