//! The share without a server: a machine of files says what is mounted. With one: `real`.

mod real;

use std::path::Path;
use std::time::Duration;

use rustix::mount::UnmountFlags;

use super::*;
use crate::store::BackupStore;

const SHARE: &str = "backup-host:/srv/backups";

/// A machine with nothing mounted, in a directory: `mountinfo`, `asked` (of `mount`), `unmounted`, `mounts/`.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let machine = Self(directory);
        // Nothing is mounted for real, so every root lies on the mount that the directory lies on.
        let root = Root::open(machine.0.path(), false).unwrap();
        let id = root.mount_id().unwrap();
        machine.write("mount-id", &id.to_string());
        machine.write("mountinfo", "");
        machine
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.path().join(name)).unwrap_or_default()
    }

    fn lines(&self, name: &str) -> usize {
        self.read(name).lines().count()
    }

    fn nfs(&self) -> Nfs {
        Nfs {
            share: SHARE.to_owned(),
            mount_base: self.0.path().join("mounts"),
            mount_timeout: Duration::from_secs(20),
            ..Nfs::default()
        }
    }

    fn share_of(&self, nfs: Nfs) -> Share {
        let system = System {
            mountinfo: self.0.path().join("mountinfo"),
            mount: Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/nfs/fake-mount.sh"),
            unmount: |point, flags| {
                let machine = point.ancestors().nth(2).unwrap();
                let noted = format!("{flags:?}\n");
                let before = std::fs::read_to_string(machine.join("unmounted")).unwrap_or_default();
                std::fs::write(machine.join("unmounted"), before + &noted).unwrap();
                std::fs::write(machine.join("mountinfo"), "").unwrap();
                Ok(())
            },
        };
        Share::new(nfs, system)
    }

    fn share(&self) -> Share {
        self.share_of(self.nfs())
    }

    /// As if it had been mounted there by hand.
    fn mount_by_hand(&self, id: &str, root: &str, fs_type: &str, source: &str) {
        let point = self.share().point().unwrap();
        std::fs::create_dir_all(&point).unwrap();
        let point = point.display();
        let line = format!("{id} 1 0:9 {root} {point} rw - {fs_type} {source} rw\n");
        self.write("mountinfo", &line);
    }

    fn id(&self) -> String {
        self.read("mount-id")
    }
}

#[test]
fn the_mount_point_is_where_cinder_has_it() {
    // Cinder's own tests: `test_nfs.py`, `test_get_mount_point_for_share`.
    let name = name_of("nfs-host1:/export");
    assert_eq!(name, "2f4f60214cf43c595666dd815f0360a4");
    let machine = Machine::new();
    let expected = machine.0.path().join("mounts").join(name_of(SHARE));
    assert_eq!(machine.share().shown(), expected);
}

#[test]
fn a_share_is_mounted_once_for_all_who_use_it() {
    let machine = Machine::new();
    let (one, two) = (machine.share(), machine.share());
    std::thread::scope(|scope| {
        for share in [&one, &two, &one, &two] {
            scope.spawn(move || share.open_root(false).unwrap());
        }
    });
    let asked = machine.read("asked");
    assert_eq!(
        asked,
        format!("vers=4.2,hard,retry=0,lookupcache=positive {SHARE}\n")
    );
}

#[test]
fn the_last_user_unmounts_what_a_worker_mounted() {
    let machine = Machine::new();
    let (one, two) = (machine.share(), machine.share());
    one.open_root(false).unwrap();
    two.open_root(false).unwrap();
    one.leave();
    assert_eq!(machine.lines("mountinfo"), 1, "the other one still uses it");
    two.leave();
    assert_eq!(machine.lines("mountinfo"), 0);
    assert_eq!(machine.lines("unmounted"), 1);
    let refused = two.open_root(false).unwrap_err();
    assert!(refused.is_transient(), "{refused:?}");
    assert_eq!(machine.lines("asked"), 1, "who has left mounts nothing");
}

#[test]
fn what_a_killed_worker_left_mounted_is_unmounted_by_the_next() {
    let machine = Machine::new();
    let killed = machine.share();
    killed.open_root(false).unwrap();
    drop(killed); // its locks go, and nothing else
    let next = machine.share();
    next.open_root(false).unwrap();
    assert_eq!(machine.lines("asked"), 1);
    next.leave();
    assert_eq!(machine.lines("mountinfo"), 0);
}

#[test]
fn what_an_operator_mounted_is_used_and_stays() {
    let machine = Machine::new();
    machine.mount_by_hand(&machine.id(), "/", "nfs4", "backup-host:/srv/backups/");
    let share = machine.share();
    share.open_root(false).unwrap();
    share.leave();
    assert_eq!(machine.lines("asked"), 0);
    assert_eq!(machine.lines("unmounted"), 0);
}

#[test]
fn anything_else_at_the_mount_point_is_refused_and_left_alone() {
    for (root, fs_type, source) in [
        ("/", "nfs4", "other-host:/srv/backups"),
        ("/", "nfs4", "backup-host:/srv"),
        ("/below", "nfs4", SHARE),
        ("/", "ext4", SHARE),
    ] {
        let machine = Machine::new();
        machine.mount_by_hand(&machine.id(), root, fs_type, source);
        let share = machine.share();
        let refused = share.open_root(false).unwrap_err();
        let StoreError::WrongTarget { why, .. } = &refused else {
            panic!("{refused:?}");
        };
        assert!(why.contains(source) && why.contains(fs_type), "{why}");
        assert!(refused.is_transient(), "the operator may mend it");
        share.leave();
        assert_eq!(machine.lines("asked") + machine.lines("unmounted"), 0);
    }
}

#[test]
fn a_directory_that_does_not_lie_on_the_share_is_never_the_root() {
    let machine = Machine::new();
    machine.mount_by_hand("1234567", "/", "nfs4", SHARE);
    let refused = machine.share().open_root(false).unwrap_err();
    assert!(
        !refused.tells_of_absence() && refused.is_transient(),
        "{refused:?}"
    );
}

#[test]
fn a_share_that_is_away_makes_nothing_look_gone() {
    let machine = Machine::new();
    machine.write("refuse", "mount.nfs: Connection refused\n");
    let store = PosixStore::on_share(machine.share(), None);
    let container = common::domain::ContainerName::new("a").unwrap();
    let outcome = store.open(&container, "x").map(drop).unwrap_err();
    assert!(
        !outcome.tells_of_absence() && outcome.is_transient(),
        "{outcome:?}"
    );
    assert!(store.list(&container, "").is_err());
    let said = common::telemetry::error_chain(&outcome);
    assert!(
        said.contains("Connection refused") && said.contains(SHARE),
        "{said}"
    );
    assert_eq!(
        machine.lines("asked"),
        1,
        "those who come at once do not ask the server again"
    );
}

#[test]
fn a_mount_that_hangs_is_given_up() {
    let machine = Machine::new();
    machine.write("hang", "");
    let mount_timeout = Duration::from_millis(300);
    let share = machine.share_of(Nfs {
        mount_timeout,
        ..machine.nfs()
    });
    let began = Instant::now();
    let refused = share.open_root(false).unwrap_err();
    let said = common::telemetry::error_chain(&refused);
    assert!(said.contains("has not answered"), "{said}");
    assert!(refused.is_transient() && began.elapsed() < Duration::from_secs(10));
}

#[test]
fn only_the_right_share_with_the_right_marker_is_written_to() {
    let machine = Machine::new();
    let share = machine.share();
    let root = share.open_root(false).unwrap();
    let ours = crate::store::posix::mark(&root, &share.shown()).unwrap();
    let store = |id| PosixStore::on_share(machine.share(), Some(id));
    store(ours).check_marker().unwrap();
    let refused = store(Uuid::now_v7()).check_marker().unwrap_err();
    assert!(
        matches!(refused, StoreError::WrongTarget { .. }),
        "{refused:?}"
    );
}

#[test]
fn an_unmount_is_gentle_first() {
    let machine = Machine::new();
    let share = machine.share();
    share.open_root(false).unwrap();
    share.leave();
    assert_eq!(
        machine.read("unmounted"),
        format!("{:?}\n", UnmountFlags::NOFOLLOW)
    );
}
