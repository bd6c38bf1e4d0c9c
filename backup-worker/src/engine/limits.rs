//! What an engine may take of the machine, and how that is shared out. The sums are in [`engine`](super).

use std::time::Duration;

use super::shelf::Room;
use crate::lanes::LANES_MAX;

/// How an engine works.
#[derive(Debug, Clone, Copy)]
pub struct EngineLimits {
    /// Threads of a backup; at least one is used.
    pub threads: usize,
    /// Of a restore, which waits for the disk with each write.
    pub restore_threads: usize,
    /// Bytes read of the volume for a batch before it is sealed; of holes and what is known unchanged, sixteen times as many.
    pub seal_size_bytes: u64,
    /// Longest time before what is done is sealed.
    pub seal_after: Duration,
    /// Bytes of all buffers for volume bytes and objects and of codec contexts together. What is beside them is small and
    /// fixed.
    pub buffer_bytes: u64,
    /// Bytes that a codec's context takes to encode, half of which it takes to decode.
    pub codec_bytes: u64,
}

/// Most bytes of a volume that are in hand: a crash costs what is in hand.
const IN_HAND_MAX: u64 = 128 << 20;

/// Most that any codec takes: bzip2.
pub const CODEC_BYTES: u64 = 8 << 20;

/// Most decoders one thread keeps open; a chain whose backups lie over each other needs one for each.
const DECODERS_MAX: usize = 16;

/// What share of a buffer is so little that its MD5 waits for no other.
const LITTLE: usize = 32;

/// What a job takes beside its buffers: digests, names, and the program itself.
const BESIDE_BUFFERS: u64 = 48 << 20;

/// How much of a job's memory its buffers and codecs may have.
#[must_use]
pub fn buffers_of(memory_bytes: u64) -> u64 {
    memory_bytes.saturating_sub(BESIDE_BUFFERS)
}

impl EngineLimits {
    /// How many threads may work on chunks of this size, each with a codec's context and an encoded chunk of its own beside
    /// the room's buffers.
    pub(super) fn room(&self, chunk_size: usize) -> (usize, Room) {
        let chunk = chunk_size.max(1) as u64;
        let of_thread = chunk + self.codec_bytes;
        let threads = count(self.buffer_bytes / (of_thread + chunk)).clamp(1, self.threads.max(1));
        let left = self.buffer_bytes.saturating_sub(threads as u64 * of_thread);
        let buffers = count(left.min(IN_HAND_MAX) / chunk);
        (threads, Room::of(threads, buffers, chunk_size))
    }

    /// Buffers of this size for all threads of a restore, and how many decoders each of them may keep open.
    pub(super) fn restore_room(&self, buffer_bytes: usize) -> (Room, usize) {
        let threads = self.restore_threads.max(1);
        let buffer = buffer_bytes.max(1) as u64;
        let buffers = count(self.buffer_bytes.min(IN_HAND_MAX) / buffer);
        let room = Room::of(threads, buffers, buffer_bytes);
        let left = self
            .buffer_bytes
            .saturating_sub(room.buffers as u64 * buffer);
        let decoders = count(left / (self.codec_bytes / 2).max(1) / threads as u64);
        (room, decoders.clamp(2, DECODERS_MAX))
    }
}

impl Room {
    /// For so many threads, if there is memory for so many buffers of this size.
    fn of(threads: usize, buffers: usize, buffer_bytes: usize) -> Self {
        let buffers = buffers.clamp(threads, LANES_MAX + 2 * threads);
        // Whoever digests leaves the others a buffer to work on, and some of them the next.
        let spare = threads + threads / 2;
        Self {
            buffers,
            lanes: buffers.saturating_sub(spare).clamp(1, LANES_MAX),
            little_bytes: buffer_bytes / LITTLE,
        }
    }
}

/// What fits into memory, as a number of things in it.
fn count(things: u64) -> usize {
    usize::try_from(things).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn limits(threads: usize, memory_mib: u64) -> EngineLimits {
        EngineLimits {
            threads,
            restore_threads: threads + 1,
            seal_size_bytes: 64 * MIB,
            seal_after: Duration::from_secs(5),
            buffer_bytes: buffers_of(memory_mib * MIB),
            codec_bytes: CODEC_BYTES,
        }
    }

    #[test]
    fn a_backup_stays_within_its_budget_with_any_cores_and_objects() {
        for cores in [1, 2, 8, 64, 256] {
            for memory_mib in [160, 256, 1024, 65_536] {
                for object_mib in [1, 8, 16, 50] {
                    let limits = limits(cores, memory_mib);
                    let (threads, room) = limits.room(usize::try_from(object_mib * MIB).unwrap());
                    assert!((1..=cores).contains(&threads) && room.buffers >= threads);
                    let buffers = (room.buffers + threads) as u64 * object_mib * MIB;
                    let all = buffers + threads as u64 * CODEC_BYTES;
                    assert!(
                        all <= limits.buffer_bytes,
                        "{cores} cores, {memory_mib} MiB, objects of {object_mib} MiB: {threads} threads, {room:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_default_budget_lets_two_cores_fill_their_lanes() {
        let (threads, room) = limits(2, 256).room(8 << 20);
        assert_eq!((threads, room.buffers, room.lanes), (2, 16, 13));
    }

    #[test]
    fn a_restore_keeps_as_many_decoders_as_its_budget_has_room_for() {
        for (cores, memory_mib, decoders) in [(1, 1024, 16), (2, 256, 6), (8, 256, 2), (2, 160, 2)]
        {
            let limits = limits(cores, memory_mib);
            let (room, found) = limits.restore_room(8 << 20);
            assert_eq!(found, decoders, "{cores} cores, {memory_mib} MiB: {room:?}");
        }
    }
}
