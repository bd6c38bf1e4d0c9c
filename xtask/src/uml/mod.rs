//! A second Linux as an ordinary program: User Mode Linux, for tests that need what this kernel cannot do.
//!
//! The guest sees the host's files, so that what was built here runs there, but what it writes stays in its memory; only
//! the folder of its run is shared. It has one processor, a disk, and a network of its own ([`Network`]).
//!
//! ```text
//! DIR/init       the guest's first process (init.sh)     DIR/run     what it is to do
//!     console    what its kernel says                    DIR/output  what that says: shown as it comes
//!     disk       its /dev/ubda                           DIR/status  how that ended
//! ```

mod network;

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::thread::{CpuSet, sched_getaffinity};

pub use self::network::{HOST, Network};
use crate::files;

const INIT: &str = include_str!("init.sh");
/// The guest's memory, in MiB.
const MEMORY_MIB: u64 = 1536;
/// What of it may be written outside of `/tmp` and `/run`.
const WRITTEN: &str = "256m";
/// Its disk: a file without content at first.
const DISK_BYTES: u64 = 3 << 30;
/// Where memory is kept, if this is a file system in memory.
const IN_MEMORY: &str = "/dev/shm";
/// How often its output is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Runs a shell script in a guest, hands on each line of what it says, and tells its exit status.
///
/// # Errors
/// When the guest does not come up, or ends before the script.
pub async fn run(
    dir: &Path,
    network: &Network,
    script: &str,
    mut line: impl FnMut(&str),
) -> Result<i32> {
    let dir = dir
        .canonicalize()
        .with_context(|| format!("find {}", dir.display()))?;
    let shared = dir.to_str().context("the guest's folder is no text")?;
    anyhow::ensure!(
        !shared.contains(|c: char| c.is_whitespace() || "'\",".contains(c)),
        "the guest cannot use a folder with such a name: {shared}"
    );
    let (first, rest) = INIT.split_once('\n').context("the init has lines")?;
    let address = network::GUEST;
    let init = format!("{first}\nSHARED='{shared}'\nSIZE={WRITTEN}\nADDRESS={address}\n{rest}");
    let path = dir.join("init");
    files::write_private(&path, &init)?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .context("make the init a program")?;
    files::write_private(&dir.join("run"), script)?;
    let disk = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(dir.join("disk"))
        .and_then(|file| file.set_len(DISK_BYTES));
    disk.context("make the guest's disk")?;
    files::write_private(&dir.join("output"), "")?;
    let console = File::create(dir.join("console")).context("make the guest's console")?;

    let program = files::find_program("linux.uml").context("find linux.uml")?;
    let mut command = network.command(Path::new("taskset"))?;
    command
        .args(["--cpu-list", &one_processor()?.to_string()])
        .arg(program)
        .arg(format!("mem={MEMORY_MIB}M"))
        .args(["rootfstype=hostfs", "rootflags=/", "ro", "quiet"])
        .args(["con=null", "con0=null,fd:1"])
        .arg(format!("init={shared}/init"))
        .arg(format!("ubd0={shared}/disk"))
        .arg(format!("vec0:transport=tap,ifname={}", network::LINK))
        .stdin(Stdio::null())
        .stdout(console.try_clone().context("share the console")?)
        .stderr(console)
        .process_group(0)
        .kill_on_drop(true);
    if Path::new(IN_MEMORY).is_dir() {
        command.env("TMPDIR", IN_MEMORY);
    }
    let mut guest = command.spawn().context("start linux.uml")?;
    let pid = guest.id().and_then(|id| i32::try_from(id).ok());
    let _group = pid.and_then(Pid::from_raw).map(Group);
    let mut output = Output::of(&dir.join("output"))?;
    let ended = loop {
        let ended = tokio::time::timeout(LOOK, guest.wait()).await;
        output.new_lines(&mut line)?;
        if let Ok(ended) = ended {
            break ended.context("wait for the guest")?;
        }
    };
    let status = std::fs::read_to_string(dir.join("status")).ok();
    let status = status.and_then(|status| status.trim().parse().ok());
    status.with_context(|| {
        let console = files::tail(&dir.join("console"), 15);
        format!("the guest ended ({ended}) before its work did; its console ends:\n{console}")
    })
}

/// The guest's kernel and its programs, which are processes of this machine: all end with this.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        // There is nobody left when the guest has powered off.
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}

/// A processor that we may use. The guest has one: its kernel and its programs are processes that take turns at each
/// call and each page fault, and on a busy machine a turn that goes to another processor costs thrice as much.
fn one_processor() -> Result<usize> {
    let allowed = sched_getaffinity(None).context("find a processor")?;
    let mut numbers = (0..CpuSet::MAX_CPU).rev();
    let last = numbers.find(|number| allowed.is_set(*number));
    last.context("we may use no processor")
}

/// A file that grows, line by line.
struct Output {
    file: File,
    at: u64,
    unfinished: Vec<u8>,
}

impl Output {
    fn of(path: &Path) -> Result<Self> {
        let file = File::open(path).context("open the guest's output")?;
        let (at, unfinished) = (0, Vec::new());
        Ok(Self {
            file,
            at,
            unfinished,
        })
    }

    fn new_lines(&mut self, line: &mut impl FnMut(&str)) -> Result<()> {
        let mut read = || {
            self.file.seek(SeekFrom::Start(self.at))?;
            self.file.read_to_end(&mut self.unfinished)
        };
        self.at += read().context("read the guest's output")? as u64;
        while let Some(end) = self.unfinished.iter().position(|byte| *byte == b'\n') {
            let whole: Vec<u8> = self.unfinished.drain(..=end).collect();
            line(String::from_utf8_lossy(&whole).trim_end());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_handed_on_in_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("output");
        std::fs::write(&path, "one\ntw").unwrap();
        let mut output = Output::of(&path).unwrap();
        let mut lines = Vec::new();
        let mut look =
            |output: &mut Output| output.new_lines(&mut |line| lines.push(line.to_owned()));
        look(&mut output).unwrap();
        std::fs::write(&path, "one\ntwo\n").unwrap();
        look(&mut output).unwrap();
        look(&mut output).unwrap();
        assert_eq!(lines, ["one", "two"]);
    }
}
