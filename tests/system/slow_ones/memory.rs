//! Workers that may hold little memory.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use harness::volume::{self, MIB};
use harness::{MemoryLimit, TestStack};

/// What a worker may hold, with all of the page cache that it makes: one that needs more is killed by the kernel.
const LIMIT_BYTES: u64 = 384 * MIB;
/// What it may have of its own at most: the budget of its one job, and its program.
const PEAK_MAX_BYTES: u64 = 320 * MIB;
/// Data in one spot of what is sparse.
const SPOT_BYTES: usize = 64 << 10;
/// How many buffers of 8 MiB its threads come to need at once is a matter of chance, and here it may differ by two.
const CHANCE_BYTES: u64 = 16 * MIB;
/// Dense data of each volume: more than all buffers of a job hold.
const DENSE_BYTES: u64 = 256 * MIB;

#[tokio::test]
#[expect(
    clippy::print_stdout,
    reason = "numbers to read, and why it was skipped"
)]
async fn a_worker_takes_as_much_memory_for_16_gib_as_for_1_gib() {
    let mut peaks = Vec::new();
    for size_gib in [1, 16] {
        let limit = match MemoryLimit::new(LIMIT_BYTES) {
            Ok(limit) => limit,
            Err(why) => return println!("SKIPPED: {why}"),
        };
        peaks.push(peak_of_both_ways(size_gib, &limit).await);
    }
    let (backup, restore): (Vec<_>, Vec<_>) = peaks.into_iter().unzip();
    for (deed, peaks) in [("backup", backup), ("restore", restore)] {
        let shown: Vec<_> = peaks.iter().map(|peak| peak / MIB).collect();
        println!("{deed}: {shown:?} MiB at most");
        assert!(
            peaks.iter().all(|peak| *peak <= PEAK_MAX_BYTES),
            "{deed}: {shown:?} MiB"
        );
        let (small, large) = (peaks[0], peaks[1]);
        assert!(
            small.abs_diff(large) <= CHANCE_BYTES.max(small / 10),
            "{deed}: {shown:?} MiB differ by more than a tenth or two buffers"
        );
    }
}

/// Peaks of two workers: one that backs up a sparse volume of this size, and one that restores it.
async fn peak_of_both_ways(size_gib: u64, limit: &MemoryLimit) -> (u64, u64) {
    // Of zeros, which most of it is, zstd decodes many times as much in a second as LZ4.
    let stack = TestStack::build()
        .set("backup.compression", "zstd")
        .spare_worker()
        .start()
        .await;
    let file = stack.file_to_manage("sparse.raw");
    volume::write_dense(&file, DENSE_BYTES, size_gib);
    let length = size_gib << 30;
    let made = File::options().write(true).open(&file);
    made.and_then(|file| file.set_len(length))
        .expect("a sparse file can be made");
    for (seed, offset) in (0..).zip(spots(length)) {
        volume::write_at(&file, offset, &volume::noise(seed, SPOT_BYTES));
    }
    let id = stack.api().manage_volume("sparse.raw").await;
    hold(limit, &stack, 1);
    let backup = stack.api().back_up(id).await.id;
    let backed_up = stack.worker(1).peak_memory_bytes();
    stack.worker(1).kill();

    stack.worker(2).start();
    stack.until_ready().await;
    hold(limit, &stack, 2);
    let restored = stack.api().bring_back(backup).await;
    let brought_back = stack.worker(2).peak_memory_bytes();
    assert_same_data(&stack.file_of(restored), &file);
    (backed_up, brought_back)
}

fn hold(limit: &MemoryLimit, stack: &TestStack, worker: usize) {
    limit
        .hold(stack.worker(worker).id())
        .expect("the memory of a running worker can be limited");
}

/// Where a little data lies: at the end of each sixteenth.
fn spots(length: u64) -> impl Iterator<Item = u64> {
    (1..=16).map(move |part| part * length / 16 - SPOT_BYTES as u64)
}

/// Compares what is not a hole in the original; what the copy has beside that is no more than blocks around it.
fn assert_same_data(copy: &Path, original: &Path) {
    assert_eq!(volume::length(copy), volume::length(original));
    let open = |path: &Path| File::open(path).expect("a volume can be opened");
    let (copied, wanted) = (open(copy), open(original));
    let same = |offset: u64, length: usize| {
        let read = |file: &File| {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, offset)
                .expect("a volume can be read");
            bytes
        };
        assert!(read(&copied) == read(&wanted), "it differs behind {offset}");
    };
    for offset in (0..DENSE_BYTES).step_by(SPOT_BYTES) {
        same(offset, SPOT_BYTES);
    }
    for offset in spots(volume::length(original)) {
        same(offset, SPOT_BYTES);
    }
    let holes_filled = volume::data_bytes(copy).saturating_sub(volume::data_bytes(original));
    assert!(
        holes_filled <= 2 * MIB,
        "{holes_filled} bytes of holes were written"
    );
}
