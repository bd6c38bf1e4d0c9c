//! Windows: runs of the volume that threads restore independently of each other.
//!
//! A window ends where no object crosses, on a block border, so that an object is read by one
//! thread and a block is checked by one. Where objects lie over each other for too long a window
//! ends all the same, and what crosses is read once more from its start by the next one.

use std::iter::Peekable;

use super::chain::ChainObject;
use super::digests::WantedDigests;
use super::merge::{Merge, Piece};
use crate::engine::EngineError;
use crate::engine::digest::BlockDigest;
use crate::engine::line::Units;

/// A window never has more blocks: their digests are held in memory. 2 GiB of the usual size.
const BLOCKS_MAX: u64 = 64 << 10;
/// Nor does it have many more pieces.
const PIECES_MAX: usize = 16 << 10;

/// One window.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// The first byte.
    pub(super) start: u64,
    /// The first byte after.
    pub(super) end: u64,
    /// Where its bytes come from, in order; what no piece has is a gap.
    pub(super) pieces: Vec<Piece>,
    /// Digests of its blocks, from the one that begins at `start`; fewer where the list ends.
    pub(super) digests: Vec<BlockDigest>,
    /// The object that the window behind it will ask for first, unless this one has it too.
    pub(super) then: Option<u32>,
}

/// Cuts the volume into windows.
pub(super) struct Windows<'a> {
    pub(super) objects: &'a [ChainObject],
    pub(super) merge: Peekable<Merge<'a>>,
    /// What crossed the end of the window before.
    pub(super) crossing: Option<Piece>,
    pub(super) position: u64,
    /// The end of all that is to be done.
    pub(super) end: u64,
    /// Bytes of a block: windows begin on its borders.
    pub(super) block_size: u64,
    /// A window is no shorter if it can be longer, so that scattered small objects share one.
    pub(super) window_min: u64,
    /// The digests from `position` on, and how many are left.
    pub(super) digests: Option<(WantedDigests<'a>, u64)>,
}

impl Units for Windows<'_> {
    type Unit = Window;

    fn next(&mut self, window: &mut Window) -> Result<bool, EngineError> {
        if self.position >= self.end {
            return Ok(false);
        }
        window.start = self.position;
        window.pieces.clear();
        window.digests.clear();

        let mut longest = self.border(window.start.saturating_add(BLOCKS_MAX * self.block_size));
        let mut open_until = window.start.saturating_add(self.window_min);
        if let Some(piece) = self.crossing.take() {
            self.take(window, piece, longest, &mut open_until);
        }
        loop {
            let cut = self.border(open_until).min(longest);
            match self.merge.peek() {
                Some(piece) if self.crossing.is_none() && piece.start < cut => {
                    let piece = *piece;
                    self.merge.next();
                    self.take(window, piece, longest, &mut open_until);
                    if window.pieces.len() >= PIECES_MAX {
                        let last = window.pieces.last().map_or(window.start, |last| last.end);
                        longest = longest.min(self.border(last));
                    }
                }
                _ => {
                    window.end = cut;
                    break;
                }
            }
        }
        self.position = window.end;
        window.then = match self.crossing {
            Some(_) => None,
            None => self.merge.peek().map(|piece| piece.object),
        };

        if let Some((digests, left)) = &mut self.digests {
            let blocks = (window.end - window.start)
                .div_ceil(self.block_size)
                .min(*left);
            *left -= blocks;
            let blocks = usize::try_from(blocks).expect("a window has a bounded length");
            digests.next(&mut window.digests, blocks)?;
        }
        Ok(true)
    }
}

impl Windows<'_> {
    /// Puts a piece into a window; what of it lies beyond `longest` waits for the next.
    fn take(&mut self, window: &mut Window, mut piece: Piece, longest: u64, open_until: &mut u64) {
        if piece.end > longest {
            self.crossing = Some(Piece {
                start: longest,
                ..piece
            });
            piece.end = longest;
        }
        *open_until = (*open_until).max(self.objects[piece.object as usize].end());
        window.pieces.push(piece);
    }

    /// The first block border at or after `position`, but not beyond the end.
    fn border(&self, position: u64) -> u64 {
        position
            .checked_next_multiple_of(self.block_size)
            .map_or(self.end, |border| border.min(self.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::restore::chain::test_object;
    use crate::engine::restore::merge::by_offset;

    fn windows(objects: &[ChainObject], start: u64, end: u64) -> Vec<(u64, u64, usize)> {
        let order = by_offset(objects);
        let mut windows = Windows {
            objects,
            merge: Merge::new(objects, &order, start, end).peekable(),
            crossing: None,
            position: start,
            end,
            block_size: 512,
            window_min: 512,
            digests: None,
        };
        let mut window = Window::default();
        let mut cut = Vec::new();
        while windows.next(&mut window).unwrap() {
            cut.push((window.start, window.end, window.pieces.len()));
        }
        cut
    }

    #[test]
    fn a_window_ends_on_a_block_border_that_no_object_crosses() {
        let objects = [
            test_object(0, 1024),
            test_object(1024, 1000), // its last block is shared with the next one
            test_object(2024, 536),
            test_object(2560, 512),
            test_object(512, 512), // a newer one, inside the first
        ];
        assert_eq!(
            windows(&objects, 0, 3072),
            [(0, 1024, 2), (1024, 2560, 2), (2560, 3072, 1)]
        );
    }

    #[test]
    fn gaps_are_windows_too_and_a_start_may_lie_inside_an_object() {
        assert_eq!(
            windows(&[], 0, 1100),
            [(0, 512, 0), (512, 1024, 0), (1024, 1100, 0)]
        );
        let objects = [test_object(0, 2048)];
        assert_eq!(windows(&objects, 1024, 2048), [(1024, 2048, 1)]);
    }

    #[test]
    fn a_window_is_cut_before_it_is_too_long() {
        let longest = BLOCKS_MAX * 512;
        let objects = [test_object(0, 2 * longest + 700)];
        assert_eq!(
            windows(&objects, 0, 2 * longest + 700),
            [
                (0, longest, 1),
                (longest, 2 * longest, 1),
                (2 * longest, 2 * longest + 700, 1)
            ]
        );
    }
}
