//! The one oracle: what must be true after every strike.
//!
//! * every accepted request came to the end it should have, without a human
//! * every available backup restores byte for byte
//! * nothing is left: see `TestStack::assert_nothing_left_behind`
//! * between two looks a status moved only along the drawn arrows: `Api` checks that at each look

use common::domain::{BackupStatus, VolumeId, VolumeStatus};
use harness::volume;

use crate::points::Deed;
use crate::scene::{Begun, Kept, Scene};

impl Scene {
    /// Waits for a deed's end and checks all of it; then removes what the case made. It may take its time.
    pub(crate) async fn comes_true(&self, begun: &Begun) {
        let mut made: Vec<VolumeId> = begun.target.into_iter().collect();
        self.ends_well(begun).await;
        for kept in &begun.prepared.kept {
            made.push(self.restores(kept).await);
        }
        self.stack.assert_nothing_left_behind().await;
        self.clear(begun, made).await;
    }

    /// Waits for a deed's own end.
    pub(crate) async fn ends_well(&self, begun: &Begun) {
        let api = self.stack.api();
        let source = begun.prepared.source.id;
        match begun.deed {
            Deed::Backup | Deed::Incremental | Deed::Restart | Deed::Release => {
                api.until_backup(begun.backup, BackupStatus::Available)
                    .await;
            }
            Deed::Cancel => {
                let backup = api.until_backup(begun.backup, BackupStatus::Error).await;
                let reason = backup.fail_reason.as_deref();
                assert_eq!(reason, Some("Cancelled by its owner."));
            }
            Deed::Restore => {
                let target = begun.target.expect("a restore has a target");
                api.until_volume(target, VolumeStatus::Available).await;
                api.until_backup(begun.backup, BackupStatus::Available)
                    .await;
                let bytes = &begun.prepared.kept[0].bytes;
                volume::assert_holds(&self.stack.file_of(target), bytes);
            }
            Deed::Delete => api.until_gone(begun.backup).await,
        }
        api.until_volume(source, VolumeStatus::Available).await;
        let file = self.stack.volumes().join(&begun.prepared.source.name);
        volume::assert_holds(&file, &begun.prepared.source.bytes);
    }

    /// Restores a backup and compares; the volume it is in.
    pub(crate) async fn restores(&self, kept: &Kept) -> VolumeId {
        let restored = self.stack.api().bring_back(kept.id).await;
        volume::assert_holds(&self.stack.file_of(restored), &kept.bytes);
        restored
    }

    /// Removes what a case made, newest first.
    pub(crate) async fn clear(&self, begun: &Begun, made: Vec<VolumeId>) {
        let api = self.stack.api();
        if begun.deed == Deed::Cancel {
            api.delete_backup(begun.backup).await;
            api.until_gone(begun.backup).await;
        }
        for kept in begun.prepared.kept.iter().rev() {
            api.delete_backup(kept.id).await;
            api.until_gone(kept.id).await;
        }
        for volume in made.into_iter().chain([begun.prepared.source.id]) {
            api.delete_volume(volume).await;
        }
    }
}
