//! Objects while they are read: streamed, bounded, and checked at their end.
//!
//! A window is walked in volume order and within it every object's bytes are wanted in rising
//! order, so each object is decoded once, from its start. Objects may be larger than memory: what
//! is held is a decoder. One that was closed to make room begins again when it is wanted again.

use std::io::Read;

use common::domain::Compression;
use md5::{Digest as _, Md5};

use super::chain::Chain;
use crate::engine::EngineError;
use crate::engine::throttle::Pace;
use crate::engine::zeros::ZeroObject;
use crate::format::codec::{DecodeError, Encoder, Length};
use crate::store::{BackupStore, StoreError};

/// Bytes that are decoded at once to get past them.
const SKIP: usize = 64 << 10;

/// Said of an object whose bytes are others than those that were stored.
pub(super) const NOT_ITS_MD5: &str = "its MD5 is not the recorded one";

/// Why bytes of an object cannot be had.
#[derive(Debug)]
pub(super) enum Fault {
    /// The stored bytes are not what was stored. `whole` when no part of the object can be trusted.
    Damage {
        /// What was found.
        why: String,
        /// Whether everything that was read of it before is in doubt too.
        whole: bool,
    },
    /// They could not be read at all.
    Engine(EngineError),
}

/// The objects one thread has open.
pub(super) struct OpenObjects<'a> {
    store: &'a dyn BackupStore,
    chain: &'a Chain,
    /// Least recently used first.
    open: Vec<OpenObject<'a>>,
    open_max: usize,
    /// Those that turned out damaged, until they are forgotten.
    broken: Vec<(u32, String)>,
    skipped: Vec<u8>,
    decoded_bytes: u64,
    zeros: &'a ZeroObject,
    pace: Pace<'a>,
    encoder: Encoder,
}

struct OpenObject<'a> {
    index: u32,
    position: u64,
    plain: Box<dyn Read + 'a>,
    /// `None` if who reads it sees to it.
    md5: Option<Md5>,
}

impl std::fmt::Debug for OpenObjects<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenObjects")
            .field("open", &self.open.len())
            .finish_non_exhaustive()
    }
}

impl<'a> OpenObjects<'a> {
    /// Of which at most `open_max` stay open at a time.
    pub(super) fn new(
        store: &'a dyn BackupStore,
        chain: &'a Chain,
        zeros: &'a ZeroObject,
        pace: Pace<'a>,
        open_max: usize,
    ) -> Self {
        Self {
            store,
            chain,
            open: Vec::new(),
            open_max,
            broken: Vec::new(),
            skipped: vec![0; SKIP],
            decoded_bytes: 0,
            zeros,
            pace,
            encoder: Encoder::new(),
        }
    }

    /// Whether object `index` is, byte for byte, what a backup stores for a chunk of zeros: these need not be decoded
    /// to be known. What cannot be read is not: whoever reads it in earnest says why.
    pub(super) fn is_of_zeros(&mut self, index: u32) -> Result<bool, EngineError> {
        let object = &self.chain.objects()[index as usize];
        if object.length != self.zeros.length() as u64 || object.md5 != Some(self.zeros.md5()) {
            return Ok(false);
        }
        let zeros = self.zeros.stored(&mut self.encoder, object.compression)?;
        if zeros.compression == Compression::None {
            return Ok(false); // reading them is all there is to do
        }
        let stored = self.chain.open_stored(self.store, index as usize);
        Ok(stored
            .is_ok_and(|stored| holds(self.pace.reader(stored), &zeros.bytes, &mut self.skipped)))
    }

    /// Fills `buffer` with the bytes of object `index` from `at` on, counted from the object's start. When that
    /// reaches the object's end, the whole of it was decoded, and its length was right. With `check_md5`, from its first
    /// byte to its last, its MD5 was too.
    pub(super) fn read(
        &mut self,
        index: u32,
        at: u64,
        buffer: &mut [u8],
        check_md5: bool,
    ) -> Result<(), Fault> {
        if let Some((_, why)) = self.broken.iter().find(|(broken, _)| *broken == index) {
            let why = why.clone();
            return Err(Fault::Damage { why, whole: false });
        }
        let outcome = self.read_on(index, at, buffer, check_md5);
        if let Err(Fault::Damage { why, .. }) = &outcome {
            self.broken.push((index, why.clone()));
        }
        outcome
    }

    /// Fills `buffer` with all of object `index`, whose length is right then, and leaves its MD5 to the caller. Tells
    /// whether there is one to compare with.
    pub(super) fn read_whole(&mut self, index: u32, buffer: &mut [u8]) -> Result<bool, Fault> {
        if self.is_of_zeros(index).map_err(Fault::Engine)? {
            buffer.fill(0);
            return Ok(false);
        }
        let mut open = self.begin(index, None)?;
        self.fill(&mut open, buffer)?;
        Ok(self.chain.objects()[index as usize].md5.is_some())
    }

    /// Closes the objects that end at or before `position` of the volume. Those for which `to_the_end` says so
    /// are read to their end first; what is wrong with one goes to `on_damage`.
    pub(super) fn close_ended(
        &mut self,
        position: u64,
        to_the_end: impl Fn(u64) -> bool,
        mut on_damage: impl FnMut(u32, String),
    ) -> Result<(), EngineError> {
        let objects = self.chain.objects();
        let ended = |open: &OpenObject<'_>| objects[open.index as usize].end() <= position;
        while let Some(slot) = self.open.iter().position(ended) {
            let index = self.open[slot].index;
            let object = &objects[index as usize];
            if !to_the_end(object.end()) {
                self.open.remove(slot);
                continue;
            }
            match self.read(index, object.length, &mut [], true) {
                Ok(()) => {}
                Err(Fault::Damage { why, .. }) => on_damage(index, why),
                Err(Fault::Engine(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Closes all of them.
    pub(super) fn close_all(&mut self) {
        self.open.clear();
        self.broken.clear();
    }

    /// Bytes that came out of decoders since the last time.
    pub(super) fn take_decoded_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.decoded_bytes)
    }

    fn read_on(
        &mut self,
        index: u32,
        at: u64,
        buffer: &mut [u8],
        check_md5: bool,
    ) -> Result<(), Fault> {
        let object = &self.chain.objects()[index as usize];
        let open = self.open.iter().position(|open| open.index == index);
        let mut open = match open.map(|slot| self.open.remove(slot)) {
            Some(open) if open.position <= at => open,
            _ => self.begin(index, check_md5.then(Md5::new))?,
        };
        while open.position < at {
            let step = usize::try_from(at - open.position).map_or(SKIP, |left| left.min(SKIP));
            let mut skipped = std::mem::take(&mut self.skipped);
            let outcome = self.fill(&mut open, &mut skipped[..step]);
            self.skipped = skipped;
            outcome?;
        }
        self.fill(&mut open, buffer)?;
        if open.position < object.length {
            if self.open.len() == self.open_max {
                self.open.remove(0);
            }
            self.open.push(open);
            return Ok(());
        }
        // The decoder gave the last byte, so it has checked the end already.
        let md5 = open.md5.map(|md5| md5.finalize().into());
        if md5.is_some_and(|md5| !self.chain.is_recorded_md5(index, md5)) {
            return Err(Fault::Damage {
                why: NOT_ITS_MD5.to_owned(),
                whole: true,
            });
        }
        Ok(())
    }

    fn begin(&self, index: u32, md5: Option<Md5>) -> Result<OpenObject<'a>, Fault> {
        let length = Length::Exactly(self.chain.objects()[index as usize].length);
        let opened = self.chain.open_stored(self.store, index as usize);
        let opened = opened.and_then(|stored| {
            let stored = self.pace.reader(stored);
            self.chain.decode(index as usize, stored, length)
        });
        match opened {
            Ok(plain) => Ok(OpenObject {
                index,
                position: 0,
                plain: Box::new(plain),
                md5,
            }),
            Err(EngineError::Store(
                StoreError::NoSuchObject { .. } | StoreError::NoSuchContainer { .. },
            )) => Err(Fault::Damage {
                why: "it is not on the backup target".to_owned(),
                whole: false,
            }),
            // A link or a pipe in an object's place: nothing that was stored.
            Err(EngineError::Store(error @ StoreError::Refused { .. })) => Err(Fault::Damage {
                why: error.to_string(),
                whole: false,
            }),
            Err(error) => Err(Fault::Engine(error)),
        }
    }

    fn fill(&mut self, open: &mut OpenObject<'_>, buffer: &mut [u8]) -> Result<(), Fault> {
        let mut filled = 0;
        while filled < buffer.len() {
            let got = match open.plain.read(&mut buffer[filled..]) {
                Ok(0) => {
                    return Err(Fault::Damage {
                        why: format!("it ends after {} bytes", open.position),
                        whole: false,
                    });
                }
                Ok(got) => got,
                Err(error) => {
                    return Err(match DecodeError::of(&error) {
                        Some(damage) => Fault::Damage {
                            why: damage.to_string(),
                            whole: false,
                        },
                        None => Fault::Engine(self.chain.unreadable(open.index as usize, error)),
                    });
                }
            };
            if let Some(md5) = &mut open.md5 {
                md5.update(&buffer[filled..filled + got]);
            }
            filled += got;
            open.position += got as u64;
            self.decoded_bytes += got as u64;
        }
        Ok(())
    }
}

/// Whether `stored` is these bytes and no more.
fn holds(mut stored: impl Read, bytes: &[u8], buffer: &mut [u8]) -> bool {
    let mut rest = bytes;
    loop {
        match stored.read(buffer) {
            Ok(0) => return rest.is_empty(),
            Ok(got) => match rest.strip_prefix(&buffer[..got]) {
                Some(after) => rest = after,
                None => return false,
            },
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}
