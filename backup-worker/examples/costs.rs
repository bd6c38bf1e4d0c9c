//! What each part of the engine's work costs on this machine, by thread CPU time: the numbers behind the limit that
//! `cargo xtask bench` tells.
//!
//! ```text
//! cargo run --release -p backup-worker --example costs -- VOLUME SCRATCH_FILE
//! ```
//!
//! The volume is read, the scratch file is made anew. Prints one JSON object; costs are seconds of one core for a GB
//! (10⁹ bytes), shares are of the volume's bytes.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;

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
const SAMPLES: usize = 6;
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
    let mut buffer = vec![0; 1 << 20];

    let read = cost(bytes, || {
        for offset in (0..bytes).step_by(buffer.len()) {
            volume.read_at(&mut buffer, offset as u64)?;
        }
        Ok(())
    })?;
    let zero = cost(bytes, || {
        std::hint::black_box(blocks().filter(|block| is_zero(block)).count());
        Ok(())
    })?;
    let sha = cost(bytes, || {
        lanes::sha256(Path::for_sha256(), blocks(), |_, digest| {
            std::hint::black_box(digest);
        });
        Ok(())
    })?;
    let md5 = |path, length| {
        cost(bytes, || {
            lanes::md5(path, plain.chunks(length), |_, digest| {
                std::hint::black_box(digest);
            });
            Ok(())
        })
    };
    let write = cost(bytes, || {
        let file = File::create(scratch)?;
        for (at, piece) in (0..).zip(plain.chunks(4 << 20)) {
            file.write_all_at(piece, at * (4 << 20))?;
        }
        Ok(())
    })?;
    std::fs::remove_file(scratch).context("remove the scratch file")?;

    let mut algorithms = serde_json::Map::new();
    for algorithm in [
        Compression::Lz4,
        Compression::Zstd,
        Compression::Zlib,
        Compression::None,
    ] {
        let some = match algorithm {
            Compression::Zlib => &samples[..samples.len().min(2)],
            _ => &samples[..],
        };
        algorithms.insert(algorithm.to_string(), codec(algorithm, some)?);
    }
    let measured = json!({
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

/// Seconds for a GB: the best of some rounds over so many bytes.
fn cost(bytes: usize, mut work: impl FnMut() -> std::io::Result<()>) -> Result<f64> {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = thread_time();
        work()?;
        best = best.min(thread_time() - start);
    }
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let gigabytes = bytes as f64 / 1e9;
    Ok(best / gigabytes)
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
    let compress = cost(bytes, || {
        stored.clear();
        for plain in samples {
            let encoded = encoder.encode(algorithm, plain)?;
            stored.push((encoded.compression, encoded.bytes.to_vec(), plain.len()));
        }
        Ok(())
    })?;
    let mut plain = vec![0; OBJECT];
    let decompress = cost(bytes, || {
        for (compression, stored, length) in &stored {
            let exactly = Length::Exactly(*length as u64);
            decode(*compression, &stored[..], exactly, Trailing::Refused)?
                .read_exact(&mut plain[..*length])?;
        }
        Ok(())
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

/// Some objects with data, evenly spread.
fn samples(volume: &File, objects: &[u64]) -> Result<Vec<Vec<u8>>> {
    let step = objects.len().div_ceil(SAMPLES).max(1);
    let length = volume.metadata()?.len();
    let mut samples = Vec::new();
    for offset in objects.iter().step_by(step) {
        let mut plain = vec![0; usize::try_from((length - offset).min(OBJECT as u64))?];
        volume
            .read_exact_at(&mut plain, *offset)
            .context("read a sample")?;
        samples.push(plain);
    }
    Ok(samples)
}
