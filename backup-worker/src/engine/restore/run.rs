//! One window, run to its end by one thread: decode, check, write, batch after batch.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::chain::Chain;
use super::check::{BlockChecker, Verdict, push_range};
use super::merge::Piece;
use super::objects::{Fault, NOT_ITS_MD5, OpenObjects};
use super::windows::Window;
use crate::engine::digest::is_zero;
use crate::engine::pages::Pages;
use crate::engine::shelf::{Done, Lent, Shelf, Wanted};
use crate::engine::throttle::Pace;
use crate::engine::zeros::ZeroObject;
use crate::engine::{BadExtent, Damage, EngineError, Monitor, TargetHolds};
use crate::store::BackupStore;
use crate::volume::TargetVolume;

/// Where restored bytes go.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sink<'a> {
    /// To a volume, all but what it has already.
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
    pub(super) pace: Pace<'a>,
    /// Bytes of a block; of a convenient piece when there are no digests.
    pub(super) block_size: usize,
    /// Bytes of the volume that are checked and written at once where a window does not fit into a buffer; whole blocks.
    pub(super) batch: usize,
    /// Bytes of a buffer; a batch at least.
    pub(super) buffer: usize,
    /// Bytes below this are covered by digests of whole blocks.
    pub(super) whole_blocks_end: u64,
    /// Where the volume's last, perhaps short block begins, if there are digests.
    pub(super) last_block: Option<u64>,
    pub(super) damage: &'a Mutex<Damage>,
    /// Whom to name for a block that no object has.
    pub(super) gap: &'a BadExtent,
    /// What most objects of a sparse volume are.
    pub(super) zeros: &'a ZeroObject,
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
    /// Objects of which all bytes were in the buffer, and their MD5 once it is known.
    pub(super) objects: Vec<(u32, Option<[u8; 16]>)>,
}

impl Done for Report {
    fn set_md5(&mut self, object: usize, md5: [u8; 16]) {
        self.objects[object].1 = Some(md5);
    }
}

impl Report {
    /// A window of which nothing is decoded or written.
    pub(super) fn passed_over(number: u64, window: &Window) -> Self {
        Self {
            window: number,
            position: window.end,
            finished: true,
            done: window.end - window.start,
            read: 0,
            written: 0,
            objects: Vec::new(),
        }
    }
}

/// One thread's tools.
#[derive(Debug)]
pub(super) struct WindowRunner<'a> {
    shared: Shared<'a>,
    objects: OpenObjects<'a>,
    checker: BlockChecker,
    /// What the target has; of use only where an earlier execution may have written.
    found: Vec<u8>,
    /// What objects gave of the batch, and what they failed to give; offsets in the buffer.
    given: Vec<Range<usize>>,
    missing: Vec<Range<usize>>,
    /// Objects that gave all their bytes, and not those of their MD5.
    doubtful: Vec<(u32, String)>,
    /// Objects of which all bytes are in the buffer, and where.
    whole: Vec<(u32, Range<usize>)>,
    verdicts: Vec<Verdict>,
    writes: Vec<Range<usize>>,
}

impl<'a> WindowRunner<'a> {
    /// Tools of a thread that keeps so many objects open at most.
    pub(super) fn new(shared: Shared<'a>, open_max: usize) -> Self {
        Self {
            shared,
            objects: OpenObjects::new(
                shared.store,
                shared.chain,
                shared.zeros,
                shared.pace,
                open_max,
            ),
            checker: BlockChecker::new(shared.block_size),
            found: Vec::new(),
            given: Vec::new(),
            missing: Vec::new(),
            doubtful: Vec::new(),
            whole: Vec::new(),
            verdicts: Vec::new(),
            writes: Vec::new(),
        }
    }

    /// Runs one window. `report` tells whether anyone still listens.
    ///
    /// A window that fits into a buffer, with a digest for all of it, is one batch, and the MD5 of its objects waits on
    /// the shelf; its report comes when that is compared. In any other, MD5 goes along batch by batch.
    pub(super) fn run(
        &mut self,
        number: u64,
        window: &Window,
        shelf: &Shelf<Report>,
        report: impl Fn(Report) -> bool + Copy,
    ) -> Result<(), EngineError> {
        let shared = self.shared;
        if let Some(object) = window.then {
            shared.chain.will_read(shared.store, object as usize);
        }
        let length = index(window.end - window.start);
        let has_digests = window.digests.len() == length.div_ceil(shared.block_size)
            && window.end <= shared.whole_blocks_end;
        if has_digests && self.is_left_alone(window)? {
            shared.monitor.keep_going()?;
            report(Report::passed_over(number, window));
            return Ok(());
        }
        let finish = move |done| shared.finish(done, report);
        let mut lent = shelf.lend(finish);
        let buffer = &mut lent.get().bytes;
        if buffer.is_empty() {
            *buffer = Pages::zeroed(shared.buffer)?;
        }
        let buffer_bytes = buffer.len();
        let mut fits = length <= buffer_bytes && has_digests;
        let mut position = window.start;
        let mut pieces = &window.pieces[..];
        let mut blocks_done = 0;
        while position < window.end {
            shared.monitor.keep_going()?;
            shelf.clear_late(finish); // others wait for as long as this window may take
            let batch = if fits { buffer_bytes } else { shared.batch };
            let length = batch.min(index(window.end - position));
            let buffer = &mut lent.get().bytes[..length];
            let end = position + length as u64;
            while let [first, rest @ ..] = pieces
                && first.end <= position
            {
                pieces = rest;
            }
            let here = &pieces[..pieces.partition_point(|piece| piece.start < end)];
            if !self.gather(position, buffer, here, fits)? {
                // Something is damaged. Piece by piece what is good of it is restored, and nothing is done yet.
                fits = false;
                pieces = &window.pieces[..];
                self.objects.close_all();
                self.objects.take_decoded_bytes();
                continue;
            }
            let digests = &window.digests[blocks_done.min(window.digests.len())..];
            self.judge(position, buffer, here, digests);
            for (object, why) in self.doubtful.drain(..) {
                if !self.shared.is_noted(object) {
                    self.shared.whole_object(object, why);
                }
            }
            let written = self.write(position, buffer)?;

            let whole = shared.whole_blocks_end;
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
            let done = Report {
                window: number,
                position,
                finished: position == window.end,
                done: length as u64,
                read: self.objects.take_decoded_bytes(),
                written,
                objects: self
                    .whole
                    .iter()
                    .map(|(object, _)| (*object, None))
                    .collect(),
            };
            if !done.objects.is_empty() {
                self.put(done, lent, shelf, finish);
                break;
            }
            if !report(done) {
                break;
            }
        }
        Ok(())
    }

    /// Whether nothing of a window needs to be decoded or written: it is to be zeros by its digests, all its objects
    /// are of zeros, and zeros are what the target has.
    fn is_left_alone(&mut self, window: &Window) -> Result<bool, EngineError> {
        let writes_zeros = match self.shared.sink {
            Sink::Nowhere => false,
            Sink::Volume { holds, .. } => holds != TargetHolds::Zeros,
        };
        if writes_zeros || !self.checker.are_of_zeros(&window.digests) {
            return Ok(false);
        }
        let mut position = window.start;
        for piece in &window.pieces {
            if piece.start != position || !self.objects.is_of_zeros(piece.object)? {
                return Ok(false);
            }
            position = piece.end;
        }
        Ok(position == window.end)
    }

    /// Leaves a window that is done, but for the MD5 of its objects, on the shelf.
    fn put(
        &mut self,
        done: Report,
        lent: Lent<'_, Report>,
        shelf: &Shelf<Report>,
        finish: impl FnMut(Report),
    ) {
        let ranges = self.whole.drain(..).map(|(_, range)| range);
        let wanted: Vec<Wanted> = ranges.enumerate().collect();
        shelf.put(done, lent, wanted, finish);
    }

    /// Fills the buffer from the pieces; gaps are zeros. With `md5_later` the MD5 of objects that are in it as a whole
    /// is left for later, and `false` is the answer if there is any damage.
    fn gather(
        &mut self,
        start: u64,
        buffer: &mut [u8],
        pieces: &[Piece],
        md5_later: bool,
    ) -> Result<bool, EngineError> {
        let length = buffer.len();
        self.given.clear();
        self.missing.clear();
        self.whole.clear();
        let mut filled = 0;
        for piece in pieces {
            let from = piece.start.max(start);
            let range = index(from - start)..index(piece.end - start).min(length);
            buffer[filled..range.start].fill(0);
            filled = range.end;
            let object = &self.shared.chain.objects()[piece.object as usize];
            let bytes = &mut buffer[range.clone()];
            let read = if md5_later && from == object.offset && bytes.len() as u64 == object.length
            {
                self.objects.read_whole(piece.object, bytes).map(|has_md5| {
                    if has_md5 {
                        self.whole.push((piece.object, range.clone()));
                    }
                })
            } else {
                // One stream of MD5 costs more than all the rest, and says nothing about bytes that digests prove.
                let are_proven = md5_later && matches!(self.shared.sink, Sink::Volume { .. });
                self.objects
                    .read(piece.object, from - object.offset, bytes, !are_proven)
            };
            match read {
                Ok(()) => push_range(&mut self.given, range),
                Err(Fault::Damage { .. }) if md5_later => return Ok(false),
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
        buffer[filled..].fill(0);
        Ok(true)
    }

    /// Judges every block of the buffer, and notes those that are not what their digest says.
    fn judge(&mut self, start: u64, buffer: &[u8], pieces: &[Piece], digests: &[[u8; 32]]) {
        let length = buffer.len();
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
        self.checker.check(buffer, digests, &mut self.verdicts);
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
                let found = BlockChecker::last_block_length(&buffer[range.clone()], digest, ends);
                if let Some(covered) = found {
                    self.verdicts[block] = Verdict::Good(covered);
                    continue;
                }
            }
            self.shared
                .bad_block(start + range.start as u64..start + range.end as u64, pieces);
        }
    }

    /// Whether the target has these bytes already, as far as that is looked at.
    fn is_there(&mut self, offset: u64, bytes: &[u8]) -> Result<bool, EngineError> {
        let Sink::Volume { target, holds } = self.shared.sink else {
            return Ok(true);
        };
        match holds {
            TargetHolds::Anything => return Ok(false),
            TargetHolds::Zeros => return Ok(is_zero(bytes)),
            TargetHolds::Leftovers if !is_zero(bytes) => return Ok(false),
            TargetHolds::Leftovers | TargetHolds::Similar => {}
        }
        self.shared.pace.read(bytes.len() as u64);
        self.found.resize(bytes.len(), 0);
        target.read_at(offset, &mut self.found)?;
        Ok(self.found == bytes)
    }

    /// Writes what may be written, and tells how many bytes.
    fn write(&mut self, start: u64, buffer: &[u8]) -> Result<u64, EngineError> {
        let Sink::Volume { target, .. } = self.shared.sink else {
            return Ok(0);
        };
        let block_size = self.shared.block_size;
        let length = buffer.len();
        self.writes.clear();
        for block in 0..self.verdicts.len() {
            let range = block * block_size..length.min((block + 1) * block_size);
            let covered = match self.verdicts[block] {
                Verdict::Good(covered) => range.start + covered,
                Verdict::NoDigest => range.start,
                Verdict::Missing | Verdict::Bad => continue,
            };
            if !self.is_there(start + range.start as u64, &buffer[range.start..covered])? {
                push_range(&mut self.writes, range.start..covered);
            }
            // Without a digest there is only what objects gave; a gap keeps what the target has, as in Cinder.
            for given in 0..self.given.len() {
                let given = &self.given[given];
                let given = given.start.max(covered)..given.end.min(range.end);
                let at = start + given.start as u64;
                if !given.is_empty() && !self.is_there(at, &buffer[given.clone()])? {
                    push_range(&mut self.writes, given);
                }
            }
        }
        let mut written = 0;
        if !self.writes.is_empty() {
            // The wait comes first: after it the lease may be another's.
            let bytes: usize = self.writes.iter().map(ExactSizeIterator::len).sum();
            self.shared.pace.store(bytes as u64);
            self.shared.monitor.may_write()?;
        }
        for range in &self.writes {
            target.write_at(start + range.start as u64, &buffer[range.clone()])?;
            written += range.len() as u64;
        }
        Ok(written)
    }
}

impl Shared<'_> {
    /// Compares the MD5 of a window's objects and reports it. What is noted here is noted before the collector hears
    /// of the window, and so no mark is told behind it.
    pub(super) fn finish(&self, done: Report, report: impl Fn(Report) -> bool) {
        for (object, md5) in &done.objects {
            let is_right = md5.is_some_and(|md5| self.chain.is_recorded_md5(*object, md5));
            if !is_right && !self.is_noted(*object) {
                self.whole_object(*object, NOT_ITS_MD5.to_owned());
            }
        }
        report(done); // a collector that is gone has halted the line
    }

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
