use md5::Md5;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;

/// The paths of this processor. What it lacks is said, so that nobody takes it for tested.
#[expect(clippy::print_stdout, reason = "who runs it may ask what was run")]
fn paths() -> Vec<Path> {
    let paths: Vec<_> = Path::available().collect();
    let names: Vec<_> = paths.iter().map(|path| path.name()).collect();
    let lacking: Vec<_> = Path::lacking().collect();
    println!("tested: {names:?}; NOT tested, this processor lacks them: {lacking:?}");
    paths
}

fn check(path: Path, messages: &[&[u8]]) {
    let mut sums = vec![None; messages.len()];
    sha256(path, messages.iter().copied(), |place, digest| {
        assert!(sums[place].replace(digest).is_none(), "digested once");
    });
    for (message, sum) in messages.iter().zip(sums) {
        let expected: [u8; 32] = Sha256::digest(message).into();
        assert_eq!(sum, Some(expected), "{path:?}, {} bytes", message.len());
    }
    let mut sums = vec![None; messages.len()];
    md5(path, messages.iter().copied(), |place, digest| {
        assert!(sums[place].replace(digest).is_none(), "digested once");
    });
    for (message, sum) in messages.iter().zip(sums) {
        let expected: [u8; 16] = Md5::digest(message).into();
        assert_eq!(sum, Some(expected), "{path:?}, {} bytes", message.len());
    }
}

/// Bytes without a pattern that a mixed-up lane could hide in.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn the_paths_that_are_chosen_are_there() {
    let paths = paths();
    assert!(paths.contains(&Path::for_sha256()) && paths.contains(&Path::for_md5()));
    assert!(paths.contains(&Path::ONE_BY_ONE));
}

#[test]
fn the_published_test_vectors_hold_on_every_path() {
    let million = vec![b'a'; 1_000_000];
    // FIPS 180-4 examples and RFC 1321, A.5.
    let vectors: [(&[u8], &str, &str); 3] = [
        (
            b"abc",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "900150983cd24fb0d6963f7d28e17f72",
        ),
        (
            b"",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "d41d8cd98f00b204e9800998ecf8427e",
        ),
        (
            &million,
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
            "7707d6ae4e027c70eea2a935c2296f21",
        ),
    ];
    for path in paths() {
        for (message, sha, md) in vectors {
            sha256(path, std::iter::repeat_n(message, 16), |_, digest| {
                assert_eq!(hex::encode(digest), sha, "{path:?}");
            });
            md5(path, std::iter::repeat_n(message, 16), |_, digest| {
                assert_eq!(hex::encode(digest), md, "{path:?}");
            });
        }
    }
}

#[test]
fn every_short_length_is_digested_on_every_path() {
    let bytes = noise(4096);
    for path in paths() {
        for length in 0..=300 {
            // Different bytes on every lane, which must not get mixed up.
            let same: Vec<_> = (0..32).map(|n| &bytes[n * 64..n * 64 + length]).collect();
            check(path, &same);
        }
        let all: Vec<_> = (0..=300).map(|length| &bytes[length..2 * length]).collect();
        check(path, &all);
        let falling: Vec<_> = all.iter().rev().copied().collect();
        check(path, &falling);
    }
}

#[test]
fn lengths_around_blocks_are_digested_on_every_path() {
    let bytes = noise(34 * 33_000);
    for path in paths() {
        for length in [511, 512, 513, 4095, 4096, 4097, 32_767, 32_768, 32_769] {
            let blocks: Vec<_> = bytes.chunks(length).take(34).collect();
            check(path, &blocks);
        }
    }
}

#[test]
fn any_count_of_messages_is_digested_on_every_path() {
    let bytes = noise(64 * 200);
    for path in paths() {
        for count in 0..=40 {
            let messages: Vec<_> = bytes.chunks(200).take(count).collect();
            check(path, &messages);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_messages_are_digested_on_every_path(
        lengths in proptest::collection::vec(prop_oneof![0..200_usize, 0..9000_usize], 0..50),
        start in 0..64_usize,
    ) {
        let bytes = noise(lengths.iter().sum::<usize>() + start);
        let mut rest = &bytes[start..];
        let messages: Vec<_> = lengths
            .iter()
            .map(|length| rest.split_off(..*length).expect("they were counted"))
            .collect();
        for path in Path::available() {
            check(path, &messages);
        }
    }
}
