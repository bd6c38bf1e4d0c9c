//! Small files: private ones, free ports, random names.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Makes a directory, and those above it, that only its owner can enter. One that is there is left as it is.
///
/// # Errors
/// When the system refuses.
pub fn make_private_dir(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("make the directory {}", path.display()))
}

/// A folder for the time of a command; removed with all that is in it when this is dropped.
#[derive(Debug)]
pub struct ScratchDir {
    path: PathBuf,
    kept: bool,
}

impl ScratchDir {
    /// Makes one, its name beginning with `purpose`, in `TMPDIR` if that is set, else below cargo's target
    /// folder: what fits a build fits a demo, while `/tmp` may be small.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new(target_dir: &Path, purpose: &str) -> Result<Self> {
        let parent =
            std::env::var_os("TMPDIR").map_or_else(|| target_dir.join("xtask"), PathBuf::from);
        let path = parent.join(format!("{purpose}-{}", random_hex::<4>()?));
        make_private_dir(&path)?;
        Ok(Self { path, kept: false })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it there for good.
    pub fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Writes a file that only its owner can read; a reader sees the old one or the new one, never half of one.
///
/// # Errors
/// When the system refuses.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    let draft = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let _ = std::fs::remove_file(&draft);
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(text.as_bytes())?;
        std::fs::rename(&draft, path)
    };
    write().with_context(|| format!("write {}", path.display()))
}

/// Writes a value as JSON, privately.
///
/// # Errors
/// When the system refuses.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).context("put a value into JSON")?;
    text.push('\n');
    write_private(path, &text)
}

/// Reads a value from JSON; `None` when there is no such file.
///
/// # Errors
/// When it cannot be read or is something else.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    serde_json::from_str(&text)
        .map(Some)
        .with_context(|| format!("understand {}", path.display()))
}

/// Loopback ports that nobody listens on now.
///
/// They lie below the range from which the system takes ports for outgoing connections, so that none of those
/// gets in the way between now and their use.
///
/// # Errors
/// When none can be found.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    free_ports_from(20_000, 12_000)
}

/// The same above that range, where containers' ports are published: those below are a broker's on many machines.
///
/// # Errors
/// When none can be found.
pub fn free_high_ports<const N: usize>() -> Result<[u16; N]> {
    free_ports_from(61_000, 4_000)
}

fn free_ports_from<const N: usize>(first: u16, count: u16) -> Result<[u16; N]> {
    let mut held = Vec::with_capacity(N);
    for _ in 0..100 * N {
        if held.len() == N {
            break;
        }
        let port = first + u16::from_ne_bytes(random::<2>()?) % count;
        // Held until all are found, so that they differ.
        held.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(|held| (port, held)));
    }
    let ports: Vec<u16> = held.iter().map(|(port, _)| *port).collect();
    ports.try_into().ok().context("find a free port")
}

/// A loopback address that nobody listens on now.
///
/// # Errors
/// When none can be found.
pub fn free_address() -> Result<SocketAddr> {
    let [port] = free_ports()?;
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// `N` random bytes.
fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("read /dev/urandom")?;
    Ok(bytes)
}

/// A random name: `N` bytes in hexadecimal.
///
/// # Errors
/// When the system gives none.
pub fn random_hex<const N: usize>() -> Result<String> {
    random::<N>().map(hex::encode)
}

/// A program found in `PATH` or in the system's own folders, which are not in everybody's `PATH`.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Reads what a file has at a place, up to the length of `buffer`; how much that is.
///
/// # Errors
/// When it cannot be read.
pub fn read_up_to(file: &File, at: u64, buffer: &mut [u8]) -> Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        let offset = at + u64::try_from(length).context("a length fits u64")?;
        match file
            .read_at(&mut buffer[length..], offset)
            .context("read a file")?
        {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}

/// The last lines of a log, for an error message.
#[must_use]
pub fn tail(log: &Path, lines: usize) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
