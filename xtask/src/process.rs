//! Processes that live on without the shell that started them, and are found again by a later command.
//!
//! A process id alone is no name: the system gives it out again. With the start time it is one, and a pidfd
//! opened before the start time is compared cannot come to mean another process afterwards.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid,
};
use serde::{Deserialize, Serialize};

/// One run of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// When it started, in the kernel's ticks since boot.
    pub start_ticks: u64,
}

/// How a process came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was gone before.
    Already,
    /// It went when it was asked to.
    Asked,
    /// It had to be killed.
    Killed,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Already => "had ended before",
            Self::Asked => "ended",
            Self::Killed => "did not listen, killed",
        })
    }
}

impl Process {
    /// Starts `program` in a session of its own, without standard input, its output appended to `log`.
    ///
    /// # Errors
    /// When the log or the process cannot be made.
    pub fn spawn_detached(
        program: &Path,
        arguments: &[&OsStr],
        log: &Path,
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let log_file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("open the log {}", log.display()))?;
        // `setsid` becomes the program, so the id is the program's own.
        let mut command = Command::new("setsid");
        command
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log_file.try_clone().context("share the log")?)
            .stderr(log_file);
        prepare(&mut command);
        let child = command
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let pid = i32::try_from(child.id()).context("a process id is an i32")?;
        let stat =
            Stat::of(pid).with_context(|| format!("find {} after its start", program.display()))?;
        let start_ticks = stat.start_ticks;
        Ok(Self { pid, start_ticks })
    }

    /// Whether it runs. One that has ended and only waits for its parent to take notice does not.
    #[must_use]
    pub fn is_alive(self) -> bool {
        self.open().is_some()
    }

    /// Sends a signal; whether there was anyone to get it.
    #[must_use]
    pub fn signal(self, signal: Signal) -> bool {
        self.open()
            .is_some_and(|pidfd| pidfd_send_signal(pidfd, signal).is_ok())
    }

    /// Asks it to end (SIGTERM), waits for `grace`, then kills it.
    ///
    /// # Errors
    /// When it is not ours to signal or survives even that.
    pub async fn stop(self, grace: Duration) -> Result<Ended> {
        if !self.signal(Signal::TERM) {
            self.reap();
            anyhow::ensure!(!self.is_alive(), "may not signal process {}", self.pid);
            return Ok(Ended::Already);
        }
        if self.gone_within(grace).await {
            return Ok(Ended::Asked);
        }
        self.kill().await?;
        Ok(Ended::Killed)
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// When it is not ours to signal or does not go.
    pub async fn kill(self) -> Result<()> {
        let _ = self.signal(Signal::KILL);
        anyhow::ensure!(
            self.gone_within(Duration::from_secs(10)).await,
            "process {} does not go, even when killed",
            self.pid
        );
        Ok(())
    }

    /// Kills it and waits a little without a runtime: for destructors, after which its files are removed.
    pub(crate) fn kill_now(self) {
        let _ = self.signal(Signal::KILL);
        for _ in 0..500 {
            if !self.is_alive() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.reap();
    }

    /// Waits until it is gone; `false` when it still runs after `patience`.
    pub async fn gone_within(self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.gone()).await.is_ok()
    }

    /// Waits until it is gone.
    pub async fn gone(self) {
        // Tokio has no safe way to await a pidfd.
        let mut clock = tokio::time::interval(Duration::from_millis(20));
        while self.is_alive() {
            clock.tick().await;
        }
        self.reap();
    }

    /// A handle on the living process, and on no other.
    fn open(self) -> Option<OwnedFd> {
        let pidfd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::NONBLOCK).ok()?;
        let stat = Stat::of(self.pid)?;
        (stat.start_ticks == self.start_ticks && !stat.ended).then_some(pidfd)
    }

    /// Takes notice of its end if it is a child of this process; a stranger's parent does that itself.
    fn reap(self) {
        if let Some(pid) = Pid::from_raw(self.pid)
            && !self.is_alive()
        {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }
}

/// What the system says of a process.
struct Stat {
    start_ticks: u64,
    /// Every thread of it has ended. The first one may end long before the others, which still hold its ports.
    ended: bool,
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in parentheses, and may itself hold blanks and parentheses.
        let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        let threads: u32 = fields.nth(16)?.parse().ok()?;
        let start_ticks = fields.nth(1)?.parse().ok()?;
        Some(Self {
            start_ticks,
            ended: matches!(state, "Z" | "X") && threads <= 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(script: &str) -> (tempfile::TempDir, Process) {
        let dir = tempfile::tempdir().unwrap();
        let process = Process::spawn_detached(
            Path::new("sh"),
            &["-c".as_ref(), script.as_ref()],
            &dir.path().join("log"),
            |_| (),
        )
        .unwrap();
        (dir, process)
    }

    /// The session of a process, 0 when that is led from outside this process id namespace, as in many a container:
    /// `getsid` of rustix does not take that for an answer.
    fn session_of(pid: i32) -> i32 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields = text.rsplit_once(')').unwrap().1;
        fields
            .split_ascii_whitespace()
            .nth(3)
            .unwrap()
            .parse()
            .unwrap()
    }

    #[tokio::test]
    async fn a_process_that_listens_goes_when_asked() {
        let (_dir, process) = sleeper("exec sleep 1000");
        assert!(process.is_alive());
        let ended = process.stop(Duration::from_secs(20)).await.unwrap();
        assert_eq!(ended, Ended::Asked);
        assert!(!process.is_alive());
        assert_eq!(
            process.stop(Duration::ZERO).await.unwrap(),
            Ended::Already,
            "asking twice does no harm"
        );
    }

    #[tokio::test]
    async fn a_process_that_does_not_listen_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let ready = dir.path().join("ready");
        let script = format!(
            "trap '' TERM; echo > '{}'; while :; do sleep 1; done",
            ready.display()
        );
        let (_log, process) = sleeper(&script);
        while !ready.exists() {
            tokio::task::yield_now().await;
        }
        let ended = process.stop(Duration::from_millis(200)).await.unwrap();
        assert_eq!(ended, Ended::Killed);
        assert!(!process.is_alive());
    }

    #[tokio::test]
    async fn another_process_of_the_same_id_is_left_alone() {
        let (_dir, process) = sleeper("exec sleep 1000");
        let mistaken = Process {
            start_ticks: process.start_ticks + 1,
            ..process
        };
        assert!(!mistaken.is_alive());
        assert_eq!(mistaken.stop(Duration::ZERO).await.unwrap(), Ended::Already);
        mistaken.kill().await.unwrap();
        assert!(process.is_alive());
        process.kill().await.unwrap();
    }

    #[tokio::test]
    async fn a_detached_process_leads_its_own_session() {
        let (_dir, process) = sleeper("exec sleep 1000");
        // `setsid` is the first thing the new process does, but it is not instant.
        while session_of(process.pid) != process.pid {
            tokio::task::yield_now().await;
        }
        process.kill().await.unwrap();
    }
}
