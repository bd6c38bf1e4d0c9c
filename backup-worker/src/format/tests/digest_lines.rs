//! Digests taken line by line, beside the same digests taken by the parser.

use std::error::Error as _;
use std::io::{self, Read};

use proptest::prelude::*;
use proptest::sample::Index;

use crate::format::FormatError;
use crate::format::metadata::MetadataHead;
use crate::format::sha256file::{self, Digest, Sha256Head};

fn file(digests: &[Digest]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let head = Sha256Head::beside(&MetadataHead::default(), 512);
    sha256file::write(&mut bytes, &head, &mut digests.iter().copied().map(Ok)).unwrap();
    bytes
}

/// The same with lines that only the parser takes: where JSON is whole, white space says nothing.
fn indented_otherwise(bytes: &[u8]) -> Vec<u8> {
    let text: String = bytes.iter().copied().map(char::from).collect();
    let other = text.replace("\n    \"", "\n\t\"");
    other
        .chars()
        .map(|character| u8::try_from(character).unwrap())
        .collect()
}

/// What comes of an input: all digests, or none where it is refused.
fn read(input: impl Read) -> Option<Vec<Digest>> {
    let mut digests = Vec::new();
    let outcome = sha256file::read(input, &mut |digest| {
        digests.push(digest);
        Ok(())
    });
    outcome.ok().map(|_| digests)
}

/// Gives so few bytes at a time.
struct Bites<'a>(&'a [u8], usize);

impl Read for Bites<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bite = buffer.len().min(self.1);
        self.0.read(&mut buffer[..bite])
    }
}

fn some_digests() -> impl Strategy<Value = Vec<Digest>> {
    proptest::collection::vec(any::<Digest>(), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_file_that_is_damaged_or_cut_anywhere_gives_what_the_parser_alone_would(
        digests in some_digests(),
        at in any::<Index>(),
        byte in prop_oneof![any::<u8>(), proptest::sample::select(&b"\"\n ,]0aF\\"[..])],
        cut in any::<bool>(),
        bite in 1_usize..200,
    ) {
        let mut bytes = file(&digests);
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] = byte;
        }
        let found = read(Bites(&bytes, bite));
        prop_assert_eq!(found, read(&indented_otherwise(&bytes)[..]));
    }

    #[test]
    fn digests_are_the_same_however_few_bytes_come_at_a_time(
        digests in some_digests(),
        bite in 1_usize..200,
    ) {
        prop_assert_eq!(read(Bites(&file(&digests), bite)), Some(digests));
    }
}

#[test]
fn a_list_that_ends_with_a_comma_is_refused() {
    let text = String::from_utf8(file(&[[1; 32], [2; 32]])).unwrap();
    let comma = text.replace("\"\n  ],", "\",\n  ],");
    assert_ne!(comma, text);
    assert_eq!(read(comma.as_bytes()), None);
}

#[test]
fn a_digest_that_is_none_is_named_by_its_number() {
    let digests = vec![[7; 32]; 9000];
    let text = String::from_utf8(file(&digests)).unwrap();
    let (before, after) = text.split_at(text.len() / 2);
    let damaged = format!("{before}{}", after.replacen("07", "0x", 1));
    let error = sha256file::read(damaged.as_bytes(), &mut |_| Ok(())).unwrap_err();
    let why = error.source().unwrap().to_string();
    assert!(why.contains("digest 450"), "{why}");
}

#[test]
fn a_target_that_fails_in_the_middle_of_the_list_is_no_damage() {
    struct Away;
    impl Read for Away {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::HostUnreachable.into())
        }
    }
    let bytes = file(&[[1; 32]; 100]);
    for cut in [10, 1000, 3000, bytes.len() - 10] {
        let error = sha256file::read(bytes[..cut].chain(Away), &mut |_| Ok(())).unwrap_err();
        assert!(
            matches!(&error, FormatError::Io { .. }) && error.is_transient(),
            "cut at {cut}: {error:?}"
        );
    }
}
