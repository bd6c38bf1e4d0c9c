//! The shelf: where what is done but for the MD5 of its objects waits until there are enough of them for the lanes.
//!
//! ```text
//!   free buffers ──► a thread: read, digest, encode ──► shelf ──┐ enough, or no buffer is left
//!        ▲                                                      ▼
//!        └───────────── MD5 of all that wait, in lanes, by the thread that comes by ──► collector
//! ```
//!
//! The MD5 of one object cannot be cut up, and one thread has one object at a time. So an object's plain bytes stay in
//! their buffer after everything else is done, until those of several objects are digested side by side. Where only a
//! little of a buffer is wanted, as in most of an incremental, that is digested at once: the same few buffers, warm in the
//! caches, are worth more than lanes then.
//!
//! **Memory ceiling**: there is a fixed number of buffers, made when they are first wanted and lent ever after. A thread
//! that finds none free digests what waits, or waits for one that digests. Nobody waits for a buffer that no
//! thread is about to give back: a lent one comes back when it is dropped, also by a panic.

use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::digest::digest_objects;
use super::pages::Pages;

/// What waits is digested after this time, however few wait: where everything else is slow MD5 costs nothing, and what
/// is done should be seen.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// A buffer that is lent and comes back.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    pub(super) bytes: Pages,
    /// Whether all of it is zeros.
    pub(super) zeroed: bool,
}

/// What can wait on a shelf.
pub(super) trait Done: Send {
    /// Takes in the MD5 of one of its objects.
    fn set_md5(&mut self, object: usize, md5: [u8; 16]);
}

/// An object of which the MD5 is wanted: which of those of what it belongs to, and where it is in the buffer.
pub(super) type Wanted = (usize, Range<usize>);

/// What there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Buffers there are.
    pub(super) buffers: usize,
    /// Objects whose bytes are digested at once.
    pub(super) lanes: usize,
    /// Fewer bytes to digest than this do not hold up their buffer.
    pub(super) little_bytes: usize,
}

/// See the module.
pub(super) struct Shelf<D> {
    room: Room,
    wait_max: Duration,
    state: Mutex<State<D>>,
    changed: Condvar,
}

struct State<D> {
    free: Vec<Buffer>,
    made: usize,
    waiting: Vec<Waiting<D>>,
    digesting: usize,
}

struct Waiting<D> {
    done: D,
    buffer: Buffer,
    wanted: Vec<Wanted>,
    since: Instant,
}

impl<D> State<D> {
    fn is_late(&self, wait_max: Duration) -> bool {
        let oldest = self.waiting.first();
        oldest.is_some_and(|oldest| oldest.since.elapsed() >= wait_max)
    }
}

impl<D: Done> Shelf<D> {
    /// An empty shelf. There is room for one buffer at least.
    pub(super) fn new(room: Room) -> Self {
        Self {
            room: Room {
                buffers: room.buffers.max(1),
                lanes: room.lanes.max(1),
                ..room
            },
            wait_max: WAIT_MAX,
            state: Mutex::new(State {
                free: Vec::new(),
                made: 0,
                waiting: Vec::new(),
                digesting: 0,
            }),
            changed: Condvar::new(),
        }
    }

    /// Lends a buffer. Digests what waits if that is how to get one; what is done by that goes to `finish`.
    pub(super) fn lend(&self, mut finish: impl FnMut(D)) -> Lent<'_, D> {
        let mut state = self.lock();
        loop {
            if let Some(buffer) = state.free.pop() {
                return Lent::new(self, buffer);
            }
            if state.made < self.room.buffers {
                state.made += 1;
                return Lent::new(self, Buffer::default());
            }
            let enough = match state.digesting {
                0 => 1,
                _ => self.room.lanes,
            };
            if state.waiting.len() >= enough {
                self.digest_waiting(state, &mut finish);
                state = self.lock();
            } else {
                let woken = self.changed.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Puts `done` on the shelf with its buffer, and digests what waits if that is enough by now.
    pub(super) fn put(
        &self,
        done: D,
        mut lent: Lent<'_, D>,
        wanted: Vec<Wanted>,
        finish: impl FnMut(D),
    ) {
        let wanted_bytes: usize = wanted.iter().map(|(_, range)| range.len()).sum();
        let waiting = Waiting {
            done,
            buffer: lent.buffer.take().unwrap_or_default(),
            wanted,
            since: Instant::now(),
        };
        let mut state = self.lock();
        if wanted_bytes < self.room.little_bytes {
            return self.digest(state, vec![waiting], finish);
        }
        state.waiting.push(waiting);
        if state.is_late(self.wait_max) || state.waiting.len() >= self.room.lanes {
            return self.digest_waiting(state, finish);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Digests all that waits if any of it has waited for long: for who has long work to do and puts nothing here.
    pub(super) fn clear_late(&self, finish: impl FnMut(D)) {
        let state = self.lock();
        if state.is_late(self.wait_max) {
            self.digest_waiting(state, finish);
        }
    }

    /// Digests all that waits; tells whether anything did.
    pub(super) fn clear(&self, finish: impl FnMut(D)) -> bool {
        let state = self.lock();
        if state.waiting.is_empty() {
            return false;
        }
        self.digest_waiting(state, finish);
        true
    }

    fn digest_waiting(&self, mut state: MutexGuard<'_, State<D>>, finish: impl FnMut(D)) {
        let waiting = std::mem::take(&mut state.waiting);
        self.digest(state, waiting, finish);
    }

    fn digest(
        &self,
        mut state: MutexGuard<'_, State<D>>,
        waiting: Vec<Waiting<D>>,
        finish: impl FnMut(D),
    ) {
        state.digesting += 1;
        drop(state);
        let mut taken = Taken {
            shelf: self,
            waiting,
        };
        taken.digest();
        let done = taken.give_back();
        drop(taken); // before this thread waits for the collector
        done.into_iter().for_each(finish);
    }

    fn give_back(&self, buffers: impl Iterator<Item = Buffer>) {
        self.lock().free.extend(buffers);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<D>> {
        // A panic while holding it ends the whole crew; until then the lists are good enough to lend from.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one thread took from the shelf to digest it.
struct Taken<'s, D: Done> {
    shelf: &'s Shelf<D>,
    waiting: Vec<Waiting<D>>,
}

impl<D: Done> Taken<'_, D> {
    fn digest(&mut self) {
        let mut objects = Vec::new();
        let mut owners = Vec::new();
        for (owner, waiting) in self.waiting.iter().enumerate() {
            for (object, range) in &waiting.wanted {
                objects.push(&waiting.buffer.bytes[range.clone()]);
                owners.push((owner, *object));
            }
        }
        let sums = digest_objects(&objects);
        for ((owner, object), md5) in owners.into_iter().zip(sums) {
            self.waiting[owner].done.set_md5(object, md5);
        }
    }

    fn give_back(&mut self) -> Vec<D> {
        let (done, buffers): (Vec<D>, Vec<Buffer>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .map(|waiting| (waiting.done, waiting.buffer))
            .unzip();
        self.shelf.give_back(buffers.into_iter());
        done
    }
}

impl<D: Done> Drop for Taken<'_, D> {
    fn drop(&mut self) {
        self.shelf.lock().digesting -= 1;
        self.give_back();
    }
}

/// A lent buffer.
pub(super) struct Lent<'s, D: Done> {
    shelf: &'s Shelf<D>,
    buffer: Option<Buffer>,
}

impl<'s, D: Done> Lent<'s, D> {
    fn new(shelf: &'s Shelf<D>, buffer: Buffer) -> Self {
        Self {
            shelf,
            buffer: Some(buffer),
        }
    }

    /// The buffer.
    pub(super) fn get(&mut self) -> &mut Buffer {
        self.buffer.get_or_insert_default()
    }
}

impl<D: Done> Drop for Lent<'_, D> {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.shelf.give_back(std::iter::once(buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use md5::{Digest as _, Md5};

    use super::*;

    /// A unit of work with one object.
    struct One {
        number: usize,
        md5: Option<[u8; 16]>,
    }

    impl Done for One {
        fn set_md5(&mut self, object: usize, md5: [u8; 16]) {
            assert_eq!(object, 7);
            self.md5 = Some(md5);
        }
    }

    fn bytes_of(number: usize) -> Vec<u8> {
        (0..=u8::MAX)
            .cycle()
            .skip(number)
            .take(number * 37)
            .collect()
    }

    fn put(shelf: &Shelf<One>, number: usize, finish: impl FnMut(One) + Copy) {
        let mut lent = shelf.lend(finish);
        let mut pages = Pages::zeroed(number * 37).unwrap();
        pages.copy_from_slice(&bytes_of(number));
        lent.get().bytes = pages;
        let all = 0..lent.get().bytes.len();
        shelf.put(One { number, md5: None }, lent, vec![(7, all)], finish);
    }

    #[test]
    fn every_object_gets_its_md5_however_few_buffers_there_are() {
        for (threads, buffers, lanes) in [(1, 1, 16), (4, 1, 16), (4, 4, 2), (3, 8, 5), (2, 20, 16)]
        {
            let shelf = Shelf::new(Room {
                buffers,
                lanes,
                little_bytes: 1000,
            });
            let next = AtomicUsize::new(0);
            let all = Mutex::new(Vec::new());
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        let finish = |one: One| all.lock().unwrap().push(one);
                        loop {
                            let number = next.fetch_add(1, Ordering::Relaxed);
                            if number >= 100 {
                                break;
                            }
                            put(&shelf, number, finish);
                        }
                        shelf.clear(finish);
                    });
                }
            });
            let mut all = all.into_inner().unwrap();
            all.sort_by_key(|one| one.number);
            assert_eq!(all.len(), 100);
            for (number, one) in all.iter().enumerate() {
                let md5: [u8; 16] = Md5::digest(bytes_of(number)).into();
                assert_eq!((one.number, one.md5), (number, Some(md5)));
            }
            assert!(shelf.lock().made <= buffers);
        }
    }

    #[test]
    fn objects_wait_until_there_are_enough_for_the_lanes() {
        let room = Room {
            buffers: 6,
            lanes: 4,
            little_bytes: 0,
        };
        let shelf = Shelf::new(room);
        let finished = AtomicUsize::new(0);
        let finish = |_| {
            finished.fetch_add(1, Ordering::Relaxed);
        };
        for number in 0..3 {
            put(&shelf, number, finish);
            assert_eq!(finished.load(Ordering::Relaxed), 0);
        }
        put(&shelf, 3, finish);
        assert_eq!(finished.load(Ordering::Relaxed), 4);
        assert!(!shelf.clear(finish));
        put(&shelf, 4, finish);
        assert!(shelf.clear(finish));
        assert_eq!(finished.load(Ordering::Relaxed), 5);
    }

    #[test]
    fn a_little_is_digested_at_once_and_its_buffer_lent_again() {
        let shelf = Shelf::new(Room {
            buffers: 6,
            lanes: 4,
            little_bytes: 37 * 3,
        });
        let finished = AtomicUsize::new(0);
        let finish = |one: One| {
            let md5: [u8; 16] = Md5::digest(bytes_of(one.number)).into();
            assert_eq!(one.md5, Some(md5));
            finished.fetch_add(1, Ordering::Relaxed);
        };
        for number in [1, 2, 2, 1] {
            put(&shelf, number, finish);
        }
        assert_eq!(finished.load(Ordering::Relaxed), 4);
        assert_eq!(shelf.lock().made, 1);
        put(&shelf, 3, finish);
        assert_eq!(finished.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn what_waited_for_long_is_digested_by_whoever_comes_by() {
        let room = Room {
            buffers: 6,
            lanes: 4,
            little_bytes: 0,
        };
        let finished = AtomicUsize::new(0);
        let finish = |_| {
            finished.fetch_add(1, Ordering::Relaxed);
        };
        let mut shelf = Shelf::new(room);
        shelf.wait_max = Duration::MAX;
        put(&shelf, 0, finish);
        shelf.clear_late(finish);
        assert_eq!(finished.load(Ordering::Relaxed), 0);
        shelf.wait_max = Duration::ZERO;
        shelf.clear_late(finish);
        assert_eq!(finished.load(Ordering::Relaxed), 1);
        put(&shelf, 1, finish);
        assert_eq!(finished.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_buffer_comes_back_from_who_fails() {
        let shelf: Shelf<One> = Shelf::new(Room {
            buffers: 1,
            lanes: 1,
            little_bytes: 0,
        });
        let lent = shelf.lend(drop);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| drop(shelf.lend(drop)));
            let failed = scope.spawn(move || {
                let _lent = lent;
                panic!("it fails");
            });
            assert!(failed.join().is_err());
            waiting.join().unwrap();
        });
    }
}
