use std::io::{self, Read, Write};

use common::domain::Compression;
use md5::{Digest, Md5};
use proptest::prelude::*;

use super::volume_like;
use crate::format::codec::{DecodeError, Encoder, Length, Trailing, decode, fingerprint};

fn encode(compression: Compression, plain: &[u8]) -> (Compression, Vec<u8>) {
    let mut encoder = Encoder::new();
    let encoded = encoder.encode(compression, plain).unwrap();
    (encoded.compression, encoded.bytes.to_vec())
}

fn decode_all(
    compression: Compression,
    stored: &[u8],
    length: Length,
    trailing: Trailing,
) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    decode(compression, stored, length, trailing)?.read_to_end(&mut plain)?;
    Ok(plain)
}

fn exactly(length: usize) -> Length {
    Length::Exactly(length as u64)
}

/// What the decoder makes of bytes that it must not accept.
fn damage(outcome: io::Result<Vec<u8>>) -> String {
    let error = outcome.expect_err("accepted");
    DecodeError::of(&error)
        .expect("an error of the codec")
        .to_string()
}

fn any_compression() -> impl Strategy<Value = Compression> {
    proptest::sample::select(&Compression::ALL)
}

fn any_extent() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..2000),
        (0..200_000_usize, any::<u64>()).prop_map(|(length, seed)| volume_like(length, seed)),
        (0..700_000_usize).prop_map(|length| vec![0; length]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_through_any_algorithm_come_back_equal(plain in any_extent(), wanted in any_compression()) {
        let (compression, stored) = encode(wanted, &plain);
        prop_assert!(stored.len() < plain.len() || (compression == Compression::None && stored == plain));
        for trailing in [Trailing::Refused, Trailing::AsCinder] {
            for length in [exactly(plain.len()), Length::AtMost(plain.len() as u64 + 7)] {
                let back = decode_all(compression, &stored, length, trailing).unwrap();
                prop_assert!(back == plain);
            }
        }
    }

    #[test]
    fn a_used_encoder_writes_what_a_new_one_writes(
        extents in proptest::collection::vec((any_extent(), any_compression()), 1..6),
    ) {
        let mut used = Encoder::new();
        for (plain, wanted) in extents {
            let (compression, stored) = encode(wanted, &plain);
            let again = used.encode(wanted, &plain).unwrap();
            prop_assert_eq!(again.compression, compression);
            prop_assert!(again.bytes == stored);
        }
    }

    #[test]
    fn a_changed_object_is_found_or_gives_the_same_bytes(
        (seed, at, to) in (any::<u64>(), any::<prop::sample::Index>(), any::<u8>()),
        wanted in any_compression(),
        kind in 0..4_u8,
    ) {
        let plain = volume_like(40_000, seed);
        let md5 = Md5::digest(&plain);
        let (compression, mut stored) = encode(wanted, &plain);
        let at = at.index(stored.len());
        match kind {
            0 => stored[at] = to,
            1 => stored.truncate(at),
            2 => stored.push(to),
            _ => stored.insert(at, to),
        }
        for trailing in [Trailing::Refused, Trailing::AsCinder] {
            // What is given agrees in length; with the MD5 checked, it agrees altogether.
            if let Ok(back) = decode_all(compression, &stored, exactly(plain.len()), trailing) {
                prop_assert_eq!(back.len(), plain.len());
                prop_assert!(back == plain || Md5::digest(&back) != md5);
                prop_assert!(back != plain || kind != 2 || trailing == Trailing::AsCinder);
            }
        }
    }

    #[test]
    fn noise_never_gives_more_than_the_length(
        stored in proptest::collection::vec(any::<u8>(), 0..3000),
        compression in any_compression(),
        bound in 0..2000_u64,
    ) {
        let mut given = 0;
        let mut decoder = decode(compression, &stored[..], Length::AtMost(bound), Trailing::AsCinder).unwrap();
        let mut buffer = [0; 512];
        while let Ok(got) = decoder.read(&mut buffer) {
            given += got as u64;
            prop_assert!(given <= bound);
            if got == 0 {
                break;
            }
        }
    }
}

#[test]
fn a_decompression_bomb_gives_no_more_than_the_length() {
    let zeros = vec![0; 64 << 20];
    for wanted in [
        Compression::Lz4,
        Compression::Zstd,
        Compression::Zlib,
        Compression::Bz2,
    ] {
        let (compression, stored) = encode(wanted, &zeros);
        assert_eq!(compression, wanted);
        let mut decoder =
            decode(compression, &stored[..], exactly(4096), Trailing::Refused).unwrap();
        let mut given = Vec::new();
        let error = decoder.read_to_end(&mut given).unwrap_err();
        assert!(matches!(
            DecodeError::of(&error),
            Some(DecodeError::Longer { bytes: 4096 })
        ));
        assert!(given.len() <= 4096, "{wanted}");
    }
}

#[test]
fn the_last_bytes_are_given_only_after_the_end_was_checked() {
    let plain = volume_like(10_000, 3);
    for wanted in Compression::ALL {
        let (compression, mut stored) = encode(wanted, &plain);
        stored.push(0);
        let mut back = vec![0; plain.len()];
        let mut decoder = decode(
            compression,
            &stored[..],
            exactly(plain.len()),
            Trailing::Refused,
        )
        .unwrap();
        decoder
            .read_exact(&mut back)
            .expect_err("a byte too many, and nobody looked");
    }
}

#[test]
fn every_cut_is_found() {
    let plain = volume_like(3000, 5);
    for wanted in Compression::ALL {
        let (compression, stored) = encode(wanted, &plain);
        for cut in 0..stored.len() {
            let outcome = decode_all(
                compression,
                &stored[..cut],
                exactly(plain.len()),
                Trailing::AsCinder,
            );
            damage(outcome);
        }
    }
}

#[test]
fn joined_streams_are_read_as_cinder_reads_them() {
    let (first, second) = (volume_like(5000, 7), volume_like(6000, 9));
    let whole = [&first[..], &second].concat();
    let joined = |wanted| [encode(wanted, &first).1, encode(wanted, &second).1].concat();
    for wanted in [Compression::Zstd, Compression::Bz2] {
        let stored = joined(wanted);
        let back = decode_all(wanted, &stored, exactly(11_000), Trailing::AsCinder).unwrap();
        assert!(back == whole);
        damage(decode_all(
            wanted,
            &stored,
            exactly(11_000),
            Trailing::Refused,
        ));
        damage(decode_all(
            wanted,
            &stored,
            exactly(5000),
            Trailing::AsCinder,
        ));
    }
    // Of two zlib streams Cinder restores the first alone; a length that says otherwise is believed.
    let stored = joined(Compression::Zlib);
    let back = decode_all(
        Compression::Zlib,
        &stored,
        exactly(5000),
        Trailing::AsCinder,
    )
    .unwrap();
    assert!(back == first);
    damage(decode_all(
        Compression::Zlib,
        &stored,
        exactly(11_000),
        Trailing::AsCinder,
    ));
}

#[test]
fn junk_after_a_stream_is_ignored_where_cinder_ignores_it() {
    let plain = volume_like(5000, 11);
    for (wanted, ignored) in [
        (Compression::Zlib, true),
        (Compression::Bz2, true),
        (Compression::Zstd, false),
        (Compression::Lz4, false),
        (Compression::None, false),
    ] {
        let stored = [encode(wanted, &plain).1, b"junk at the end".to_vec()].concat();
        let lenient = decode_all(wanted, &stored, exactly(5000), Trailing::AsCinder);
        if ignored {
            assert!(lenient.unwrap() == plain, "{wanted}");
        } else {
            damage(lenient);
        }
        damage(decode_all(
            wanted,
            &stored,
            exactly(5000),
            Trailing::Refused,
        ));
    }
}

#[test]
fn frames_that_other_zstandard_writers_make_are_read() {
    let plain = volume_like(300_000, 13);
    let mut unsized_frame = zstd::stream::write::Encoder::new(Vec::new(), 19).unwrap();
    unsized_frame.include_checksum(true).unwrap();
    unsized_frame.long_distance_matching(true).unwrap();
    unsized_frame.window_log(27).unwrap();
    unsized_frame.write_all(&plain).unwrap();
    let frame = unsized_frame.finish().unwrap();
    let skippable = [
        &0x184D_2A50_u32.to_le_bytes()[..],
        &3_u32.to_le_bytes(),
        b"abc",
    ]
    .concat();
    for stored in [
        frame.clone(),
        [&skippable[..], &frame].concat(),
        [&frame[..], &skippable].concat(),
    ] {
        let back = decode_all(
            Compression::Zstd,
            &stored,
            exactly(300_000),
            Trailing::AsCinder,
        );
        assert!(back.unwrap() == plain);
    }
}

#[test]
fn gzip_and_raw_deflate_are_no_zlib_streams() {
    let plain = volume_like(5000, 17);
    let level = flate2::Compression::new(6);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), level);
    gzip.write_all(&plain).unwrap();
    let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), level);
    raw.write_all(&plain).unwrap();
    for stored in [gzip.finish().unwrap(), raw.finish().unwrap()] {
        damage(decode_all(
            Compression::Zlib,
            &stored,
            exactly(5000),
            Trailing::AsCinder,
        ));
    }
}

#[test]
fn streams_begin_as_the_format_says() {
    let plain = volume_like(300_000, 19);
    let begins = |wanted| encode(wanted, &plain).1;
    assert_eq!(begins(Compression::Zlib)[..2], [0x78, 0x9c]);
    assert_eq!(&begins(Compression::Bz2)[..4], b"BZh9");
    let zstd = begins(Compression::Zstd);
    assert_eq!(
        zstd::zstd_safe::get_frame_content_size(&zstd).unwrap(),
        Some(300_000)
    );
    let lz4 = begins(Compression::Lz4);
    assert_eq!(lz4[..4], 0x184D_2204_u32.to_le_bytes());
    assert_eq!(
        lz4[4..6],
        [0b0110_1000, 5 << 4],
        "independent blocks of 256 KiB, content size"
    );
    assert_eq!(lz4[6..14], 300_000_u64.to_le_bytes());
}

#[test]
fn noise_is_stored_plain_and_noise_that_repeats_is_not() {
    let noise: Vec<u8> = digests_of_numbers(300_000);
    for wanted in Compression::ALL {
        let (compression, stored) = encode(wanted, &noise);
        assert_eq!(compression, Compression::None, "{wanted}");
        assert!(stored == noise);
    }
    // Each value of a byte is as frequent as in noise, but all of it is there twice.
    let half = &noise[..30_000];
    let twice = [half, half].concat();
    for wanted in [
        Compression::Lz4,
        Compression::Zstd,
        Compression::Zlib,
        Compression::Bz2,
    ] {
        let (compression, stored) = encode(wanted, &twice);
        assert_eq!(compression, wanted);
        assert!(
            stored.len() < 2 * twice.len() / 3,
            "{wanted}: {}",
            stored.len()
        );
    }
}

fn digests_of_numbers(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 32);
    for number in 0_u64.. {
        if bytes.len() >= length {
            break;
        }
        bytes.extend_from_slice(&sha2::Sha256::digest(number.to_le_bytes()));
    }
    bytes.truncate(length);
    bytes
}

#[test]
fn an_unreadable_target_is_not_taken_for_damage() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("stale handle"))
        }
    }
    let plain = volume_like(100_000, 23);
    for wanted in Compression::ALL {
        let (compression, stored) = encode(wanted, &plain);
        let half = stored[..stored.len() / 2].chain(Broken);
        let mut decoder =
            decode(compression, half, exactly(plain.len()), Trailing::Refused).unwrap();
        let error = decoder.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(DecodeError::of(&error).is_none(), "{wanted}: {error}");
        assert_eq!(error.to_string(), "stale handle");
    }
}

#[test]
fn the_fingerprint_names_the_codecs_that_are_linked() {
    let lock = include_str!("../../../../Cargo.lock");
    let fingerprint = fingerprint();
    for name in ["lz4_flex", "zstd-sys", "libdeflate-sys", "libbz2-rs-sys"] {
        let (_, rest) = lock
            .split_once(&format!("name = \"{name}\"\nversion = \""))
            .unwrap();
        let version = rest.split('"').next().unwrap();
        assert!(
            fingerprint.contains(&format!("{name} {version}")),
            "{name} {version}: {fingerprint}"
        );
    }
}
