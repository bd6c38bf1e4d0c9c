//! Two questions to the file system that no safe call of ours asks: where a file's bytes lie, and
//! whether two files can share them.
//!
//! **Invariant.** Here is the worker's only `unsafe` code beside the lanes: two calls of `ioctl`, each with the opcode
//! and the layout that `linux/fiemap.h` and `linux/fs.h` give. The tests hold sizes and places against those.
#![expect(unsafe_code, reason = "ioctls that rustix has no safe call for")]

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;
use rustix::ioctl::{Opcode, Setter, Updater, ioctl, opcode};

/// Pieces told in one call: 3.5 KiB.
const PIECES: usize = 64;

/// Write back what is not yet, before telling.
const SYNC: u32 = 1;

/// `struct fiemap` without its flexible end.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Header {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    room: u32,
    reserved: u32,
}

/// `struct fiemap_extent`: a piece of a file that lies in one place.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Piece {
    /// Bytes from the file's start.
    pub(super) logical: u64,
    /// Bytes from the start of where the file system keeps data.
    pub(super) physical: u64,
    /// Bytes.
    pub(super) length: u64,
    reserved_wide: [u64; 2],
    /// What there is to know about it.
    pub(super) flags: u32,
    reserved: [u32; 3],
}

/// Room for an answer.
#[repr(C)]
#[derive(Debug)]
struct Question {
    header: Header,
    pieces: [Piece; PIECES],
}

/// The size in the opcode is that of the header alone.
const FIEMAP: Opcode = opcode::read_write::<Header>(b'f', 11);

/// Pieces of a file, as many as one call tells.
#[derive(Debug)]
pub(super) struct Told {
    question: Question,
}

impl Told {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            question: Question {
                header: Header::default(),
                pieces: [Piece::default(); PIECES],
            },
        }
    }

    /// Asks for the pieces that lie in `length` bytes from `start` on, in order. The first and the last may reach
    /// beyond them. What no piece covers is a hole.
    pub(super) fn ask(&mut self, file: &File, start: u64, length: u64) -> Result<(), Errno> {
        self.ask_with(file, start, length, 0)
    }

    /// The same, with everything written back first.
    pub(super) fn ask_synced(&mut self, file: &File, start: u64, length: u64) -> Result<(), Errno> {
        self.ask_with(file, start, length, SYNC)
    }

    fn ask_with(&mut self, file: &File, start: u64, length: u64, flags: u32) -> Result<(), Errno> {
        self.question.header = Header {
            start,
            length,
            flags,
            mapped: 0,
            room: u32::try_from(PIECES).expect("it is a small number"),
            reserved: 0,
        };
        // SAFETY: the kernel writes the header and at most `room` pieces behind it, and there is that room.
        // Every bit pattern is a value of these structs.
        let asked = unsafe { ioctl(file, Updater::<FIEMAP, Question>::new(&mut self.question)) };
        asked.inspect_err(|_| self.question.header.mapped = 0)
    }

    /// What was told.
    pub(super) fn pieces(&self) -> &[Piece] {
        let told = usize::try_from(self.question.header.mapped).unwrap_or(usize::MAX);
        &self.question.pieces[..told.min(PIECES)]
    }

    /// Whether there may be more behind the last piece.
    pub(super) fn is_full(&self) -> bool {
        self.pieces().len() == PIECES
    }
}

/// `struct file_clone_range`.
#[repr(C)]
#[derive(Debug)]
struct CloneRange {
    source: i64,
    source_offset: u64,
    /// 0 means up to the end.
    length: u64,
    target_offset: u64,
}

const FICLONERANGE: Opcode = opcode::write::<CloneRange>(0x94, 13);

/// Makes the empty file `target` begin with the first `length` bytes of `source`, in the very same blocks.
pub(super) fn share_start(target: &File, source: &File, length: u64) -> Result<(), Errno> {
    let range = CloneRange {
        source: i64::from(source.as_fd().as_raw_fd()),
        source_offset: 0,
        length,
        target_offset: 0,
    };
    // SAFETY: the kernel reads the struct, and the descriptor in it is open for as long as the call takes.
    unsafe { ioctl(target, Setter::<FICLONERANGE, CloneRange>::new(range)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    #[test]
    fn layouts_and_opcodes_are_the_kernels() {
        assert_eq!(size_of::<Header>(), 32);
        assert_eq!(size_of::<Piece>(), 56);
        assert_eq!(offset_of!(Question, pieces), 32);
        assert_eq!(size_of::<Question>(), 32 + PIECES * 56);
        let places = [
            offset_of!(Piece, logical),
            offset_of!(Piece, physical),
            offset_of!(Piece, length),
            offset_of!(Piece, flags),
        ];
        assert_eq!(places, [0, 8, 16, 40]);
        let places = [
            offset_of!(Header, start),
            offset_of!(Header, length),
            offset_of!(Header, flags),
            offset_of!(Header, mapped),
            offset_of!(Header, room),
        ];
        assert_eq!(places, [0, 8, 16, 20, 24]);
        assert_eq!(FIEMAP, 0xc020_660b);
        assert_eq!(size_of::<CloneRange>(), 32);
        assert_eq!(FICLONERANGE, 0x4020_940d);
    }
}
