//! Freezing by reflink, on a real XFS.

use super::*;

#[test]
fn a_reflink_snapshot_costs_no_blocks_and_does_not_change() {
    let mount = match XfsMount::new() {
        Ok(mount) => mount,
        Err(why) => return skipped(&why),
    };
    let driver = root_with_volume(mount.path());
    let frozen = driver.freeze(&volume("vol"), SNAPSHOT, 1, false).unwrap();
    assert_eq!(names(mount.path()), [SNAPSHOT, "vol"]);
    assert!(frozen.identity().starts_with("file "));
    let before = fs::read(mount.path().join("vol")).unwrap();
    let volume_file = fs::OpenOptions::new()
        .write(true)
        .open(mount.path().join("vol"))
        .unwrap();
    volume_file.write_all_at(&[0xEE; 1 << 16], 4096).unwrap();
    assert!(bytes_of(&*frozen) == before);
    assert_eq!(runs_of(&*frozen), [(0, 1 << 20), (8 << 20, 4096)]);
    frozen.check_unchanged().unwrap();
    let adopted = driver.freeze(&volume("vol"), SNAPSHOT, 2, false).unwrap();
    assert_eq!(adopted.identity(), frozen.identity());
    drop((frozen, adopted, volume_file));
    driver.remove_snapshot(&volume("vol"), SNAPSHOT).unwrap();
    assert_eq!(names(mount.path()), ["vol"]);
}

/// A small XFS on a loop device, unmounted when dropped.
struct XfsMount {
    dir: TempDir,
    volumes: PathBuf,
}

impl XfsMount {
    fn new() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("mounting an XFS needs root".to_owned());
        }
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        fs::File::create(&image)
            .unwrap()
            .set_len(320 << 20)
            .unwrap();
        fs::create_dir(dir.path().join("mnt")).unwrap();
        run(Command::new("mkfs.xfs")
            .args(["-q", "-m", "reflink=1"])
            .arg(&image))?;
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(dir.path().join("mnt")))?;
        let volumes = dir.path().join("mnt/volumes");
        fs::create_dir(&volumes).unwrap();
        Ok(Self { dir, volumes })
    }

    fn path(&self) -> &Path {
        &self.volumes
    }
}

impl Drop for XfsMount {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg(self.dir.path().join("mnt")));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr)
            .trim()
            .replace('\n', " "))
    }
}
