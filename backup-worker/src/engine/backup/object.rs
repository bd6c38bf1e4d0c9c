//! Making data objects: an extent's MD5, its stored bytes, and its part in the scratch place.

use common::domain::{Compression, ContainerName};

use crate::engine::EngineError;
use crate::engine::digest::{digest_object, is_zero};
use crate::format::codec::{Encoded, Encoder};
use crate::store::{BackupStore, Part};
use crate::volume::Extent;

/// A data object that has all but its number.
#[derive(Debug)]
pub(super) struct MadeObject {
    /// Its bytes of the volume.
    pub(super) extent: Extent,
    /// How they are compressed.
    pub(super) compression: Compression,
    /// MD5 of the plain bytes.
    pub(super) md5: [u8; 16],
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

/// One thread's maker of objects: its codec contexts, and the last object of zeros, which is made
/// once and used for all of its length.
#[derive(Debug)]
pub(super) struct ObjectMaker<'a> {
    place: Scratch<'a>,
    compression: Compression,
    encoder: Encoder,
    zeros: Option<Zeros>,
}

/// An object of zeros, encoded.
#[derive(Debug)]
struct Zeros {
    length: usize,
    compression: Compression,
    /// Empty when they are stored plain.
    bytes: Vec<u8>,
    md5: [u8; 16],
}

impl<'a> ObjectMaker<'a> {
    pub(super) fn new(place: Scratch<'a>, compression: Compression) -> Self {
        Self {
            place,
            compression,
            encoder: Encoder::new(),
            zeros: None,
        }
    }

    /// Writes the part of the object that holds `plain`, which lies at `offset` in the volume.
    pub(super) fn make(&mut self, offset: u64, plain: &[u8]) -> Result<MadeObject, EngineError> {
        let extent = Extent {
            offset,
            length: plain.len() as u64,
        };
        let name = format!("{}{offset:015}", parts_of(self.place.generation));
        let write = |bytes: &[u8]| {
            self.place
                .store
                .write_part(self.place.container, self.place.scratch, &name, bytes)
        };
        if is_zero(plain) {
            let zeros = match &self.zeros {
                Some(zeros) if zeros.length == plain.len() => zeros,
                _ => {
                    let encoded = encode(&mut self.encoder, self.compression, plain)?;
                    let bytes = match encoded.compression {
                        Compression::None => Vec::new(),
                        _ => encoded.bytes.to_vec(),
                    };
                    self.zeros.insert(Zeros {
                        length: plain.len(),
                        compression: encoded.compression,
                        bytes,
                        md5: digest_object(plain),
                    })
                }
            };
            let stored = match zeros.compression {
                Compression::None => plain,
                _ => &zeros.bytes,
            };
            return Ok(MadeObject {
                extent,
                compression: zeros.compression,
                md5: zeros.md5,
                part: write(stored)?,
            });
        }
        let md5 = digest_object(plain);
        let encoded = encode(&mut self.encoder, self.compression, plain)?;
        Ok(MadeObject {
            extent,
            compression: encoded.compression,
            md5,
            part: write(encoded.bytes)?,
        })
    }
}

fn encode<'a>(
    encoder: &'a mut Encoder,
    compression: Compression,
    plain: &'a [u8],
) -> Result<Encoded<'a>, EngineError> {
    encoder
        .encode(compression, plain)
        .map_err(|source| EngineError::Codec { source })
}
