//! Digests of blocks and of objects.
//!
//! [`digest_blocks`] and [`digest_objects`] take many at once, which [`lanes`] digests side by side.

use common::metrics::HASHED_BYTES;
use sha2::{Digest as _, Sha256};

use crate::lanes::{self, Path};

/// SHA-256 of one block of volume bytes.
pub(super) type BlockDigest = [u8; 32];

/// Puts the digests of the `wanted` blocks of `data` at their places in `digests`. The last block
/// of `data` may be short.
pub(super) fn digest_blocks(
    data: &[u8],
    block_size: usize,
    wanted: &[usize],
    digests: &mut [BlockDigest],
) {
    let blocks = wanted.iter().map(|index| {
        let start = index * block_size;
        &data[start..data.len().min(start + block_size)]
    });
    let hashed_bytes: usize = blocks.clone().map(<[u8]>::len).sum();
    metrics::counter!(HASHED_BYTES).increment(u64::try_from(hashed_bytes).unwrap_or(u64::MAX));
    lanes::sha256(Path::for_sha256(), blocks, |place, digest| {
        digests[wanted[place]] = digest;
    });
}

/// MD5 of each object's plain bytes.
pub(super) fn digest_objects(objects: &[&[u8]]) -> Vec<[u8; 16]> {
    let mut sums = vec![[0; 16]; objects.len()];
    lanes::md5(Path::for_md5(), objects.iter().copied(), |place, md5| {
        sums[place] = md5;
    });
    sums
}

/// Whether all bytes are zero. Pieces of 512 bytes keep it in vector registers and let it end early.
pub fn is_zero(bytes: &[u8]) -> bool {
    let (words, tail) = bytes.as_chunks::<8>();
    tail.iter().all(|byte| *byte == 0)
        && words.chunks(64).all(|piece| {
            piece
                .iter()
                .fold(0, |or, word| or | u64::from_ne_bytes(*word))
                == 0
        })
}

/// The constant digests of blocks of zeros.
#[derive(Debug, Clone)]
pub(super) struct ZeroDigests {
    block_size: usize,
    full: BlockDigest,
    short: (usize, BlockDigest),
}

impl ZeroDigests {
    /// For blocks of this size.
    pub(super) fn new(block_size: usize) -> Self {
        Self {
            block_size,
            full: Sha256::digest(vec![0; block_size]).into(),
            short: (0, Sha256::digest([]).into()),
        }
    }

    /// The digest of `length` zeros, at most a block.
    pub(super) fn of(&mut self, length: usize) -> BlockDigest {
        if length == self.block_size {
            return self.full;
        }
        if length != self.short.0 {
            self.short = (length, Sha256::digest(vec![0; length]).into());
        }
        self.short.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_wanted_blocks_are_digested_and_the_last_may_be_short() {
        let data: Vec<u8> = (0..=255).cycle().take(1100).collect();
        let mut digests = vec![[7; 32]; 3];
        digest_blocks(&data, 512, &[0, 2], &mut digests);
        assert_eq!(digests[0], <[u8; 32]>::from(Sha256::digest(&data[..512])));
        assert_eq!(digests[1], [7; 32]);
        assert_eq!(digests[2], <[u8; 32]>::from(Sha256::digest(&data[1024..])));
    }

    #[test]
    fn one_set_bit_anywhere_is_not_zero() {
        for length in [0, 1, 7, 8, 9, 511, 512, 513, 1000] {
            let mut bytes = vec![0; length];
            assert!(is_zero(&bytes));
            for at in 0..length {
                bytes[at] = 1;
                assert!(!is_zero(&bytes), "byte {at} of {length}");
                bytes[at] = 0;
            }
        }
    }

    #[test]
    fn zeros_have_the_digest_of_zeros() {
        let mut zeros = ZeroDigests::new(512);
        for length in [512, 100, 1, 512, 100] {
            assert_eq!(
                zeros.of(length),
                <[u8; 32]>::from(Sha256::digest(vec![0; length]))
            );
        }
    }
}
