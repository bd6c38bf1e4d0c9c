//! Tests of the format as a whole; the fixtures of the real Cinder are among them.

mod codec;
mod digest_lines;
mod fixtures;
mod json_files;
mod segment;

/// Bytes as volumes have them: some of it text, some of it zeros, some of it noise.
fn volume_like(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length + 512);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let run = 64 + (state >> 20) as usize % 448;
        match state % 3 {
            0 => bytes.resize(bytes.len() + run, 0),
            1 => bytes.extend((0..run).map(|at| b"block storage "[at % 14])),
            _ => bytes
                .extend((0..run as u64).map(|at| state.wrapping_mul(at * at + 1).to_le_bytes()[5])),
        }
    }
    bytes.truncate(length);
    bytes
}
