//! A directory for a test, and the binary run in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) const VOLUME_ID: &str = "9fbfd5af-22b3-4b1c-842d-2818dcc05e22";

/// A tree of backups and a place for files beside it.
pub(crate) struct Scene {
    directory: TempDir,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let scene = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let tree = scene.tree();
        let made = run(["init-target", "--path", text(&tree)]);
        assert!(made.status.success(), "{made:?}");
        scene
    }

    /// The directory backups are stored in.
    pub(crate) fn tree(&self) -> PathBuf {
        self.path("tree")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file beside the tree.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Runs a command on the tree.
    pub(crate) fn run(&self, command: &str, arguments: &[&str]) -> Ended {
        Ended(self.command(command, arguments).output().unwrap())
    }

    pub(crate) fn command(&self, command: &str, arguments: &[&str]) -> Command {
        let mut process = binary();
        process
            .args([command, "--repository", text(&self.tree())])
            .args(arguments);
        process
    }

    /// Backs up `bytes` and gives the backup's id.
    pub(crate) fn backup(&self, bytes: &[u8], more: &[&str]) -> String {
        let volume = self.file("volume", bytes);
        let mut arguments = vec![
            "--volume",
            text(&volume),
            "--volume-id",
            VOLUME_ID,
            "--json",
        ];
        arguments.extend(more);
        let report = self.run("backup", &arguments).json(0);
        report["backup_id"].as_str().unwrap().to_owned()
    }

    /// Restores a backup to a new file, and over old data of the same length.
    pub(crate) fn assert_restores(&self, backup: &str, bytes: &[u8]) {
        let new = self.path("restored");
        let arguments = ["--backup", backup, "--output", text(&new)];
        self.run("restore", &arguments).code(0);
        assert!(std::fs::read(&new).unwrap() == bytes, "{backup}, new");
        std::fs::remove_file(&new).unwrap();
        let old = self.file("restored-over", &vec![0xff; bytes.len()]);
        let arguments = ["--backup", backup, "--output", text(&old), "--force"];
        self.run("restore", &arguments).code(0);
        assert!(std::fs::read(&old).unwrap() == bytes, "{backup}, over");
    }

    /// Every file of the tree but the marker.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        collect(&self.tree(), &mut files);
        files.retain(|file| !file.ends_with(".emberkeep-target"));
        files.sort();
        files
    }

    /// The one file of the tree whose name has all these parts.
    pub(crate) fn file_of(&self, parts: &[&str]) -> PathBuf {
        let mut files = self.files();
        files.retain(|file| parts.iter().all(|part| text(file).contains(part)));
        assert_eq!(files.len(), 1, "{parts:?}: {files:?}");
        files.remove(0)
    }

    /// Changes the text of a backup's metadata file.
    pub(crate) fn edit_metadata(&self, backup: &str, edit: impl FnOnce(&mut Value)) {
        let file = self.file_of(&[&format!("_backup_{backup}_metadata")]);
        let mut metadata = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        edit(&mut metadata);
        std::fs::write(file, serde_json::to_vec(&metadata).unwrap()).unwrap();
    }
}

/// A process that ended.
pub(crate) struct Ended(Output);

impl Ended {
    /// Checks the exit status; gives what it wrote to standard output and to standard error.
    #[track_caller]
    pub(crate) fn code(&self, code: i32) -> (String, String) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (out, err) = (text(&self.0.stdout), text(&self.0.stderr));
        assert_eq!(self.0.status.code(), Some(code), "{out}\n{err}");
        if code == 0 {
            assert_eq!(err, "", "a success writes nothing to standard error");
        }
        (out, err)
    }

    /// Checks the exit status and reads the JSON document.
    #[track_caller]
    pub(crate) fn json(&self, code: i32) -> Value {
        let (out, _) = self.code(code);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self(output)
    }
}

pub(crate) fn run<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Output {
    binary().args(arguments).output().unwrap()
}

pub(crate) fn binary() -> Command {
    let mut process = Command::new(env!("CARGO_BIN_EXE_backup-worker"));
    process.stdin(Stdio::null());
    process
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// Bytes as volumes have them: text, zeros and noise, another mixture for each seed.
pub(crate) fn volume_like(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8192);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let run = 512 + (state >> 20) as usize % 7680;
        match state % 3 {
            0 => bytes.resize(bytes.len() + run, 0),
            1 => bytes.extend((0..run).map(|at| b"block storage "[at % 14])),
            _ => bytes
                .extend((0..run as u64).map(|at| state.wrapping_mul(at * at + 1).to_le_bytes()[5])),
        }
    }
    bytes.truncate(length);
    bytes
}
