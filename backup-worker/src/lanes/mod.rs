//! SHA-256 and MD5 of many messages at once, one message in each 32-bit lane of a vector.
//!
//! ```text
//! messages ──► schedule: a message on each lane, the next one where one ends
//!                 │ many left                      │ few left
//!                 ▼                                ▼
//!              kernels: AVX-512, 16 lanes       `sha2`, `md5`: one after the other
//!                       AVX2, 8 lanes           (SHA-NI, where the processor has it)
//! ```
//!
//! The digest of one message is a chain of dependent steps, so it cannot be cut up; but the blocks of a volume are
//! independent of each other, and so are objects. Which code runs is asked of the processor when it runs; see [`Path`].
//! Digests are equal on every path: this is a matter of speed alone, and `sha2` and `md5` stay the reference.
//!
//! **Invariant.** But for three system calls (`priority.rs`, `volume/file/blocks.rs`) here is the worker's only `unsafe` code: the call of a kernel, sound because a [`Path`] exists only
//! where its instructions do, and loads and stores through references to arrays of just their size.

#[cfg(not(target_arch = "x86_64"))]
mod none;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use md5::Md5;
use sha2::{Digest as _, Sha256};

#[cfg(not(target_arch = "x86_64"))]
use self::none as vectors;
#[cfg(target_arch = "x86_64")]
use self::x86_64 as vectors;

use self::vectors::Width;

/// With more messages than this no path is faster.
pub const LANES_MAX: usize = 16;

/// Code that this processor can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path(Option<Width>);

impl Path {
    /// One message after the other, by `sha2` and `md5`. This runs everywhere.
    pub const ONE_BY_ONE: Self = Self(None);

    /// All that this processor can run, the widest first.
    pub fn available() -> impl Iterator<Item = Self> {
        let here = Width::ALL.iter().filter(|width| width.is_here());
        here.map(|width| Self(Some(*width)))
            .chain([Self::ONE_BY_ONE])
    }

    /// Names of those it cannot run.
    pub fn lacking() -> impl Iterator<Item = &'static str> {
        let lacking = Width::ALL.iter().filter(|width| !width.is_here());
        lacking.map(|width| width.name())
    }

    /// The fastest for SHA-256.
    #[must_use]
    pub fn for_sha256() -> Self {
        let outdone = |path: &Self| path.0.is_some_and(Width::is_outdone_for_sha256);
        Self::available()
            .find(|path| !outdone(path))
            .unwrap_or(Self::ONE_BY_ONE)
    }

    /// The fastest for MD5.
    #[must_use]
    pub fn for_md5() -> Self {
        Self::available().next().unwrap_or(Self::ONE_BY_ONE)
    }

    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.map_or("one by one", Width::name)
    }
}

/// SHA-256 of each message. `done` is given each digest with the place of its message among all, in any order.
pub fn sha256<'m>(
    path: Path,
    messages: impl Iterator<Item = &'m [u8]>,
    mut done: impl FnMut(usize, [u8; 32]),
) {
    match path.0 {
        Some(width) => vectors::sha256(width, messages, done),
        None => messages
            .enumerate()
            .for_each(|(place, message)| done(place, Sha256::digest(message).into())),
    }
}

/// MD5 of each message. `done` is given each digest with the place of its message among all, in any order.
pub fn md5<'m>(
    path: Path,
    messages: impl Iterator<Item = &'m [u8]>,
    mut done: impl FnMut(usize, [u8; 16]),
) {
    match path.0 {
        Some(width) => vectors::md5(width, messages, done),
        None => messages
            .enumerate()
            .for_each(|(place, message)| done(place, Md5::digest(message).into())),
    }
}
