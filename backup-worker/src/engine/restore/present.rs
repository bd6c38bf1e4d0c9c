//! Whether all objects of a restore are on the target, found out before an existing volume is written over.

use super::chain::{Chain, NameKey};
use super::merge::Merge;
use crate::engine::{Damage, EngineError};
use crate::store::BackupStore;

/// Checks that every object that will be read is there. Tells how many of them have no MD5.
///
/// Names are compared one by one as the target tells them; what is held is five bytes for each object of a backup.
///
/// # Errors
/// [`EngineError::Damaged`] names those that are missing.
pub(super) fn look_for(
    store: &dyn BackupStore,
    chain: &Chain,
    pieces: Merge<'_>,
) -> Result<u64, EngineError> {
    let objects = chain.objects();
    let mut wanted = vec![false; objects.len()];
    for piece in pieces {
        wanted[piece.object as usize] = true;
    }
    let unchecked = (0..objects.len())
        .filter(|index| wanted[*index] && objects[*index].md5.is_none())
        .count();
    for (backup, range) in chain.by_backup() {
        if !wanted[range.clone()].contains(&true) {
            continue;
        }
        let mut by_name: Vec<u32> = range
            .map(|index| u32::try_from(index).expect("a chain has fewer objects than that"))
            .collect();
        by_name.sort_unstable_by(|one, other| {
            let (one, other) = (*one as usize, *other as usize);
            chain.key(one).cmp(&chain.key(other))
        });
        let key = |index: &u32| chain.key(*index as usize);
        store.for_each_name(&backup.container, backup.prefix.as_str(), &mut |name| {
            let found = NameKey::of(backup, name);
            let from = by_name.partition_point(|index| key(index) < found);
            for index in by_name[from..]
                .iter()
                .take_while(|index| key(index) == found)
            {
                wanted[*index as usize] = false;
            }
        })?;
    }
    let mut damage = Damage::default();
    for index in (0..objects.len()).filter(|index| wanted[*index]) {
        let object = &objects[index];
        let why = "it is not on the backup target".to_owned();
        damage.add(chain.bad(index, object.offset, object.length, why));
    }
    if damage.total > 0 {
        return Err(EngineError::Damaged(damage));
    }
    Ok(unchecked as u64)
}
