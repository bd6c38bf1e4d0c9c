//! Key-value pairs of volumes and snapshots, changed by themselves.

use std::collections::BTreeMap;

use common::domain::{SnapshotId, VolumeId};

use super::{RequestError, Resource, Scope, Store, snapshots, volumes};

/// What is to become of the pairs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataChange {
    /// These are set, the others stay.
    Add(BTreeMap<String, String>),
    /// These are set, the others go.
    Replace(BTreeMap<String, String>),
    /// The one with this key goes.
    Remove(String),
}

impl MetadataChange {
    /// Changes the pairs; the key that was to be removed comes back if there was none.
    fn apply(self, pairs: &mut BTreeMap<String, String>) -> Result<(), String> {
        match self {
            Self::Add(more) => pairs.extend(more),
            Self::Replace(others) => *pairs = others,
            Self::Remove(key) => {
                if pairs.remove(&key).is_none() {
                    return Err(key);
                }
            }
        }
        Ok(())
    }
}

fn no_such_key(what: Resource, id: impl std::fmt::Display, key: String) -> RequestError {
    RequestError::NoMetadata {
        what,
        id: id.to_string(),
        key,
    }
}

impl Store {
    /// Changes a volume's pairs and tells all it has then.
    ///
    /// # Errors
    /// When there is no such volume in the scope, or no such key to remove.
    pub async fn change_volume_metadata(
        &self,
        scope: &Scope,
        id: VolumeId,
        change: MetadataChange,
    ) -> Result<BTreeMap<String, String>, RequestError> {
        let mut tx = self.write().await?;
        let mut row = volumes::find(tx.conn(), scope, id).await?;
        change
            .apply(&mut row.metadata)
            .map_err(|key| no_such_key(Resource::Volume, id, key))?;
        tx.describe_volume(&row).await?;
        tx.commit().await?;
        Ok(row.metadata)
    }

    /// Changes a snapshot's pairs and tells all it has then.
    ///
    /// # Errors
    /// When there is no such snapshot in the scope, or no such key to remove.
    pub async fn change_snapshot_metadata(
        &self,
        scope: &Scope,
        id: SnapshotId,
        change: MetadataChange,
    ) -> Result<BTreeMap<String, String>, RequestError> {
        let mut tx = self.write().await?;
        let mut row = snapshots::find(tx.conn(), scope, id).await?;
        change
            .apply(&mut row.metadata)
            .map_err(|key| no_such_key(Resource::Snapshot, id, key))?;
        tx.describe_snapshot(&row).await?;
        tx.commit().await?;
        Ok(row.metadata)
    }
}
