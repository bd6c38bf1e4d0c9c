//! LZ4 frames, written around the library's blocks: its own frame writer copies every byte twice on the way, and makes its
//! tables anew for each frame, which together takes a sixth longer.
//!
//! The frame is the smallest that says how long it is (LZ4 frame format 1.6.x, version 01):
//!
//! ```text
//! magic 04 22 4d 18 │ 68: independent blocks, content size │ 40 or 50: blocks of 64 or 256 KiB │ content size, 8 │ check, 1
//! each block: bytes that follow, 4, the highest bit set where they are plain │ bytes
//! end: 0, 4
//! ```

use std::fmt;

use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};
use twox_hash::XxHash32;

// Blocks beyond 256 KiB make decoding several times slower; an extent of one block needs no more
// than 64 KiB.
pub(super) const SMALL_BLOCK: usize = 64 << 10;
pub(super) const BLOCK: usize = 256 << 10;

const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
const FLAGS: u8 = 0x40 | 0x20 | 0x08;
const SMALL_BLOCKS: u8 = 4 << 4;
const BLOCKS: u8 = 5 << 4;
const PLAIN: u32 = 1 << 31;
const END: [u8; 4] = [0; 4];
const WORD: usize = 4;

/// What [`Lz4::compress`] needs of an output beyond the bytes it may fill: the library wants to have room for a
/// block that does not shrink before it tries.
pub(super) const SLACK: usize = get_maximum_output_size(BLOCK) + 2 * WORD + 15;

/// A thread's table of the places where it saw what.
pub(super) struct Lz4(CompressTable);

impl Default for Lz4 {
    fn default() -> Self {
        Self(CompressTable::large())
    }
}

impl fmt::Debug for Lz4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lz4")
    }
}

impl Lz4 {
    /// Writes a frame to the start of `output` and tells its length, or `None` if it would be longer than `room`.
    ///
    /// # Panics
    /// When `output` is shorter than `room` and [`SLACK`] together.
    pub(super) fn compress(
        &mut self,
        plain: &[u8],
        output: &mut [u8],
        room: usize,
    ) -> Option<usize> {
        assert!(output.len() >= room + SLACK, "the library needs slack");
        let (block_size, blocks) = match plain.len() {
            0..=SMALL_BLOCK => (SMALL_BLOCK, SMALL_BLOCKS),
            _ => (BLOCK, BLOCKS),
        };
        let mut header = [0; 15];
        header[..4].copy_from_slice(&MAGIC);
        header[4] = FLAGS;
        header[5] = blocks;
        header[6..14].copy_from_slice(&(plain.len() as u64).to_le_bytes());
        header[14] = XxHash32::oneshot(0, &header[4..14]).to_le_bytes()[1];
        output[..header.len()].copy_from_slice(&header);
        let mut end = header.len();
        for block in plain.chunks(block_size) {
            let (word, data) = output[end..].split_at_mut(WORD);
            let shrunk = compress_into_with_table(block, data, &mut self.0)
                .ok()
                .filter(|length| *length < block.len());
            let length = shrunk.unwrap_or(block.len());
            let mut said = u32::try_from(length).expect("a block is no longer than 256 KiB");
            if shrunk.is_none() {
                data[..length].copy_from_slice(block);
                said |= PLAIN;
            }
            word.copy_from_slice(&said.to_le_bytes());
            end += WORD + length;
            if end + END.len() > room {
                return None;
            }
        }
        output[end..end + END.len()].copy_from_slice(&END);
        end += END.len();
        (end <= room).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

    use super::*;

    fn frame_of(plain: &[u8], room: usize) -> Option<Vec<u8>> {
        let mut output = vec![0xAA; room + SLACK];
        let length = Lz4::default().compress(plain, &mut output, room)?;
        output.truncate(length);
        Some(output)
    }

    fn lines(length: usize) -> Vec<u8> {
        let text = (0..).flat_map(|line: u32| format!("line {}\n", line % 977).into_bytes());
        text.take(length).collect()
    }

    #[test]
    fn the_head_is_the_one_that_the_library_writes() {
        for (length, block_size) in [
            (1000, BlockSize::Max64KB),
            (SMALL_BLOCK, BlockSize::Max64KB),
            (SMALL_BLOCK + 1, BlockSize::Max256KB),
            (3 * BLOCK + 5, BlockSize::Max256KB),
        ] {
            let plain = lines(length);
            let info = FrameInfo::new()
                .block_size(block_size)
                .block_mode(BlockMode::Independent)
                .content_size(Some(length as u64));
            let mut library = FrameEncoder::with_frame_info(info, Vec::new());
            library.write_all(&plain).unwrap();
            let library = library.finish().unwrap();
            assert_eq!(frame_of(&plain, length).unwrap()[..15], library[..15]);
        }
    }

    #[test]
    fn blocks_that_do_not_shrink_are_plain_among_others_that_do() {
        let mut plain = lines(3 * BLOCK + 5);
        let mut state = 1_u64;
        for byte in &mut plain[BLOCK..2 * BLOCK] {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *byte = state.to_be_bytes()[0];
        }
        let frame = frame_of(&plain, plain.len()).unwrap();
        assert!(frame.len() > BLOCK && frame.len() < 2 * BLOCK);
        let mut back = Vec::new();
        FrameDecoder::new(&frame[..])
            .read_to_end(&mut back)
            .unwrap();
        assert!(back == plain);
    }

    #[test]
    fn a_frame_fits_exactly_or_not_at_all() {
        let plain = lines(2 * BLOCK);
        let frame = frame_of(&plain, plain.len()).unwrap();
        assert_eq!(frame_of(&plain, frame.len()), Some(frame.clone()));
        for room in [frame.len() - 1, frame.len() / 2, 15, 0] {
            assert_eq!(frame_of(&plain, room), None, "room for {room}");
        }
    }
}
