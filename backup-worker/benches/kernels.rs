//! The kernels that touch every byte, by themselves: `cargo bench -p backup-worker`.
//!
//! Digests on every path of this processor; codecs on bytes like a volume's and on noise.

use std::hint::black_box;
use std::io::Read as _;

use backup_worker::format::codec::{Encoder, Length, Trailing, decode};
use backup_worker::lanes::{self, Path};
use common::domain::Compression;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const OBJECT: usize = 4 << 20;

/// xorshift: the same bytes in every run.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = vec![0; length];
    for word in bytes.as_chunks_mut().0 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *word = state.to_le_bytes();
    }
    bytes
}

/// Text, tables and noise, some kilobytes of each.
fn mixed(length: usize) -> Vec<u8> {
    let noise = noise(length);
    let mut bytes = Vec::with_capacity(length + 4096);
    for (number, piece) in noise.chunks(4096).enumerate() {
        match number % 3 {
            0 => bytes.extend_from_slice(piece),
            1 => bytes.extend(
                piece
                    .iter()
                    .map(|byte| b"the quick brown fox, "[usize::from(byte % 21)]),
            ),
            _ => bytes.extend(
                piece
                    .chunks(8)
                    .flat_map(|row| [row[0], 0, 0, 1, row[1] & 3, 0, 0, 0]),
            ),
        }
    }
    bytes.truncate(length);
    bytes
}

fn digests(criterion: &mut Criterion) {
    let data = noise(16 * OBJECT / 4);
    let mut group = criterion.benchmark_group("sha256 of 32 KiB blocks");
    group.throughput(Throughput::Bytes(data.len() as u64));
    for path in Path::available() {
        group.bench_function(path.name(), |bencher| {
            bencher.iter(|| {
                lanes::sha256(path, data.chunks(32 << 10), |_, digest| {
                    black_box(digest);
                })
            });
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("md5 of 16 objects");
    group.throughput(Throughput::Bytes(data.len() as u64));
    for path in Path::available() {
        group.bench_function(path.name(), |bencher| {
            bencher.iter(|| {
                lanes::md5(path, data.chunks(data.len() / 16), |_, digest| {
                    black_box(digest);
                })
            });
        });
    }
    group.finish();
}

fn codecs(criterion: &mut Criterion) {
    let mut encoder = Encoder::new();
    for (name, plain) in [("mixed", mixed(OBJECT)), ("noise", noise(OBJECT))] {
        let mut group = criterion.benchmark_group(format!("codec, {name}"));
        group
            .throughput(Throughput::Bytes(plain.len() as u64))
            .sample_size(10);
        for wanted in [Compression::Lz4, Compression::Zstd, Compression::Zlib] {
            group.bench_function(BenchmarkId::new("encode", wanted), |bencher| {
                bencher.iter(|| {
                    encoder
                        .encode(wanted, &plain)
                        .map(|encoded| black_box(encoded.bytes.len()))
                });
            });
            let encoded = encoder
                .encode(wanted, &plain)
                .expect("a context can be made");
            let (compression, stored) = (encoded.compression, encoded.bytes.to_vec());
            let mut back = vec![0; plain.len()];
            group.bench_function(BenchmarkId::new("decode", wanted), |bencher| {
                bencher.iter(|| {
                    let exactly = Length::Exactly(back.len() as u64);
                    decode(compression, &stored[..], exactly, Trailing::Refused)?
                        .read_exact(&mut back)
                });
            });
        }
        group.finish();
    }
}

criterion_group!(kernels, digests, codecs);
criterion_main!(kernels);
