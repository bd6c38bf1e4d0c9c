//! Tells data that no algorithm shrinks, before a dear one has tried.

/// Bytes that are looked at together. Enough to see a difference of a third of a percent, and no
/// run of other data as long as this goes unseen.
const PIECE: usize = 4096;

/// The greatest chi-squared sum, over the 256 values of a byte, that noise has. Its mean is 255 and
/// its deviation 22.6, so noise exceeds this once in 10⁹ pieces; text, machine code, base64 and the
/// like exceed it many times over.
const NOISE_MAX: u32 = 255 + 150;

/// Whether every piece of `plain` has all values of a byte equally often, as random, encrypted and
/// well compressed data have. Then only repetitions could shrink it. What is shorter than a piece
/// shows too little of itself.
pub(super) fn is_like_noise(plain: &[u8]) -> bool {
    let (pieces, rest) = plain.as_chunks::<PIECE>();
    // The last piece overlaps the one before it.
    let last = plain.last_chunk::<PIECE>().filter(|_| !rest.is_empty());
    !pieces.is_empty()
        && pieces
            .iter()
            .chain(last)
            .all(|piece| chi_squared(piece) <= NOISE_MAX)
}

/// How far the counts of the values are from equal: the sum of (count − 16)² / 16.
fn chi_squared(piece: &[u8; PIECE]) -> u32 {
    const EXPECTED: u32 = 16;
    // Two tables, as counts that follow each other would wait for each other.
    let mut counts = [[0_u32; 256]; 2];
    for [one, two] in piece.as_chunks().0 {
        counts[0][usize::from(*one)] += 1;
        counts[1][usize::from(*two)] += 1;
    }
    let [ones, twos] = counts;
    let off = |(one, two): (u32, u32)| (one + two).abs_diff(EXPECTED).pow(2);
    ones.into_iter().zip(twos).map(off).sum::<u32>() / EXPECTED
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn noise_is_noise_whatever_its_length() {
        for length in [PIECE, PIECE + 1, 10 * PIECE - 1, 4 << 20] {
            assert!(is_like_noise(&noise(length)), "{length}");
        }
    }

    #[test]
    fn what_entropy_coding_alone_shrinks_is_no_noise() {
        let noise = noise(1 << 20);
        let alphabet: Vec<u8> = (b'0'..=b'9')
            .chain(b'A'..=b'Z')
            .chain(b'a'..=b'z')
            .chain(*b"+/")
            .collect();
        let base64: Vec<u8> = noise
            .iter()
            .map(|byte| alphabet[usize::from(byte % 64)])
            .collect();
        assert!(!is_like_noise(&base64));
        let without_a_bit: Vec<u8> = noise.iter().map(|byte| byte & 0x7f).collect();
        assert!(!is_like_noise(&without_a_bit));
        let few_values_missing: Vec<u8> = noise.iter().map(|byte| byte % 248).collect();
        assert!(!is_like_noise(&few_values_missing));
    }

    #[test]
    fn one_piece_of_other_data_is_seen_wherever_it_is() {
        let noise = noise(16 * PIECE + 100);
        for at in [0, PIECE, 7 * PIECE + 77, noise.len() - PIECE] {
            let mut mixed = noise.clone();
            mixed[at..at + PIECE].fill(b'x');
            assert!(!is_like_noise(&mixed), "{at}");
        }
    }

    #[test]
    fn what_is_short_is_left_to_the_algorithm() {
        assert!(!is_like_noise(&[]));
        assert!(!is_like_noise(&noise(PIECE - 1)));
    }
}
