//! What each part of the engine's work costs on this machine, by thread CPU time: the numbers behind the limit that
//! `cargo xtask bench` tells.
//!
//! ```text
//! cargo run --release -p backup-worker --example costs -- VOLUME SCRATCH_FILE
//! ```
//!
//! The volume is read, the scratch files are made anew. Prints one JSON object; costs are seconds of one core for a GB
//! (10⁹ bytes), shares are of the volume's bytes. As many threads as there are cores do the same at once, as in the engine:
//! what they share, caches and clock rates above all, makes each of them dearer than one alone.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Barrier;
use std::thread;

use anyhow::{Context as _, Result};
use backup_worker::engine::is_zero;
use backup_worker::format::codec::{Encoder, Length, Trailing, decode};
use backup_worker::lanes::{self, Path};
use common::domain::Compression;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

const BLOCK: usize = 32 << 10;
const OBJECT: usize = 8 << 20;
/// Objects that are held in memory and compressed.
const SAMPLES: usize = 12;
/// What a sample is put together from, all over the volume.
const PIECE: usize = 512 << 10;
const ROUNDS: usize = 3;

#[expect(clippy::print_stdout, reason = "it is what this is for")]
fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [volume, scratch] = &arguments[..] else {
        anyhow::bail!("usage: costs VOLUME SCRATCH_FILE");
    };
    let volume = File::open(volume).context("open the volume")?;
    let shares = shares(&volume)?;
    let samples = samples(&volume, &shares.objects)?;
    let plain: Vec<u8> = samples.concat();
    let blocks = || plain.chunks(BLOCK);
    let bytes = plain.len();

    let read = cost(bytes, |_| {
        let mut buffer = vec![0; 1 << 20];
        let volume = &volume;
        move || {
            for offset in (0..bytes).step_by(buffer.len()) {
                volume.read_at(&mut buffer, offset as u64)?;
            }
            Ok(())
        }
    })?;
    let zero = cost(bytes, |_| {
        || {
            std::hint::black_box(blocks().filter(|block| is_zero(block)).count());
            Ok(())
        }
    })?;
    let sha = cost(bytes, |_| {
        || {
            lanes::sha256(Path::for_sha256(), blocks(), |_, digest| {
                std::hint::black_box(digest);
            });
            Ok(())
        }
    })?;
    let md5 = |path, length| {
        cost(bytes, |_| {
            || {
                lanes::md5(path, plain.chunks(length), |_, digest| {
                    std::hint::black_box(digest);
                });
                Ok(())
            }
        })
    };
    let scratch_of = |thread: usize| {
        let mut path = scratch.clone();
        path.push(format!(".{thread}"));
        path
    };
    let write = cost(bytes, |thread| {
        let plain = &plain;
        let path = scratch_of(thread);
        move || {
            let file = File::create(&path)?;
            for (at, piece) in (0..).zip(plain.chunks(4 << 20)) {
                file.write_all_at(piece, at * (4 << 20))?;
            }
            Ok(())
        }
    })?;
    for thread in 0..threads() {
        std::fs::remove_file(scratch_of(thread)).context("remove a scratch file")?;
    }

    let mut algorithms = serde_json::Map::new();
    for algorithm in [
        Compression::Lz4,
        Compression::Zstd,
        Compression::Zlib,
        Compression::None,
    ] {
        algorithms.insert(algorithm.to_string(), codec(algorithm, &samples)?);
    }
    let measured = json!({
        "threads": threads(),
        "sha256_path": Path::for_sha256().name(),
        "md5_path": Path::for_md5().name(),
        "zero_blocks": shares.zero_blocks,
        "zero_objects": shares.zero_objects,
        "read": read,
        "zero": zero,
        "sha256": sha,
        "md5_lanes": md5(Path::for_md5(), bytes.div_ceil(16))?,
        "md5_stream": md5(Path::ONE_BY_ONE, OBJECT)?,
        "write": write,
        "algorithms": algorithms,
    });
    println!("{measured:#}");
    Ok(())
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Seconds for a GB: of some rounds over so many bytes the best, in which it is the mean of all threads. Each has
/// its own work from `prepare`.
fn cost<W: FnMut() -> io::Result<()>>(
    bytes: usize,
    prepare: impl Fn(usize) -> W + Sync,
) -> Result<f64> {
    let threads = threads();
    let together = Barrier::new(threads);
    let rounds = |thread| -> Vec<io::Result<f64>> {
        let mut work = prepare(thread);
        let round = |_| {
            together.wait();
            let start = thread_time();
            work()?;
            Ok(thread_time() - start)
        };
        (0..ROUNDS).map(round).collect()
    };
    let mut sums = [0.0; ROUNDS];
    thread::scope(|scope| {
        let rounds = &rounds;
        let threads: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || rounds(thread)))
            .collect();
        for thread in threads {
            let times = thread
                .join()
                .map_err(|_panic| anyhow::anyhow!("a thread broke"))?;
            for (sum, time) in sums.iter_mut().zip(times) {
                *sum += time?;
            }
        }
        anyhow::Ok(())
    })?;
    let best = sums.into_iter().fold(f64::MAX, f64::min);
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let (threads, gigabytes) = (threads as f64, bytes as f64 / 1e9);
    Ok(best / threads / gigabytes)
}

fn thread_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    std::time::Duration::try_from(time).map_or(0.0, |time| time.as_secs_f64())
}

/// What encoding and decoding these objects costs, and how much is stored for each byte.
fn codec(algorithm: Compression, samples: &[Vec<u8>]) -> Result<serde_json::Value> {
    let bytes = samples.iter().map(Vec::len).sum();
    let mut encoder = Encoder::new();
    let mut stored = Vec::new();
    for plain in samples {
        let encoded = encoder.encode(algorithm, plain)?;
        stored.push((encoded.compression, encoded.bytes.to_vec(), plain.len()));
    }
    let compress = cost(bytes, |_| {
        let mut encoder = Encoder::new();
        move || {
            for plain in samples {
                std::hint::black_box(encoder.encode(algorithm, plain)?);
            }
            Ok(())
        }
    })?;
    let decompress = cost(bytes, |_| {
        let mut plain = vec![0; OBJECT];
        let stored = &stored;
        move || {
            for (compression, stored, length) in stored {
                let exactly = Length::Exactly(*length as u64);
                decode(*compression, &stored[..], exactly, Trailing::Refused)?
                    .read_exact(&mut plain[..*length])?;
            }
            Ok(())
        }
    })?;
    let stored: usize = stored.iter().map(|(_, stored, _)| stored.len()).sum();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let ratio = stored as f64 / bytes as f64;
    Ok(json!({ "compress": compress, "decompress": decompress, "ratio": ratio }))
}

struct Shares {
    zero_blocks: f64,
    zero_objects: f64,
    /// Where objects with data begin.
    objects: Vec<u64>,
}

/// Which blocks and objects are zeros.
fn shares(volume: &File) -> Result<Shares> {
    let mut buffer = vec![0; OBJECT];
    let (mut blocks, mut zero_blocks, mut count) = (0_u32, 0_u32, 0_u32);
    let mut objects = Vec::new();
    let length = volume.metadata().context("look at the volume")?.len();
    for offset in (0..length).step_by(OBJECT) {
        let got = usize::try_from((length - offset).min(OBJECT as u64))?;
        volume
            .read_exact_at(&mut buffer[..got], offset)
            .context("read the volume")?;
        let zeros = buffer[..got]
            .chunks(BLOCK)
            .filter(|block| is_zero(block))
            .count();
        let all = got.div_ceil(BLOCK);
        blocks += u32::try_from(all)?;
        zero_blocks += u32::try_from(zeros)?;
        count += 1;
        if zeros < all {
            objects.push(offset);
        }
    }
    anyhow::ensure!(!objects.is_empty(), "the volume is all zeros");
    Ok(Shares {
        zero_blocks: f64::from(zero_blocks) / f64::from(blocks),
        zero_objects: 1.0 - f64::from(u32::try_from(objects.len())?) / f64::from(count),
        objects,
    })
}

/// Samples of the objects with data, each put together from pieces of all of them.
fn samples(volume: &File, objects: &[u64]) -> Result<Vec<Vec<u8>>> {
    let length = volume.metadata()?.len();
    let pieces: Vec<u64> = objects
        .iter()
        .flat_map(|start| (*start..length.min(start + OBJECT as u64)).step_by(PIECE))
        .collect();
    let per_sample = OBJECT / PIECE;
    let wanted = pieces.len().min(SAMPLES * per_sample);
    let mut samples = vec![Vec::with_capacity(OBJECT); wanted.div_ceil(per_sample)];
    let count = samples.len();
    for piece in 0..wanted {
        let offset = pieces[piece * pieces.len() / wanted];
        let sample = &mut samples[piece % count];
        let start = sample.len();
        sample.resize(
            start + usize::try_from((length - offset).min(PIECE as u64))?,
            0,
        );
        volume
            .read_exact_at(&mut sample[start..], offset)
            .context("read a sample")?;
    }
    Ok(samples)
}
