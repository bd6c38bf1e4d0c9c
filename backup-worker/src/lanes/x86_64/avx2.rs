//! Eight lanes in the registers of AVX2.
#![expect(
    unsafe_code,
    reason = "loads and stores take pointers; each is of a reference to as many bytes"
)]

use std::arch::x86_64::*;

use super::kernels::{MD5_ROUND, SHA256_ROUND, Step, kernels};

/// Messages side by side.
pub(super) const LANES: usize = 8;

type Vector = __m256i;

#[inline]
#[target_feature(enable = "avx2")]
fn splat(word: u32) -> Vector {
    _mm256_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(words: &[u32; LANES]) -> Vector {
    // SAFETY: 32 bytes are read, from an array of that size; it needs no alignment.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(words: &mut [u32; LANES], vector: Vector) {
    // SAFETY: 32 bytes are written, to an array of that size; it needs no alignment.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm256_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotate_right<const RIGHT: i32, const LEFT: i32>(a: Vector) -> Vector {
    const { assert!(RIGHT + LEFT == 32) }
    _mm256_or_si256(_mm256_srli_epi32::<RIGHT>(a), _mm256_slli_epi32::<LEFT>(a))
}

#[inline]
#[target_feature(enable = "avx2")]
fn shift_right<const BITS: i32>(a: Vector) -> Vector {
    _mm256_srli_epi32::<BITS>(a)
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm256_xor_si256(_mm256_xor_si256(a, b), c)
}

/// Bits of `b` where `a` has ones, and of `c` elsewhere.
#[inline]
#[target_feature(enable = "avx2")]
fn choose(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm256_xor_si256(c, _mm256_and_si256(a, _mm256_xor_si256(b, c)))
}

/// Bits of `a` where `c` has ones, and of `b` elsewhere.
#[inline]
#[target_feature(enable = "avx2")]
fn choose_by_last(a: Vector, b: Vector, c: Vector) -> Vector {
    choose(c, a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn majority(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm256_or_si256(
        _mm256_and_si256(a, b),
        _mm256_and_si256(c, _mm256_or_si256(a, b)),
    )
}

/// `b ^ (a | !c)`.
#[inline]
#[target_feature(enable = "avx2")]
fn xor_or_not(a: Vector, b: Vector, c: Vector) -> Vector {
    let not = _mm256_xor_si256(c, _mm256_set1_epi32(-1));
    _mm256_xor_si256(b, _mm256_or_si256(a, not))
}

/// The sixteen words of a step: vector n has word n of every lane.
#[inline]
#[target_feature(enable = "avx2")]
fn load_words<const BIG_ENDIAN: bool>(bytes: &[&[Step]; LANES], step: usize) -> [Vector; 16] {
    let swap = _mm256_set_epi32(
        0x0c0d_0e0f,
        0x0809_0a0b,
        0x0405_0607,
        0x0001_0203,
        0x0c0d_0e0f,
        0x0809_0a0b,
        0x0405_0607,
        0x0001_0203,
    );
    let mut words = [_mm256_setzero_si256(); 16];
    for (half, words) in words.chunks_exact_mut(8).enumerate() {
        let mut rows = [_mm256_setzero_si256(); LANES];
        for (row, lane) in rows.iter_mut().zip(bytes) {
            let (_, bytes) = lane[step].split_at(32 * half);
            // SAFETY: 32 bytes are read, of the 32 or 64 that are left of the step; it needs no alignment.
            *row = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
            if BIG_ENDIAN {
                *row = _mm256_shuffle_epi8(*row, swap);
            }
        }
        // Four by four within each half of a register, then the halves among the registers.
        let mut halves = rows;
        for (out, four) in halves.chunks_exact_mut(4).zip(rows.chunks_exact(4)) {
            let (low, high) = (
                _mm256_unpacklo_epi32(four[0], four[1]),
                _mm256_unpackhi_epi32(four[0], four[1]),
            );
            let (low2, high2) = (
                _mm256_unpacklo_epi32(four[2], four[3]),
                _mm256_unpackhi_epi32(four[2], four[3]),
            );
            out[0] = _mm256_unpacklo_epi64(low, low2);
            out[1] = _mm256_unpackhi_epi64(low, low2);
            out[2] = _mm256_unpacklo_epi64(high, high2);
            out[3] = _mm256_unpackhi_epi64(high, high2);
        }
        for n in 0..4 {
            words[n] = _mm256_permute2x128_si256::<0x20>(halves[n], halves[4 + n]);
            words[4 + n] = _mm256_permute2x128_si256::<0x31>(halves[n], halves[4 + n]);
        }
    }
    words
}

kernels!("avx2");
