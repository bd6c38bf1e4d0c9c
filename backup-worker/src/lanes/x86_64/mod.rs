//! The vectors of x86-64 processors.

mod avx2;
mod avx512;
mod kernels;
mod schedule;

use self::schedule::{Function, Lanes, run};

/// FIPS 180-4.
#[rustfmt::skip]
const SHA256: Function<8> = Function {
    start: [
        0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
    ],
    one: sha2::block_api::compress256,
    bit_count: u64::to_be_bytes,
};

/// RFC 1321.
const MD5: Function<4> = Function {
    start: [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476],
    one: md5::block_api::compress,
    bit_count: u64::to_le_bytes,
};

/// From so many messages on lanes are faster than one after the other. Measured: a message on one of sixteen lanes goes
/// nearly as fast as alone, but at a ninth of its speed alone where there is SHA-NI.
const AT_LEAST: usize = 2;
const AT_LEAST_WITH_SHA_NI: usize = 9;

/// A width of vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Avx512,
    Avx2,
}

impl Width {
    /// The widest first.
    pub(super) const ALL: &[Self] = &[Self::Avx512, Self::Avx2];

    /// Whether the processor has it.
    pub(super) fn is_here(self) -> bool {
        match self {
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
            }
            Self::Avx2 => is_x86_feature_detected!("avx2"),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "AVX-512, 16 lanes",
            Self::Avx2 => "AVX2, 8 lanes",
        }
    }

    /// Whether one message after the other is faster: with SHA-NI that outdoes eight lanes, but not sixteen.
    pub(super) fn is_outdone_for_sha256(self) -> bool {
        match self {
            Self::Avx512 => false,
            Self::Avx2 => has_sha_ni(),
        }
    }
}

fn has_sha_ni() -> bool {
    is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1")
}

/// See [`super::sha256`]. The processor has this width.
pub(super) fn sha256<'m>(
    width: Width,
    messages: impl Iterator<Item = &'m [u8]>,
    mut done: impl FnMut(usize, [u8; 32]),
) {
    let at_least = if has_sha_ni() {
        AT_LEAST_WITH_SHA_NI
    } else {
        AT_LEAST
    };
    let done = |place, words: [u32; 8]| {
        let mut digest = [0; 32];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(words) {
            *bytes = word.to_be_bytes();
        }
        done(place, digest);
    };
    match width {
        Width::Avx512 => {
            let all = avx512::sha256;
            run(&SHA256, &Lanes { all, at_least }, messages, done);
        }
        Width::Avx2 => {
            let all = avx2::sha256;
            run(&SHA256, &Lanes { all, at_least }, messages, done);
        }
    }
}

/// See [`super::md5`]. The processor has this width.
pub(super) fn md5<'m>(
    width: Width,
    messages: impl Iterator<Item = &'m [u8]>,
    mut done: impl FnMut(usize, [u8; 16]),
) {
    let at_least = AT_LEAST;
    let done = |place, words: [u32; 4]| {
        let mut digest = [0; 16];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        done(place, digest);
    };
    match width {
        Width::Avx512 => {
            let all = avx512::md5;
            run(&MD5, &Lanes { all, at_least }, messages, done);
        }
        Width::Avx2 => {
            let all = avx2::md5;
            run(&MD5, &Lanes { all, at_least }, messages, done);
        }
    }
}
