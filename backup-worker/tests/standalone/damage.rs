//! Stored bytes that are not what was stored are found, and named.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

use backup_worker::engine::Throttle;
use backup_worker::format::codec::{Length, Trailing, decode};
use backup_worker::standalone::{Chosen, Finding, Repository, Verified, Watch, verify};
use common::domain::Compression;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;

use crate::scene::{Scene, text, volume_like};

const BLOCK: usize = 32 << 10;

/// A chain of three, with objects of two blocks.
struct Chain {
    scene: Scene,
    /// Newest last, with the bytes of its volume.
    backups: Vec<(String, Vec<u8>)>,
}

impl Chain {
    fn new(algorithm: &str) -> Self {
        let scene = Scene::new();
        let mut bytes = volume_like(7, 9 * BLOCK + 1234);
        let mut backups: Vec<(String, Vec<u8>)> = Vec::new();
        for step in 0..3 {
            let mut form = vec!["--compression", algorithm, "--object-size", "64KiB"];
            if let Some((parent, _)) = backups.last() {
                form.extend(["--parent", parent]);
            }
            let id = scene.backup(&bytes, &form);
            backups.push((id, bytes.clone()));
            let at = (2 * step + 1) * BLOCK + 100;
            bytes[at..at + BLOCK].copy_from_slice(&volume_like(20 + step as u64, BLOCK));
            bytes[at + BLOCK..at + BLOCK + 5000].fill(0);
        }
        Self { scene, backups }
    }

    fn verify(&self) -> Verified {
        let repository = Repository::open(&self.scene.tree()).unwrap();
        verify(
            &repository,
            None,
            None,
            &Throttle::default(),
            &Watch::silent(),
        )
        .unwrap()
    }

    /// Restores as simply as can be, checking nothing; what differs from what was backed up, per backup.
    /// `Err` when it cannot be restored at all.
    fn first_wrong_bytes(&self) -> Vec<Result<Option<usize>, String>> {
        let naive = Naive::read(&self.scene);
        let backups = self.backups.iter();
        backups
            .map(|(id, wanted)| {
                let got = naive.restore(id, 0)?;
                let same = |(got, wanted): (&u16, &u8)| *got == u16::from(*wanted);
                let differs = got.iter().zip(wanted).position(|pair| !same(pair));
                let longer = (got.len() != wanted.len()).then(|| got.len().min(wanted.len()));
                Ok(differs.or(longer))
            })
            .collect()
    }
}

/// A reader with nothing of ours but the decoders.
struct Naive(BTreeMap<String, Vec<u8>>);

impl Naive {
    fn read(scene: &Scene) -> Self {
        let files = scene.files().into_iter();
        let named = |path: PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(path).unwrap())
        };
        Self(files.map(named).collect())
    }

    fn restore(&self, id: &str, depth: usize) -> Result<Vec<u16>, String> {
        let end = format!("_backup_{id}_metadata");
        let file = self.0.iter().find(|(name, _)| name.ends_with(&end));
        let (_, file) = file.ok_or("no metadata")?;
        let metadata: Value = serde_json::from_slice(file).map_err(|error| error.to_string())?;
        let mut volume = match metadata["parent_id"].as_str() {
            Some(_) if depth > 5 => return Err("a circle".to_owned()),
            Some(parent) => self.restore(parent, depth + 1)?,
            None => Vec::new(),
        };
        for element in metadata["objects"].as_array().ok_or("no objects")? {
            let one = element.as_object().and_then(|one| one.iter().next());
            let (name, at) = one.ok_or("no object")?;
            let compression: Compression = at["compression"]
                .as_str()
                .and_then(|name| name.parse().ok())
                .ok_or("no algorithm")?;
            let length = Length::AtMost(1 << 20);
            let mut plain = Vec::new();
            let stored = self.0.get(name).ok_or(());
            let read = stored.and_then(|stored| {
                decode(compression, &stored[..], length, Trailing::AsCinder)
                    .and_then(|mut decoder| decoder.read_to_end(&mut plain))
                    .map_err(drop)
            });
            let bytes: Vec<u16> = match read {
                Ok(_) => plain.into_iter().map(u16::from).collect(),
                Err(()) => vec![LOST; usize::try_from(at["length"].as_u64().unwrap()).unwrap()],
            };
            let offset = at["offset"].as_u64().ok_or("no offset")?;
            let offset = usize::try_from(offset).unwrap();
            let end = offset.checked_add(bytes.len());
            let end = end
                .filter(|end| *end < 1 << 30)
                .ok_or("out of all bounds")?;
            volume.resize(volume.len().max(end), 0);
            volume[offset..end].copy_from_slice(&bytes);
        }
        Ok(volume)
    }
}

/// Stands for a byte that could not be had.
const LOST: u16 = 0x100;

/// Damages some bytes and says how.
fn damage(bytes: &mut Vec<u8>, random: &mut StdRng) -> &'static str {
    if bytes.is_empty() {
        bytes.push(0);
        return "grown";
    }
    match random.random_range(0..6) {
        0 => {
            bytes.truncate(random.random_range(0..bytes.len()));
            "cut"
        }
        1 => {
            let count = random.random_range(1..2000);
            bytes.extend((0..count).map(|_| random.random::<u8>()));
            "grown"
        }
        2 => {
            let at = random.random_range(0..bytes.len());
            let end = bytes.len().min(at + random.random_range(1..600));
            bytes[at..end].fill(0);
            "zeroed"
        }
        _ => {
            let at = random.random_range(0..bytes.len());
            bytes[at] ^= 1 << random.random_range(0..8);
            "flipped"
        }
    }
}

fn covers(finding: &Finding, at: usize) -> bool {
    let at = at as u64;
    let end = finding
        .length
        .map_or(u64::MAX, |length| finding.offset + length);
    (finding.offset..end).contains(&at)
}

#[test]
fn each_of_a_thousand_damages_that_would_change_a_restored_byte_is_found_and_named() {
    let chains = ["lz4", "zstd", "zlib", "bz2", "none"].map(Chain::new);
    let (mut found, mut seed) = (0, 0);
    while found < 1000 {
        seed += 1;
        assert!(seed < 5000, "only {found} damages would change a byte");
        let mut random = StdRng::seed_from_u64(seed);
        let chain = &chains[random.random_range(0..chains.len())];
        let mut files = chain.scene.files();
        if random.random_range(0..5) > 0 {
            files.retain(|file| !text(file).ends_with("_metadata")); // those are many bytes of few files
            files.retain(|file| !text(file).ends_with("_sha256file"));
        }
        let file = &files[random.random_range(0..files.len())];
        let before = std::fs::read(file).unwrap();
        let mut bytes = before.clone();
        let how = damage(&mut bytes, &mut random);
        std::fs::write(file, bytes).unwrap();
        let about = format!("seed {seed}, {how} {}", file.display());

        let verified = chain.verify();
        assert!(
            verified.unchecked.is_empty(),
            "{about}: {:?}",
            verified.unchecked
        );
        let wrong = chain.first_wrong_bytes();
        if wrong.iter().any(|wrong| *wrong != Ok(None)) {
            found += 1;
            let name = file.file_name().unwrap().to_str().unwrap();
            let named = |finding: &&Finding| {
                name.contains(&format!("_backup_{}", finding.backup_id))
                    && finding.object.as_ref().is_some_and(|object| object == name)
            };
            let findings = &verified.found.findings;
            let all_named = findings.iter().all(|finding| finding.object.is_some());
            assert!(all_named, "{about}: no object is named in {findings:?}");
            let is_data = !name.ends_with("_metadata") && !name.ends_with("_sha256file");
            for ((id, _), wrong) in chain.backups.iter().zip(&wrong) {
                if *wrong == Ok(None) {
                    continue;
                }
                let told = verified
                    .damaged
                    .iter()
                    .any(|damaged| damaged.to_string() == *id);
                assert!(told, "{about}: backup {id} is not said to be damaged");
                // Damage of the table itself puts good objects in wrong places: those are named.
                let at = findings.iter().filter(|finding| !is_data || named(finding));
                let mut at = at.peekable();
                assert!(at.peek().is_some(), "{about}: not named in {findings:?}");
                // The simple reader lets what an object has too much run over into its neighbour.
                if let Ok(Some(wrong)) = wrong
                    && how != "grown"
                {
                    let covered = at.any(|finding| covers(finding, *wrong));
                    assert!(covered, "{about}: byte {wrong} is not in {findings:?}");
                }
            }
        }
        std::fs::write(file, before).unwrap();
    }
    for chain in &chains {
        let verified = chain.verify();
        assert!(verified.damaged.is_empty() && verified.found.findings.is_empty());
        assert_eq!(verified.backups.len(), 3);
    }
}

#[test]
fn damage_is_told_to_the_shell_by_backup_object_offset_and_length() {
    let chain = Chain::new("none");
    let scene = &chain.scene;
    let (full, wanted) = (&chain.backups[0].0, &chain.backups[2].0);
    let object = scene.file_of(&[full, "-00004"]);
    let mut bytes = std::fs::read(&object).unwrap();
    bytes[BLOCK + 5] ^= 4;
    std::fs::write(&object, &bytes).unwrap();

    let (out, _) = scene.run("verify", &[]).code(3);
    let name = object.file_name().unwrap().to_str().unwrap();
    let line = format!(
        "backup {full}, object {name}, volume offset {}, length {BLOCK}:",
        7 * BLOCK
    );
    assert!(out.contains(&line), "{out}");

    let report = scene.run("verify", &["--backup", wanted, "--json"]).json(3);
    let finding = &report["findings"][0];
    assert_eq!(finding["backup_id"], full.as_str());
    assert_eq!(finding["object"], name);
    assert_eq!(finding["offset"], 7 * BLOCK);
    assert_eq!(finding["length"], BLOCK);

    // The rest is restored, and what is not is named.
    let output = scene.path("restored");
    let arguments = [
        "--backup",
        wanted.as_str(),
        "--output",
        text(&output),
        "--json",
    ];
    let report = scene.run("restore", &arguments).json(3);
    assert_eq!(report["findings"][0]["offset"], 7 * BLOCK);
    let restored = std::fs::read(&output).unwrap();
    let volume = &chain.backups[2].1;
    assert!(restored[..7 * BLOCK] == volume[..7 * BLOCK]);
    assert!(restored[8 * BLOCK..] == volume[8 * BLOCK..]);
}

#[test]
fn objects_that_a_newer_backup_covers_are_verified_too() {
    let scene = Scene::new();
    let full = scene.backup(&volume_like(1, 2 * BLOCK), &["--object-size", "32KiB"]);
    let parent = ["--object-size", "32KiB", "--parent", &full];
    let newer = scene.backup(&volume_like(2, 2 * BLOCK), &parent);
    let object = scene.file_of(&[&full, "-00002"]);
    std::fs::write(&object, b"gone").unwrap();
    let report = scene.run("verify", &["--backup", &newer, "--json"]).json(3);
    assert_eq!(report["damaged"], serde_json::json!([full]));
    scene.assert_restores(&newer, &volume_like(2, 2 * BLOCK));
}

#[test]
fn a_sample_reads_a_share_and_says_the_seed_that_chooses_it_again() {
    let scene = Scene::new();
    let bytes = volume_like(1, 40 << 20);
    let id = scene.backup(&bytes, &["--object-size", "1MiB"]);
    let sample = |more: &[&str]| {
        let arguments = [&["--backup", &id, "--sample", "30%", "--json"], more].concat();
        scene.run("verify", &arguments).json(0)
    };
    let first = sample(&[]);
    let seed = first["sample"]["seed"].to_string();
    let again = sample(&["--seed", &seed]);
    assert_eq!(first["read_bytes"], again["read_bytes"]);
    assert!(first["read_bytes"].as_u64().unwrap() < 40 << 20);
    let (out, _) = scene.run("verify", &["--sample", "50%"]).code(0);
    assert!(out.contains("50% was read; seed "), "{out}");

    let repository = Repository::open(&scene.tree()).unwrap();
    let mut read = 0;
    for seed in 0..50 {
        let chosen = Chosen { share: 0.3, seed };
        let unlimited = Throttle::default();
        let verified = verify(
            &repository,
            None,
            Some(chosen),
            &unlimited,
            &Watch::silent(),
        )
        .unwrap();
        read += verified.read_bytes;
    }
    let share = read as f64 / (50.0 * bytes.len() as f64);
    assert!((0.25..0.35).contains(&share), "{share}");
}
