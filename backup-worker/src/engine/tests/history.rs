//! Any history of writes, trims, backups, restores and deletes gives what a model in memory has.

use common::domain::Compression;
use common::messages::sheet::BackupSheet;
use proptest::prelude::*;

use crate::engine::testing::{MemoryTarget, MemoryVolume, Shape, World, noise, text};

#[derive(Debug, Clone)]
enum Step {
    Write {
        at: usize,
        length: usize,
        seed: u64,
        plain: bool,
    },
    Zero {
        at: usize,
        length: usize,
    },
    Trim {
        at: usize,
        length: usize,
    },
    Resize {
        size: usize,
    },
    /// Of nothing, or of the backup with that number, modulo how many there are.
    Backup {
        parent: Option<usize>,
        compression: usize,
        object_blocks: u32,
    },
    Restore {
        backup: usize,
        is_new: bool,
    },
    DeleteLeaf {
        backup: usize,
    },
}

/// Most bytes of a volume in a history.
const SIZE_MAX: usize = 40_000;

fn step() -> impl Strategy<Value = Step> {
    let place = || (0..SIZE_MAX, 0..9_000_usize);
    prop_oneof![
        4 => (place(), any::<u64>(), any::<bool>())
            .prop_map(|((at, length), seed, plain)| Step::Write { at, length, seed, plain }),
        1 => place().prop_map(|(at, length)| Step::Zero { at, length }),
        2 => place().prop_map(|(at, length)| Step::Trim { at, length }),
        1 => (0..SIZE_MAX).prop_map(|size| Step::Resize { size }),
        4 => (prop::option::weighted(0.8, 0..100_usize), 0..5_usize, 1..9_u32)
            .prop_map(|(parent, compression, object_blocks)| Step::Backup { parent, compression, object_blocks }),
        3 => (0..100_usize, any::<bool>()).prop_map(|(backup, is_new)| Step::Restore { backup, is_new }),
        1 => (0..100_usize).prop_map(|backup| Step::DeleteLeaf { backup }),
    ]
}

/// A backup, and what the volume held.
struct Kept {
    sheet: BackupSheet,
    parent: Option<usize>,
    bytes: Vec<u8>,
    deleted: bool,
}

struct History {
    world: World,
    block_size: u32,
    volume: MemoryVolume,
    kept: Vec<Kept>,
}

impl History {
    /// The number of a backup that is there.
    fn pick(&self, number: usize) -> Option<usize> {
        let there: Vec<_> = (0..self.kept.len())
            .filter(|n| !self.kept[*n].deleted)
            .collect();
        (!there.is_empty()).then(|| there[number % there.len()])
    }

    fn chain(&self, number: usize) -> Vec<&BackupSheet> {
        let mut chain = Vec::new();
        let mut next = Some(number);
        while let Some(number) = next {
            chain.push(&self.kept[number].sheet);
            next = self.kept[number].parent;
        }
        chain
    }

    /// A run inside the volume.
    fn clip(&self, at: usize, length: usize) -> (usize, usize) {
        let size = self.volume.bytes().len();
        let at = at.min(size);
        (at, length.min(size - at))
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Write {
                at,
                length,
                seed,
                plain,
            } => {
                let (at, length) = self.clip(at, length);
                let data = if plain {
                    noise(seed, length)
                } else {
                    text(seed, length)
                };
                self.volume.write(at, &data);
            }
            Step::Zero { at, length } => {
                let (at, length) = self.clip(at, length);
                self.volume.write(at, &vec![0; length]);
            }
            Step::Trim { at, length } => {
                let (at, length) = self.clip(at, length);
                self.volume.trim(at, length);
            }
            Step::Resize { size } => self.volume.resize(size),
            Step::Backup {
                parent,
                compression,
                object_blocks,
            } => {
                let parent = parent.and_then(|number| self.pick(number));
                let shape = Shape {
                    compression: Compression::ALL[compression],
                    object_size: object_blocks * self.block_size,
                    block_size: self.block_size,
                };
                let parent_sheet = parent.map(|number| &self.kept[number].sheet);
                let sheet = self.world.backup(&self.volume, parent_sheet, shape);
                self.kept.push(Kept {
                    sheet,
                    parent,
                    bytes: self.volume.bytes().to_vec(),
                    deleted: false,
                });
            }
            Step::Restore { backup, is_new } => {
                if let Some(number) = self.pick(backup) {
                    let bytes = &self.kept[number].bytes;
                    let target = MemoryTarget::filled(bytes.len(), if is_new { 0 } else { 0xff });
                    self.world
                        .restore(&self.chain(number), &target, is_new)
                        .unwrap();
                    assert!(
                        target.bytes() == *bytes,
                        "backup {number} comes back changed"
                    );
                }
            }
            Step::DeleteLeaf { backup } => {
                let leaf = self.pick(backup).filter(|number| {
                    !self
                        .kept
                        .iter()
                        .any(|kept| !kept.deleted && kept.parent == Some(*number))
                });
                if let Some(number) = leaf {
                    self.kept[number].deleted = true;
                    let container = self.kept[number].sheet.names.container.as_str().to_owned();
                    for name in self.world.store.names(&container, "") {
                        self.world.store.delete(&container, &name);
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_equals_its_model(
        size in 0..SIZE_MAX,
        block_size in prop::sample::select(vec![512_u32, 4096]),
        threads in 1..4_usize,
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let mut world = World::new();
        world.limits.threads = threads;
        world.limits.restore_threads = threads;
        let mut history = History { world, block_size, volume: MemoryVolume::new(size), kept: Vec::new() };
        for step in steps {
            history.take(step);
        }
        for number in 0..history.kept.len() {
            history.take(Step::Restore { backup: number, is_new: number % 2 == 0 });
        }
    }
}
