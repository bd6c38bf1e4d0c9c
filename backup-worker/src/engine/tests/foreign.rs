//! Backups as others may write them: minimal, in any order, over each other, with gaps.

use common::domain::Compression;
use common::messages::sheet::StoredBackup;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::engine::testing::{MemoryTarget, Shape, TestMonitor, World, noise, stored};
use crate::engine::{EngineError, Restored, TargetHolds};
use crate::format::codec::Encoder;

/// A backup put together by hand.
struct Foreign {
    world: World,
    backup: StoredBackup,
    objects: Vec<Value>,
}

impl Foreign {
    fn new() -> Self {
        let world = World::new();
        let backup = stored(&world.sheet(None, Shape::small(Compression::None)));
        Self {
            world,
            backup,
            objects: Vec::new(),
        }
    }

    /// Adds an object with only what Cinder needs.
    fn object(&mut self, name: &str, offset: u64, plain: &[u8], compression: Compression) {
        let mut encoder = Encoder::new();
        let encoded = encoder.encode(compression, plain).unwrap();
        let name = format!("{}{name}", self.backup.prefix);
        self.objects.push(json!({&name: {
            "offset": offset,
            "compression": encoded.compression.as_str().to_uppercase(),
        }}));
        let container = self.backup.container.as_str();
        self.world
            .store
            .put(container, &name, encoded.bytes.to_vec());
    }

    fn file(&self, name: &str, content: &Value) {
        self.world.store.put(
            self.backup.container.as_str(),
            &format!("{}_{name}", self.backup.prefix),
            content.to_string().into_bytes(),
        );
    }

    fn digests(&self, blocks: &[&[u8]]) {
        let digests: Vec<_> = blocks
            .iter()
            .map(|block| hex::encode(Sha256::digest(block)))
            .collect();
        self.file(
            "sha256file",
            &json!({"sha256s": digests, "chunk_size": 512, "version": "1.0.0"}),
        );
    }

    fn restore(&self, size: usize) -> (Result<Restored, EngineError>, Vec<u8>) {
        self.file(
            "metadata",
            &json!({"objects": self.objects, "version": "1.0.0"}),
        );
        let target = MemoryTarget::filled(size, 0xff);
        let chain = [self.backup.clone()];
        let outcome = self.world.restore_from(
            &chain,
            &target,
            TargetHolds::Anything,
            0,
            &TestMonitor::new(),
        );
        (outcome, target.bytes())
    }
}

#[test]
fn a_minimal_backup_is_restored_with_warnings_and_its_gaps_keep_what_was_there() {
    for compression in [
        Compression::None,
        Compression::Zlib,
        Compression::Zstd,
        Compression::Bz2,
    ] {
        let mut foreign = Foreign::new();
        foreign.object("-00002", 3001, &[7; 1500], compression);
        foreign.object("x", 0, &noise(1, 700), compression);
        let (outcome, bytes) = foreign.restore(5000);
        assert_eq!(outcome.unwrap().warnings.len(), 2);
        let mut wanted = vec![0xff; 5000];
        wanted[3001..4501].fill(7);
        wanted[..700].copy_from_slice(&noise(1, 700));
        assert!(bytes == wanted);
    }
}

#[test]
fn where_objects_lie_over_each_other_the_later_in_the_list_wins() {
    let mut foreign = Foreign::new();
    foreign.object("-1", 100, &[1; 3000], Compression::Zlib);
    foreign.object("-2", 50, &[2; 500], Compression::Zlib);
    foreign.object("-3", 2000, &[3; 10], Compression::None);
    foreign.object("-4", 0, &[4; 120], Compression::None);
    let (outcome, bytes) = foreign.restore(3100);
    outcome.unwrap();
    let mut wanted = vec![0; 3100];
    wanted[100..3100].fill(1);
    wanted[50..550].fill(2);
    wanted[2000..2010].fill(3);
    wanted[..120].fill(4);
    assert!(bytes == wanted);
}

#[test]
fn a_gap_is_zeros_if_its_digest_says_so_and_damage_if_not() {
    let data = noise(1, 512);
    let zeros = [0; 512];
    let mut foreign = Foreign::new();
    foreign.object("-00001", 512, &data, Compression::None);
    foreign.digests(&[&zeros, &data, &zeros]);
    let (outcome, bytes) = foreign.restore(1536);
    assert_eq!(outcome.unwrap().warnings, Vec::<String>::new());
    assert_eq!(bytes, [&zeros[..], &data, &zeros].concat());

    foreign.digests(&[&data, &data, &zeros]);
    let (outcome, bytes) = foreign.restore(1536);
    let Err(EngineError::Damaged(damage)) = outcome else {
        panic!("damage was not found");
    };
    assert_eq!(damage.extents[0].object, foreign.backup.prefix.sha256file());
    assert_eq!(
        (damage.extents[0].offset, damage.extents[0].length),
        (0, 512)
    );
    assert_eq!(bytes[..512], [0xff; 512]);
}

#[test]
fn what_leads_out_of_the_prefix_or_out_of_all_bounds_is_refused() {
    for (name, offset) in [
        ("/../../x", 0),
        ("-00001", u64::MAX - 5),
        ("-00001", 2 << 30),
    ] {
        let mut foreign = Foreign::new();
        foreign.object(name, offset, &[1; 100], Compression::None);
        if offset > 0 {
            let (_, entry) = foreign.objects[0]
                .as_object_mut()
                .unwrap()
                .iter_mut()
                .next()
                .unwrap();
            entry["length"] = json!(100);
        }
        let (outcome, bytes) = foreign.restore(5000);
        let error = outcome.unwrap_err();
        assert!(
            matches!(error, EngineError::File { .. } | EngineError::Chain { .. }),
            "{error}"
        );
        assert!(!error.is_transient());
        assert_eq!(bytes, vec![0xff; 5000]);
    }
}

#[test]
fn an_object_that_gives_more_than_its_length_is_damage_and_is_not_inflated() {
    let mut foreign = Foreign::new();
    foreign.object("-00001", 0, &vec![0; 1 << 20], Compression::Zlib);
    let (_, entry) = foreign.objects[0]
        .as_object_mut()
        .unwrap()
        .iter_mut()
        .next()
        .unwrap();
    entry["length"] = json!(1000);
    let (outcome, bytes) = foreign.restore(5000);
    assert!(matches!(outcome, Err(EngineError::Damaged(_))));
    assert_eq!(bytes, vec![0xff; 5000]);
}
