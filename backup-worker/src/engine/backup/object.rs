//! Making data objects: an extent's stored bytes, and its part in the scratch place.

use common::domain::{Compression, ContainerName};
use common::step;
use tracing::Span;

use crate::engine::EngineError;
use crate::engine::throttle::Pace;
use crate::engine::zeros::ZeroObject;
use crate::format::codec::Encoder;
use crate::store::{BackupStore, Part};
use crate::volume::Extent;

/// A data object that has all but its number.
#[derive(Debug)]
pub(super) struct MadeObject {
    /// Its bytes of the volume.
    pub(super) extent: Extent,
    /// How they are compressed.
    pub(super) compression: Compression,
    /// MD5 of the plain bytes, once it is known.
    pub(super) md5: Option<[u8; 16]>,
    /// Where the stored bytes are until it has its name.
    pub(super) part: Part,
}

/// Where one execution writes its parts. Every name carries its generation, so that a stale execution of
/// the same attempt writes beside it and not over it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scratch<'a> {
    pub(super) store: &'a dyn BackupStore,
    pub(super) container: &'a ContainerName,
    pub(super) scratch: &'a str,
    pub(super) generation: u64,
}

/// What the names of an execution's parts begin with.
pub(super) fn parts_of(generation: u64) -> String {
    format!("part-g{generation}-")
}

/// One thread's maker of objects, with its codec contexts.
#[derive(Debug)]
pub(super) struct ObjectMaker<'a> {
    place: Scratch<'a>,
    compression: Compression,
    encoder: Encoder,
    zeros: &'a ZeroObject,
    pace: Pace<'a>,
    encoding: Span,
    writing: Span,
}

impl<'a> ObjectMaker<'a> {
    pub(super) fn new(
        place: Scratch<'a>,
        compression: Compression,
        zeros: &'a ZeroObject,
        pace: Pace<'a>,
    ) -> Self {
        Self {
            place,
            compression,
            encoder: Encoder::new(),
            zeros,
            pace,
            encoding: step!("encode"),
            writing: step!("write"),
        }
    }

    /// Writes the part of the object that holds `plain`, which lies at `offset` in the volume and is zeros if
    /// `are_zeros` says so. Its MD5 is still wanted, unless it is known.
    pub(super) fn make(
        &mut self,
        offset: u64,
        plain: &[u8],
        are_zeros: bool,
    ) -> Result<MadeObject, EngineError> {
        let extent = Extent {
            offset,
            length: plain.len() as u64,
        };
        let name = format!("{}{offset:015}", parts_of(self.place.generation));
        let write = |bytes: &[u8]| {
            self.pace.store(bytes.len() as u64);
            let _span = self.writing.enter();
            self.place
                .store
                .write_part(self.place.container, self.place.scratch, &name, bytes)
        };
        if are_zeros && plain.len() == self.zeros.length() {
            let zeros = self.zeros.stored(&mut self.encoder, self.compression)?;
            let stored = match zeros.compression {
                Compression::None => plain,
                _ => &zeros.bytes,
            };
            return Ok(MadeObject {
                extent,
                compression: zeros.compression,
                md5: Some(self.zeros.md5()),
                part: write(stored)?,
            });
        }
        let encoding = self.encoding.enter();
        let encoded = self
            .encoder
            .encode(self.compression, plain)
            .map_err(|source| EngineError::Codec { source })?;
        drop(encoding);
        Ok(MadeObject {
            extent,
            compression: encoded.compression,
            md5: None,
            part: write(encoded.bytes)?,
        })
    }
}
