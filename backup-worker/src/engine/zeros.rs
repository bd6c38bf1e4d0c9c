//! The object of a whole chunk of zeros, which is most of a sparse volume.
//!
//! The same zeros always make the same stored bytes. So a backup makes them once, and a restore that finds these very
//! bytes knows what a decoder and MD5 would say of them.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use common::domain::Compression;

use super::EngineError;
use super::digest::digest_objects;
use crate::format::codec::Encoder;

/// An object of zeros of one length.
#[derive(Debug)]
pub(super) struct ZeroObject {
    length: usize,
    md5: OnceLock<[u8; 16]>,
    /// One for each algorithm that was asked for.
    stored: Mutex<Vec<Arc<StoredZeros>>>,
}

/// How it is stored.
#[derive(Debug)]
pub(super) struct StoredZeros {
    wanted: Compression,
    /// What is recorded for it: the wanted algorithm, or none where that does not help.
    pub(super) compression: Compression,
    /// Its stored bytes; empty when they are the zeros themselves.
    pub(super) bytes: Vec<u8>,
}

impl ZeroObject {
    /// For chunks of so many bytes.
    pub(super) fn new(length: usize) -> Self {
        Self {
            length,
            md5: OnceLock::new(),
            stored: Mutex::new(Vec::new()),
        }
    }

    /// Its plain bytes.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// The MD5 of its plain bytes.
    pub(super) fn md5(&self) -> [u8; 16] {
        *self
            .md5
            .get_or_init(|| digest_objects(&[&vec![0; self.length]])[0])
    }

    /// What a backup with the `wanted` algorithm stores; made by whoever asks first.
    pub(super) fn stored(
        &self,
        encoder: &mut Encoder,
        wanted: Compression,
    ) -> Result<Arc<StoredZeros>, EngineError> {
        // Who wants it while it is made waits, and has it sooner than by making it too.
        let mut made = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.iter().find(|made| made.wanted == wanted) {
            return Ok(Arc::clone(made));
        }
        let zeros = vec![0; self.length];
        let encoded = encoder
            .encode(wanted, &zeros)
            .map_err(|source| EngineError::Codec { source })?;
        let stored = Arc::new(StoredZeros {
            wanted,
            compression: encoded.compression,
            bytes: match encoded.compression {
                Compression::None => Vec::new(),
                _ => encoded.bytes.to_vec(),
            },
        });
        made.push(Arc::clone(&stored));
        Ok(stored)
    }
}
