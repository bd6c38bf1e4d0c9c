//! Runs of data and holes in a sparse file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::super::Extent;

/// Bytes moved in one call, so that a huge run does not sit in one system call.
const COPY_STEP_BYTES: u64 = 64 << 20;
/// Buffer of the copy through memory.
const BUFFER_BYTES: usize = 1 << 20;

/// The first run of data at or after `offset` in the first `size_bytes` of the file.
pub(super) fn next_data(
    file: &File,
    offset: u64,
    size_bytes: u64,
) -> Result<Option<Extent>, io::Error> {
    if offset >= size_bytes {
        return Ok(None);
    }
    let start = match rustix::fs::seek(file, SeekFrom::Data(offset)) {
        Ok(start) if start >= size_bytes => return Ok(None),
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        // A file system that cannot tell holes from data: all that follows may be data.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => offset,
        Err(errno) => return Err(errno.into()),
    };
    let end = match rustix::fs::seek(file, SeekFrom::Hole(start)) {
        Ok(end) => end.min(size_bytes),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => size_bytes,
        Err(errno) => return Err(errno.into()),
    };
    Ok((end > start).then_some(Extent {
        offset: start,
        length: end - start,
    }))
}

/// Copies all runs of data of `from` into the empty file `to`, which gets the same size; holes stay holes.
pub(super) fn copy_sparse(from: &File, to: &File, size_bytes: u64) -> io::Result<()> {
    to.set_len(0)?;
    to.set_len(size_bytes)?;
    let mut offset = 0;
    while let Some(run) = next_data(from, offset, size_bytes)? {
        copy_run(from, to, run)?;
        offset = run.end();
    }
    Ok(())
}

fn copy_run(from: &File, to: &File, run: Extent) -> io::Result<()> {
    let mut done = run.offset;
    while done < run.end() {
        let step = usize::try_from((run.end() - done).min(COPY_STEP_BYTES)).unwrap_or(BUFFER_BYTES);
        let (mut source, mut target) = (done, done);
        match rustix::fs::copy_file_range(from, Some(&mut source), to, Some(&mut target), step) {
            Ok(0) => return Ok(()), // the source became shorter; the comparison after the copy sees it
            Ok(count) => done += count as u64,
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {
                return copy_through_memory(from, to, done, run.end());
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn copy_through_memory(from: &File, to: &File, mut offset: u64, end: u64) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    while offset < end {
        let wanted = usize::try_from(end - offset).map_or(BUFFER_BYTES, |n| n.min(BUFFER_BYTES));
        let count = match from.read_at(&mut buffer[..wanted], offset) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all_at(&buffer[..count], offset)?;
        offset += count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_through_memory_is_the_same_bytes() {
        let from = tempfile::tempfile().unwrap();
        let to = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
        from.write_all_at(&bytes, 4096).unwrap();
        let end = 4096 + bytes.len() as u64;
        copy_through_memory(&from, &to, 4096, end).unwrap();
        let mut back = vec![0; bytes.len()];
        to.read_exact_at(&mut back, 4096).unwrap();
        assert!(back == bytes);
    }
}
