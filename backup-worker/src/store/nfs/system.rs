//! What is asked of the system: to mount, and to unmount.
//!
//! `mount(8)` mounts, because an NFS mount is more than a system call: its helper finds address, port and version.
//! Unmounting is the system call alone, which neither asks the server nor looks at the share.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::config::{Nfs, NfsVersion};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::patience::within;

/// How long a share may take to say that it is there, and an unmount to be done.
const PATIENCE: Duration = Duration::from_secs(3);

/// The machine, or what a test puts in its place.
#[derive(Debug, Clone)]
pub(super) struct System {
    /// What is mounted.
    pub(super) mountinfo: PathBuf,
    /// The program that mounts.
    pub(super) mount: PathBuf,
    /// The call that unmounts.
    pub(super) unmount: fn(&Path, UnmountFlags) -> Result<(), Errno>,
}

impl System {
    pub(super) fn of_machine() -> Self {
        Self {
            mountinfo: PathBuf::from("/proc/self/mountinfo"),
            mount: PathBuf::from("mount"),
            unmount: |point, flags| rustix::mount::unmount(point, flags),
        }
    }

    /// Mounts the share, or says what `mount` said.
    pub(super) fn mount(&self, nfs: &Nfs, point: &Path) -> io::Result<()> {
        let mut command = Command::new(&self.mount);
        command
            .args(["-t", "nfs", "-o", &options(nfs), "--", &nfs.share])
            .arg(point)
            .process_group(0) // its helper ends with it
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let ended = within(nfs.mount_timeout, move || child.wait_with_output());
        let Some(output) = ended else {
            // It may hang where not even this reaches it; then it ends when the server is back.
            let _ = pid.map(|pid| kill_process_group(pid, Signal::KILL));
            let limit = nfs.mount_timeout.as_secs();
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the server has not answered for {limit} s"),
            ));
        };
        told_by(output?)
    }

    /// Takes a mount away that nobody needs any more, whether its server answers or not. Who still has files open
    /// there keeps them, unless the server is away: then their calls fail.
    pub(super) fn unmount(&self, point: &Path) -> Result<(), Errno> {
        let unmount = self.unmount;
        let call = |flags: UnmountFlags| {
            let point = point.to_owned();
            let flags = flags | UnmountFlags::NOFOLLOW;
            within(PATIENCE, move || unmount(&point, flags)).unwrap_or(Err(Errno::TIMEDOUT))
        };
        let seen = point.to_owned();
        let answers = within(PATIENCE, move || rustix::fs::statfs(&seen).is_ok()).is_some();
        if answers {
            if call(UnmountFlags::empty()).is_ok() {
                return Ok(());
            }
        } else {
            // Whoever waits for the server gets an error now; the mount itself is still there.
            let _ = call(UnmountFlags::FORCE);
        }
        match call(UnmountFlags::DETACH) {
            Err(Errno::INVAL) => Ok(()), // nothing is mounted there any more
            outcome => outcome,
        }
    }
}

/// What of the options we decide, then what the operator adds.
fn options(nfs: &Nfs) -> String {
    let mut options = vec![format!("vers={}", nfs.version.as_str())];
    options.push(if nfs.hard { "hard" } else { "soft" }.to_owned());
    // Tried once: who waits has a clock of his own.
    options.push("retry=0".to_owned());
    // "It is not there" is not remembered: another machine may make it at any moment.
    options.push("lookupcache=positive".to_owned());
    if nfs.version == NfsVersion::V3 {
        options.push("nolock".to_owned());
    }
    options.extend((!nfs.options.is_empty()).then(|| nfs.options.clone()));
    options.join(",")
}

fn told_by(output: Output) -> io::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.split_whitespace().collect();
    let why = match said.as_slice() {
        [] => format!("`mount` ended with {}", output.status),
        words => words.join(" "),
    };
    Err(io::Error::other(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_the_operators_after_ours() {
        let mut nfs = Nfs {
            options: "nconnect=4".to_owned(),
            ..Nfs::default()
        };
        let four = "vers=4.2,hard,retry=0,lookupcache=positive,nconnect=4";
        assert_eq!(options(&nfs), four);
        nfs.version = NfsVersion::V3;
        nfs.hard = false;
        nfs.options = String::new();
        let three = "vers=3,soft,retry=0,lookupcache=positive,nolock";
        assert_eq!(options(&nfs), three);
    }
}
