//! Sixteen lanes in the registers of AVX-512.
#![expect(
    unsafe_code,
    reason = "loads and stores take pointers; each is of a reference to as many bytes"
)]

use std::arch::x86_64::*;

use super::kernels::{MD5_ROUND, SHA256_ROUND, Step, kernels};

/// Messages side by side.
pub(super) const LANES: usize = 16;

type Vector = __m512i;

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(word: u32) -> Vector {
    _mm512_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(words: &[u32; LANES]) -> Vector {
    // SAFETY: 64 bytes are read, from an array of that size; it needs no alignment.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(words: &mut [u32; LANES], vector: Vector) {
    // SAFETY: 64 bytes are written, to an array of that size; it needs no alignment.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotate_right<const RIGHT: i32, const LEFT: i32>(a: Vector) -> Vector {
    const { assert!(RIGHT + LEFT == 32) }
    _mm512_ror_epi32::<RIGHT>(a)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn shift_right<const BITS: u32>(a: Vector) -> Vector {
    _mm512_srli_epi32::<BITS>(a)
}

// The number of a ternary function is its column of truth: bit 4a + 2b + c says what comes out.

#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_ternarylogic_epi32::<0b1001_0110>(a, b, c)
}

/// Bits of `b` where `a` has ones, and of `c` elsewhere.
#[inline]
#[target_feature(enable = "avx512f")]
fn choose(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_ternarylogic_epi32::<0b1100_1010>(a, b, c)
}

/// Bits of `a` where `c` has ones, and of `b` elsewhere.
#[inline]
#[target_feature(enable = "avx512f")]
fn choose_by_last(a: Vector, b: Vector, c: Vector) -> Vector {
    choose(c, a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn majority(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_ternarylogic_epi32::<0b1110_1000>(a, b, c)
}

/// `b ^ (a | !c)`.
#[inline]
#[target_feature(enable = "avx512f")]
fn xor_or_not(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_ternarylogic_epi32::<0b0011_1001>(a, b, c)
}

/// The sixteen words of a step: vector n has word n of every lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_words<const BIG_ENDIAN: bool>(bytes: &[&[Step]; LANES], step: usize) -> [Vector; 16] {
    let swap = _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
    let mut rows = [_mm512_setzero_si512(); 16];
    for (row, lane) in rows.iter_mut().zip(bytes) {
        // SAFETY: 64 bytes are read, from an array of that size; it needs no alignment.
        *row = unsafe { _mm512_loadu_si512(lane[step].as_ptr().cast()) };
        if BIG_ENDIAN {
            *row = _mm512_shuffle_epi8(*row, swap);
        }
        // Sixteen streams are more than the processor foresees by itself. A prefetch of any address is harmless.
        _mm_prefetch::<_MM_HINT_T0>(lane.as_ptr().wrapping_add(step + 8).cast());
    }
    // Four by four within each quarter of a register, then the quarters among the registers.
    let mut quarters = rows;
    for (out, four) in quarters.chunks_exact_mut(4).zip(rows.chunks_exact(4)) {
        let (low, high) = (
            _mm512_unpacklo_epi32(four[0], four[1]),
            _mm512_unpackhi_epi32(four[0], four[1]),
        );
        let (low2, high2) = (
            _mm512_unpacklo_epi32(four[2], four[3]),
            _mm512_unpackhi_epi32(four[2], four[3]),
        );
        out[0] = _mm512_unpacklo_epi64(low, low2);
        out[1] = _mm512_unpackhi_epi64(low, low2);
        out[2] = _mm512_unpacklo_epi64(high, high2);
        out[3] = _mm512_unpackhi_epi64(high, high2);
    }
    let mut words = rows;
    for n in 0..4 {
        let (a, b, c, d) = (
            quarters[n],
            quarters[4 + n],
            quarters[8 + n],
            quarters[12 + n],
        );
        let (even, even2) = (
            _mm512_shuffle_i32x4::<0x88>(a, b),
            _mm512_shuffle_i32x4::<0x88>(c, d),
        );
        let (odd, odd2) = (
            _mm512_shuffle_i32x4::<0xdd>(a, b),
            _mm512_shuffle_i32x4::<0xdd>(c, d),
        );
        words[n] = _mm512_shuffle_i32x4::<0x88>(even, even2);
        words[8 + n] = _mm512_shuffle_i32x4::<0xdd>(even, even2);
        words[4 + n] = _mm512_shuffle_i32x4::<0x88>(odd, odd2);
        words[12 + n] = _mm512_shuffle_i32x4::<0xdd>(odd, odd2);
    }
    words
}

kernels!("avx512f,avx512bw");
