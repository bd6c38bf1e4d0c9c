//! The guest's NFS server, shares of it, and stacks on them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use harness::{Builder, Process, TestStack, until};
use md5::{Digest as _, Md5};
use serde_json::Value;
use uuid::Uuid;

/// What the server exports; NFS v4 knows it as `/`.
const EXPORT: &str = "/srv/nfs";
/// Where workers mount.
const MOUNT_BASE: &str = "/run/emberkeep-mounts";
/// Where a worker answers probes.
const PROBES: &str = "127.0.0.1:8777";

/// Version and manner of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    V3Hard,
    V3Soft,
    V42Hard,
}

impl Manner {
    fn settings(self) -> [(&'static str, &'static str); 3] {
        match self {
            Self::V3Hard => [
                ("backup.nfs.version", "v3"),
                ("backup.nfs.hard", "true"),
                ("backup.nfs.options", ""),
            ],
            // Gives up after some seconds, where the default takes minutes.
            Self::V3Soft => [
                ("backup.nfs.version", "v3"),
                ("backup.nfs.hard", "false"),
                ("backup.nfs.options", "timeo=10,retrans=1"),
            ],
            Self::V42Hard => [
                ("backup.nfs.version", "v4.2"),
                ("backup.nfs.hard", "true"),
                ("backup.nfs.options", ""),
            ],
        }
    }
}

impl std::fmt::Display for Manner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V3Hard => "NFS v3, hard",
            Self::V3Soft => "NFS v3, soft",
            Self::V42Hard => "NFS v4.2, hard",
        })
    }
}

/// A share of its own for one test.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) manner: Manner,
    /// Its folder, as the server sees it.
    pub(crate) folder: PathBuf,
    /// `host:/path`.
    pub(crate) name: String,
    began: Instant,
}

impl Share {
    pub(crate) fn new(manner: Manner) -> Self {
        let own = Uuid::now_v7().to_string();
        let folder = Path::new(EXPORT).join(&own);
        std::fs::create_dir(&folder).expect("a folder can be made");
        let name = match manner {
            Manner::V3Hard | Manner::V3Soft => format!("127.0.0.1:{EXPORT}/{own}"),
            Manner::V42Hard => format!("127.0.0.1:/{own}"),
        };
        let began = Instant::now();
        Self {
            manner,
            folder,
            name,
            began,
        }
    }

    /// A stack whose target this is, and whose first worker answers probes.
    pub(crate) fn stack(&self) -> Builder {
        let mut builder = TestStack::build()
            .set("backup.driver", "nfs")
            .set("backup.nfs.share", &self.name)
            .set("backup.nfs.mount_base", MOUNT_BASE)
            .set("backup.nfs.mount_timeout", "10s")
            .set("worker.listen", PROBES)
            // A guest has one slow processor.
            .set("jobs.lease", "6s")
            .set("jobs.renew", "1s")
            .set("worker.heartbeat", "1s")
            .set("jobs.worker_down_after", "8s")
            .target_files(&self.folder);
        for (key, value) in self.manner.settings() {
            builder = builder.set(key, value);
        }
        builder
    }

    /// Where workers mount it.
    pub(crate) fn mount_point(&self) -> PathBuf {
        Path::new(MOUNT_BASE).join(hex::encode(Md5::digest(&self.name)))
    }

    /// How often it is mounted there now, and with which options.
    pub(crate) fn mounts(&self) -> Vec<String> {
        let all = std::fs::read_to_string("/proc/self/mountinfo").expect("the kernel tells");
        let point = format!(" {} ", self.mount_point().display());
        all.lines()
            .filter(|line| line.contains(&point))
            .map(str::to_owned)
            .collect()
    }

    /// Nothing is mounted there.
    pub(crate) fn assert_unmounted(&self) {
        assert_eq!(self.mounts(), Vec::<String>::new());
    }

    /// A row of the table.
    #[expect(clippy::print_stdout, reason = "it is what the run is to show")]
    pub(crate) fn saw(&self, what: &str) {
        let seconds = self.began.elapsed().as_secs_f64();
        println!(
            "\nROW: {:<15} {seconds:>6.1} s  {what}",
            self.manner.to_string()
        );
    }
}

fn tell(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status();
    let status = status.expect("the program can be started");
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

/// A server that is away: whoever asks it waits. It is back when this goes, however the test ends.
#[must_use]
pub(crate) struct Outage(());

impl Outage {
    /// Ends every thread of the server.
    pub(crate) fn begin() -> Self {
        tell("rpc.nfsd", &["0"]);
        Self(())
    }

    /// Lets it serve again.
    pub(crate) fn end(self) {
        drop(self);
    }
}

impl Drop for Outage {
    fn drop(&mut self) {
        tell("rpc.nfsd", &["-H", "127.0.0.1", "2"]);
    }
}

/// Asks a worker to stop; how many seconds that took.
pub(crate) async fn stop(worker: &Process) -> f64 {
    let began = Instant::now();
    worker.ask_to_stop();
    let status = worker.ended().await;
    assert!(status.success(), "{}: {status}", worker.name());
    began.elapsed().as_secs_f64()
}

/// Waits until the worker that answers probes says that its target is like this: whether it is ready, and its word.
pub(crate) async fn until_target(what: &str, is_so: impl Fn(bool, &str) -> bool) -> String {
    let client = reqwest::Client::builder().no_proxy().build();
    let client = client.expect("a client can be made");
    until(what, async || {
        let answer = client.get(format!("http://{PROBES}/readyz")).send().await;
        let answer = answer.ok()?;
        let ready = answer.status().is_success();
        let said: Value = answer.json().await.ok()?;
        let target = said["target"].as_str()?.to_owned();
        is_so(ready, &target).then_some(target)
    })
    .await
}

/// Waits until the worker's target can be used.
pub(crate) async fn until_it_is_up() {
    until_target("the target to be up", |ready, target| {
        ready && target == "up"
    })
    .await;
}

/// Waits until the worker's target hangs.
pub(crate) async fn until_it_hangs() -> String {
    until_target(
        "the worker to say that its target hangs",
        |ready, target| !ready && target.contains("has not answered for"),
    )
    .await
}
