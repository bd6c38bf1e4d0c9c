use common::domain::{Compression, ContainerName};
use proptest::prelude::*;

use crate::format::segment::{NO_PREDECESSOR, Segment, SegmentName, SegmentObject, longest_chain};
use crate::format::sha256file::Digest;
use crate::store::BackupStore;
use crate::store::posix::{PosixStore, init_target};

const SCRATCH: &str = ".emberkeep-test-a1";

struct Scratch {
    store: PosixStore,
    container: ContainerName,
    directory: tempfile::TempDir,
}

fn scratch() -> Scratch {
    let directory = tempfile::tempdir().unwrap();
    init_target(directory.path()).unwrap();
    let store = PosixStore::new(directory.path(), None);
    let container = ContainerName::new("box").unwrap();
    store.prepare(&container, SCRATCH).unwrap();
    Scratch {
        store,
        container,
        directory,
    }
}

impl Scratch {
    fn seal(&self, segment: &Segment) -> Digest {
        segment.seal(&self.store, &self.container, SCRATCH).unwrap()
    }

    /// The chain as `(sequence, generation)`, and the bytes it covers.
    fn chain(&self) -> (Vec<(u64, u64)>, u64) {
        let chain = longest_chain(&self.store, &self.container, SCRATCH).unwrap();
        let names = chain
            .segments
            .iter()
            .map(|name| (name.sequence, name.generation))
            .collect();
        (names, chain.end)
    }

    fn path(&self, name: SegmentName) -> std::path::PathBuf {
        self.directory
            .path()
            .join("box")
            .join(SCRATCH)
            .join(name.to_string())
    }
}

fn object(number: u64) -> SegmentObject {
    SegmentObject {
        number,
        offset: (number - 1) * 100,
        length: 100,
        compression: Compression::Zstd,
        stored_bytes: 50,
        md5: [u8::try_from(number).unwrap(); 16],
    }
}

/// Segment `sequence` of 100 bytes with one object.
fn segment(sequence: u64, generation: u64, previous: Digest) -> Segment {
    Segment {
        generation,
        sequence,
        start: sequence * 100,
        end: sequence * 100 + 100,
        previous,
        objects: vec![object(sequence + 1)],
        digests: vec![[7; 32]; 3],
    }
}

#[test]
fn the_chain_ends_where_a_segment_is_missing_or_damaged() {
    let scratch = scratch();
    assert_eq!(scratch.chain(), (vec![], 0));
    let mut sums = vec![NO_PREDECESSOR];
    for sequence in 0..4 {
        let previous = *sums.last().unwrap();
        sums.push(scratch.seal(&segment(sequence, 1, previous)));
    }
    let whole = longest_chain(&scratch.store, &scratch.container, SCRATCH).unwrap();
    assert_eq!(
        (whole.segments.len(), whole.end, whole.objects),
        (4, 400, 4)
    );
    assert_eq!(whole.last, sums[4]);

    let third = scratch.path(SegmentName {
        sequence: 2,
        generation: 1,
    });
    let bytes = std::fs::read(&third).unwrap();
    std::fs::write(&third, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(scratch.chain(), (vec![(0, 1), (1, 1)], 200));
    std::fs::remove_file(&third).unwrap();
    assert_eq!(scratch.chain(), (vec![(0, 1), (1, 1)], 200));
    std::fs::write(&third, bytes).unwrap();
    assert_eq!(scratch.chain().1, 400);
}

#[test]
fn of_two_executions_the_one_that_came_further_counts() {
    let scratch = scratch();
    let first = scratch.seal(&segment(0, 1, NO_PREDECESSOR));
    let mut stale = segment(1, 1, first);
    stale.digests = vec![[1; 32]];
    let stale = scratch.seal(&stale);
    let fresh = scratch.seal(&segment(1, 2, first));
    assert_eq!(scratch.chain(), (vec![(0, 1), (1, 2)], 200));
    scratch.seal(&segment(2, 2, fresh));
    assert_eq!(scratch.chain(), (vec![(0, 1), (1, 2), (2, 2)], 300));
    let stale = scratch.seal(&segment(2, 1, stale));
    scratch.seal(&segment(3, 1, stale));
    assert_eq!(scratch.chain(), (vec![(0, 1), (1, 1), (2, 1), (3, 1)], 400));
}

#[test]
fn only_what_truly_continues_the_chain_is_in_it() {
    let scratch = scratch();
    let first = scratch.seal(&segment(0, 1, NO_PREDECESSOR));
    let mut gap = segment(1, 1, first);
    gap.start += 1;
    let mut hole = segment(1, 2, first);
    hole.objects = vec![object(3)];
    let foreign = segment(1, 3, [9; 32]);
    for stranger in [gap, hole, foreign] {
        scratch.seal(&stranger);
        assert_eq!(scratch.chain(), (vec![(0, 1)], 100));
    }
    // Nothing changed there: a segment without objects.
    let mut empty = segment(1, 4, first);
    empty.objects.clear();
    scratch.seal(&empty);
    assert_eq!(scratch.chain(), (vec![(0, 1), (1, 4)], 200));
    // A segment under another's name is a stranger too.
    let name = |generation| {
        scratch.path(SegmentName {
            sequence: 1,
            generation,
        })
    };
    std::fs::rename(name(4), name(5)).unwrap();
    assert_eq!(scratch.chain(), (vec![(0, 1)], 100));
}

#[test]
fn names_that_are_no_segments_are_passed_over() {
    for name in [
        "put-1",
        "segment-1-g1",
        "segment-00000001-g01",
        "segment--1-g1",
        "segment-00000001-g",
    ] {
        assert_eq!(SegmentName::parse(name), None, "{name}");
    }
    let name = SegmentName {
        sequence: 123_456_789,
        generation: 3,
    };
    assert_eq!(SegmentName::parse(&name.to_string()), Some(name));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_segment_survives_and_any_change_of_it_is_found(
        (generation, sequence, start, length) in any::<(u64, u64, u32, u32)>(),
        previous in any::<Digest>(),
        objects in proptest::collection::vec(any::<(u64, u64, u32, u32, [u8; 16])>(), 0..5),
        digests in proptest::collection::vec(any::<Digest>(), 0..9),
        (at, flip) in (any::<prop::sample::Index>(), 1..=255_u8),
    ) {
        let segment = Segment {
            generation,
            sequence,
            start: start.into(),
            end: u64::from(start) + u64::from(length),
            previous,
            objects: objects.into_iter().zip(Compression::ALL).map(
                |((number, offset, length, stored_bytes, md5), compression)| SegmentObject {
                    number, offset, length, compression, stored_bytes, md5,
                },
            ).collect(),
            digests,
        };
        let mut bytes = Vec::new();
        let sum = segment.write(&mut bytes).unwrap();
        let (again, sum_again) = Segment::read(&bytes[..]).unwrap();
        prop_assert_eq!(again, segment);
        prop_assert_eq!(sum_again, sum);

        let at = at.index(bytes.len());
        prop_assert!(Segment::read(&bytes[..at]).is_err());
        bytes[at] ^= flip;
        let error = Segment::read(&bytes[..]).expect_err("flipped");
        prop_assert!(!error.is_transient());
        bytes[at] ^= flip;
        bytes.push(0);
        prop_assert!(Segment::read(&bytes[..]).is_err());
    }
}
