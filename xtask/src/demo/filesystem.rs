//! The volume's inside: a real ext4 with real files, made, changed and checked without being mounted, and so
//! without being root.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::files;

const MIB: u64 = 1 << 20;
/// Size of the volume.
pub(crate) const VOLUME_BYTES: u64 = 1024 * MIB;

/// What was put into a file system.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Contents {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// Makes `image`, with an ext4 of varied files; `scratch` holds the tree meanwhile.
pub(crate) fn make(image: &Path, scratch: &Path) -> Result<Contents> {
    let tree = scratch.join("tree");
    let contents = Tree::new(&tree)?.grow()?;
    File::create_new(image)
        .and_then(|file| file.set_len(VOLUME_BYTES))
        .with_context(|| format!("make {}", image.display()))?;
    let mut mke2fs = tool("mke2fs")?;
    mke2fs.args(["-q", "-F", "-t", "ext4", "-L", "vol-1", "-d"]);
    mke2fs.arg(&tree).arg(image);
    run(mke2fs)?;
    std::fs::remove_dir_all(&tree).context("remove the tree of files")?;
    Ok(contents)
}

/// Files and folders to be put into the volume.
struct Tree {
    root: PathBuf,
    contents: Contents,
    random: File,
    words: Words,
}

impl Tree {
    fn new(root: &Path) -> Result<Self> {
        Ok(Self {
            root: root.to_owned(),
            contents: Contents::default(),
            random: File::open("/dev/urandom").context("open /dev/urandom")?,
            words: Words(20_261_122),
        })
    }

    /// What people keep: much that compresses, much that does not, many small files, and holes.
    fn grow(mut self) -> Result<Contents> {
        for number in 0..40 {
            let photo = self.noise(3 * MIB + number * 12_345)?;
            self.put(&format!("photos/{number:03}.jpg"), &photo)?;
        }
        for number in 0..150 {
            let text = self.words.text(90_000 + 700 * number);
            self.put(&format!("documents/{number:03}.txt"), &text)?;
        }
        for number in 0..1200 {
            let text = self.words.text(700 + 5 * number);
            self.put(&format!("mail/{:02}/{number:04}.eml", number % 20), &text)?;
        }
        let line = self.words.text(4096);
        for number in 0..5 {
            let log = line.repeat(2048);
            self.put(&format!("logs/service.log.{number}"), &log)?;
        }
        let mut table = Vec::new();
        for _ in 0..1024 {
            table.extend(self.noise(24 * 1024)?);
            table.resize(table.len() + 40 * 1024, 0);
        }
        self.put("database/table.db", &table)?;
        self.put_sparse("machines/scratch.img", 200 * MIB)?;
        Ok(self.contents)
    }

    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut file = self.create(name)?;
        file.write_all(bytes)
            .with_context(|| format!("write {name}"))?;
        self.contents.bytes += u64::try_from(bytes.len()).context("a length fits u64")?;
        Ok(())
    }

    fn put_sparse(&mut self, name: &str, length: u64) -> Result<()> {
        let file = self.create(name)?;
        let write = || -> std::io::Result<()> {
            file.set_len(length)?;
            file.write_all_at(b"far from the start", length / 2)
        };
        write().with_context(|| format!("write {name}"))?;
        self.contents.bytes += length;
        Ok(())
    }

    fn create(&mut self, name: &str) -> Result<File> {
        let path = self.root.join(name);
        let folder = path.parent().context("a file has a folder")?;
        files::make_private_dir(folder)?;
        self.contents.files += 1;
        File::create_new(&path).with_context(|| format!("make {}", path.display()))
    }

    fn noise(&mut self, length: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        (&mut self.random)
            .take(length)
            .read_to_end(&mut bytes)
            .context("read /dev/urandom")?;
        Ok(bytes)
    }
}

/// Text that looks like text: an endless row of words from a small generator (xorshift64).
struct Words(u64);

impl Words {
    fn text(&mut self, length: usize) -> Vec<u8> {
        const WORDS: [&str; 16] = [
            "ember", "keeps", "what", "the", "fire", "left", "and", "a", "volume", "of", "light",
            "comes", "back", "by", "night", "again",
        ];
        let mut text = Vec::with_capacity(length + 8);
        while text.len() < length {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            for byte in self.0.to_le_bytes() {
                text.extend(WORDS[usize::from(byte & 15)].bytes());
                text.push(b' ');
            }
            text.push(b'\n');
        }
        text.truncate(length);
        text
    }
}

/// Changes files inside the image: one is new, one is written anew, one goes. Returns what to tell of it.
pub(crate) fn change(image: &Path, scratch: &Path) -> Result<Vec<&'static str>> {
    let letter = scratch.join("letter");
    let table = scratch.join("chapter");
    std::fs::write(&letter, LETTER).context("write a letter")?;
    std::fs::write(&table, Words(42).text(150_000)).context("write a chapter")?;
    let script = scratch.join("debugfs");
    let commands = format!(
        "write {letter} {LETTER_NAME}\n\
         rm documents/007.txt\n\
         write {table} documents/007.txt\n\
         rm photos/013.jpg\n",
        letter = letter.display(),
        table = table.display(),
    );
    std::fs::write(&script, commands).context("write the changes")?;
    let mut debugfs = tool("debugfs")?;
    debugfs.arg("-w").arg("-f").arg(&script).arg(image);
    run(debugfs)?;
    // debugfs ends well whatever its commands came to.
    anyhow::ensure!(
        read_letter(image)? == LETTER,
        "the letter did not get into the file system"
    );
    Ok(vec![
        "new:     letter.txt",
        "changed: documents/007.txt",
        "deleted: photos/013.jpg",
    ])
}

/// Where the new file is.
const LETTER_NAME: &str = "letter.txt";
/// What it says.
pub(crate) const LETTER: &str = "Written after the full backup and before the incremental one. If you read this, both came back.\n";

/// The new file, as the image has it.
pub(crate) fn read_letter(image: &Path) -> Result<String> {
    let mut debugfs = tool("debugfs")?;
    debugfs
        .args(["-R", &format!("cat {LETTER_NAME}")])
        .arg(image);
    run(debugfs)
}

/// A full check of the file system that changes nothing; an error tells what is wrong.
pub(crate) fn check(image: &Path) -> Result<()> {
    let mut e2fsck = tool("e2fsck")?;
    e2fsck.arg("-fn").arg(image);
    run(e2fsck).map(|_| ())
}

/// SHA-256 of a whole file, in hexadecimal.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file
            .read(&mut buffer)
            .with_context(|| format!("read {}", path.display()))?;
        if count == 0 {
            return Ok(hex::encode(digest.finalize()));
        }
        digest.update(&buffer[..count]);
    }
}

fn tool(name: &str) -> Result<Command> {
    let path = files::find_program(name).with_context(|| format!("`{name}` is not installed"))?;
    let mut command = Command::new(path);
    command.stdin(Stdio::null());
    Ok(command)
}

/// Runs a tool and returns what it says.
fn run(mut command: Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("start {name}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    anyhow::ensure!(
        output.status.success(),
        "{name} failed ({}): {said}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_system_is_not_clean() {
        if files::find_program("e2fsck").is_none() {
            crate::say::line("SKIPPED: e2fsprogs is not installed");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        let file = File::create_new(&image).unwrap();
        file.set_len(8 * MIB).unwrap();
        let mut mke2fs = tool("mke2fs").unwrap();
        mke2fs.args(["-q", "-F", "-t", "ext4"]).arg(&image);
        run(mke2fs).unwrap();
        check(&image).unwrap();
        file.write_all_at(&[0xff; 4096], 4096).unwrap();
        assert!(check(&image).is_err());
    }

    #[test]
    fn texts_have_their_length_and_differ() {
        let mut words = Words(7);
        let (one, other) = (words.text(5000), words.text(5000));
        assert_eq!((one.len(), other.len()), (5000, 5000));
        assert_ne!(one, other);
    }
}
