//! The tests that every driver inherits, on a share of a real server. `cargo xtask test --nfs` gives the shares; anywhere
//! else these print that they were skipped.

use common::config::NfsVersion;

use super::super::*;
use crate::store::BackupStore;
use crate::store::conformance::{Target, inherit_conformance};

/// Set by `cargo xtask test --nfs`: a share of NFS v3, and one of NFS v4.2, a space between.
const SHARES: &str = "EMBERKEEP_TEST_NFS_SHARES";

/// A share that is empty and marked, for one test.
struct Shared {
    store: PosixStore,
}

impl Target for Shared {
    fn store(&self) -> &dyn BackupStore {
        &self.store
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.store.leave();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "what a test needs from outside comes by environment"
)]
fn shares() -> Option<(String, String)> {
    let shares = std::env::var(SHARES).ok()?;
    let (three, four) = shares.split_once(' ').expect("two shares");
    Some((three.to_owned(), four.to_owned()))
}

fn nfs(share: String, version: NfsVersion, hard: bool) -> Nfs {
    Nfs {
        share,
        mount_base: std::env::temp_dir().join("emberkeep-mounts"),
        version,
        hard,
        ..Nfs::default()
    }
}

/// Empties the share, marks it, and gives a store on it.
fn fresh(nfs: &Nfs) -> Shared {
    let share = Share::new(nfs.clone(), System::of_machine());
    drop(share.open_root(false).unwrap());
    for entry in share.shown().read_dir().unwrap().flatten() {
        let path = entry.path();
        let is_directory = entry.file_type().unwrap().is_dir();
        if is_directory {
            std::fs::remove_dir_all(path)
        } else {
            std::fs::remove_file(path)
        }
        .unwrap();
    }
    let id = crate::store::posix::mark(&share.open_root(false).unwrap(), &share.shown()).unwrap();
    let store = store(nfs, Some(id));
    store.check_marker().unwrap();
    share.leave();
    Shared { store }
}

#[expect(clippy::print_stdout, reason = "a test that cannot run says so")]
fn skipped<T>() -> Option<T> {
    println!("SKIPPED: there is no NFS server; `cargo xtask test --nfs` brings one");
    None
}

mod version_3_soft {
    use super::*;

    fn target() -> Option<Shared> {
        let Some((three, _)) = shares() else {
            return skipped();
        };
        Some(fresh(&nfs(three, NfsVersion::V3, false)))
    }
    inherit_conformance!(target);
}

mod version_4_2_hard {
    use super::*;

    fn target() -> Option<Shared> {
        let Some((_, four)) = shares() else {
            return skipped();
        };
        Some(fresh(&nfs(four, NfsVersion::V4_2, true)))
    }
    inherit_conformance!(target);
}

#[test]
fn what_was_mounted_is_unmounted_and_no_mode_is_changed() {
    use std::os::unix::fs::PermissionsExt;

    let Some((_, four)) = shares() else {
        return skipped().unwrap_or_default();
    };
    let nfs = nfs(four, NfsVersion::V4_2, true);
    let share = Share::new(nfs, System::of_machine());
    drop(share.open_root(false).unwrap());
    let point = share.point().unwrap();
    let inside = point.join("another-service");
    std::fs::create_dir_all(&inside).unwrap();
    for path in [&inside, &point] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o1751)).unwrap();
    }
    share.leave();
    assert_eq!(share.mounted(&point).unwrap(), None);

    let again = Share::new(share.nfs.clone(), System::of_machine());
    let root = again.open_root(false).unwrap();
    crate::store::posix::mark(&root, &again.shown()).unwrap();
    drop(root);
    for path in [&inside, &point] {
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o1751, "{}", path.display());
    }
    again.leave();
    assert_eq!(again.mounted(&point).unwrap(), None);
}
