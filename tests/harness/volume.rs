//! Volumes as bytes.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

/// Bytes in a MiB.
pub const MIB: u64 = 1 << 20;

/// How much is read or written at once.
const STEP: usize = 1 << 20;

/// Bytes of one stamp in [`write_dense`]: the block size of backups.
const STAMPED: usize = 32768;

/// Random bytes from a seed.
#[must_use]
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Bytes that look like text: each holds six random bits, so that any algorithm saves a quarter
/// and has to work for it, both ways.
#[must_use]
pub fn text(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = noise(seed, length);
    for byte in &mut bytes {
        *byte = (*byte & 0x3f) + b' ';
    }
    bytes
}

/// Writes `bytes` into an existing file at `offset`.
///
/// # Panics
/// When it cannot be written.
pub fn write_at(path: &Path, offset: u64, bytes: &[u8]) {
    open_to_write(path)
        .write_all_at(bytes, offset)
        .unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
}

/// Makes a file of `length` bytes, all of them data: text in which no two blocks are equal.
///
/// # Panics
/// When it cannot be written.
pub fn write_dense(path: &Path, length: u64, seed: u64) {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .unwrap_or_else(|error| panic!("make {}: {error}", path.display()));
    let mut buffer = text(seed, STEP);
    let mut at = 0;
    while at < length {
        for (index, block) in (0_u64..).zip(buffer.chunks_mut(STAMPED)) {
            let stamp = format!("{:016x}", at + index);
            block[..16].copy_from_slice(stamp.as_bytes());
        }
        let step = usize::try_from(length - at).map_or(STEP, |rest| rest.min(STEP));
        file.write_all_at(&buffer[..step], at)
            .unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
        at += step as u64;
    }
}

/// Makes a file of `length` bytes that are all `byte`.
///
/// # Panics
/// When it cannot be written.
pub fn fill(path: &Path, length: u64, byte: u8) {
    let file = open_to_write(path);
    let buffer = vec![byte; STEP];
    let mut at = 0;
    while at < length {
        let step = usize::try_from(length - at).map_or(STEP, |rest| rest.min(STEP));
        file.write_all_at(&buffer[..step], at)
            .unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
        at += step as u64;
    }
}

fn open_to_write(path: &Path) -> File {
    OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap_or_else(|error| panic!("open {}: {error}", path.display()))
}

/// SHA-256 of the first `length` bytes, as if zeros followed the end of the file: a file that was
/// taken over may be shorter than the volume it is restored to.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn sha256(path: &Path, length: u64) -> String {
    let mut file = open(path).take(length);
    let mut hash = Sha256::new();
    let mut buffer = vec![0; STEP];
    let mut hashed = 0;
    while hashed < length {
        read_full(&mut file, &mut buffer);
        let step = usize::try_from(length - hashed).map_or(STEP, |rest| rest.min(STEP));
        hash.update(&buffer[..step]);
        hashed += step as u64;
    }
    hex::encode(hash.finalize())
}

/// Checks that a file begins with these bytes and holds nothing but zeros after them.
///
/// # Panics
/// When it does not, naming the first offset that differs.
pub fn assert_holds(path: &Path, bytes: &[u8]) {
    assert_equal_streams(path, bytes);
}

/// Checks that two files hold the same bytes; where one is longer, zeros must follow.
///
/// # Panics
/// When they do not, naming the first offset that differs.
pub fn assert_same_bytes(path: &Path, original: &Path) {
    assert_equal_streams(path, open(original));
}

fn assert_equal_streams(path: &Path, mut wanted: impl Read) {
    let mut file = open(path);
    let (mut held, mut expected) = (vec![0; STEP], vec![0; STEP]);
    let mut at = 0;
    loop {
        let length = read_full(&mut file, &mut held).max(read_full(&mut wanted, &mut expected));
        if length == 0 {
            return;
        }
        if held != expected {
            let differs = held.iter().zip(&expected).position(|(a, b)| a != b);
            let offset = at + differs.unwrap_or_default() as u64;
            panic!("{} differs at offset {offset}", path.display());
        }
        at += length as u64;
    }
}

/// Fills the buffer as far as there is something to read, the rest with zeros.
fn read_full(from: &mut impl Read, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]).expect("it can be read") {
            0 => break,
            read => filled += read,
        }
    }
    buffer[filled..].fill(0);
    filled
}

fn open(path: &Path) -> File {
    File::open(path).unwrap_or_else(|error| panic!("open {}: {error}", path.display()))
}

/// Length of a file.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn length(path: &Path) -> u64 {
    metadata(path).len()
}

/// Bytes of a file that are data and not holes.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn data_bytes(path: &Path) -> u64 {
    metadata(path).blocks() * 512
}

fn metadata(path: &Path) -> std::fs::Metadata {
    path.metadata()
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn a_shorter_file_is_hashed_as_if_zeros_followed() {
        let mut bytes = noise(1, 3 * STEP + 5);
        let short = file(&bytes);
        bytes.resize(5 * STEP + 1, 0);
        let whole = hex::encode(Sha256::digest(&bytes));
        assert_eq!(sha256(short.path(), bytes.len() as u64), whole);
        assert_eq!(sha256(file(&bytes).path(), bytes.len() as u64), whole);
    }

    #[test]
    fn a_difference_is_found_wherever_it_is() {
        let bytes = noise(1, 2 * STEP + 5);
        assert_holds(file(&bytes).path(), &bytes);
        for at in [0, STEP - 1, STEP, 2 * STEP + 4] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            let other = file(&other);
            let compare = || assert_holds(other.path(), &bytes);
            let said = std::panic::catch_unwind(compare).unwrap_err();
            let said = said.downcast_ref::<String>().unwrap();
            assert!(said.ends_with(&format!("at offset {at}")), "{said}");
        }
    }

    #[test]
    fn dense_text_has_no_two_equal_blocks() {
        let file = file(b"");
        let length = 3 * MIB + 100;
        write_dense(file.path(), length, 1);
        let bytes = std::fs::read(file.path()).unwrap();
        assert_eq!(bytes.len() as u64, length);
        let blocks: std::collections::HashSet<_> = bytes.chunks(STAMPED).collect();
        assert_eq!(blocks.len() as u64, length.div_ceil(STAMPED as u64));
    }
}
