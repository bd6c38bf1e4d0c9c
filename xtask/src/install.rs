//! The programs a command needs beside Rust: which are missing, and Debian's way to get them.
//!
//! Nothing is installed before it was said what. The services that Debian's packages would start at once, on all
//! interfaces, are neither started nor left to be started at the next boot.

use std::process::Stdio;

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::{files, postgres, rabbitmq, say};

/// Something needed from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// RabbitMQ, for a private broker.
    RabbitMq,
    /// PostgreSQL, for a private cluster.
    PostgreSql,
    /// The tools of ext4, to make a volume with a file system and to check it.
    Ext4Tools,
    /// The tools of XFS, for volumes whose snapshot shares their blocks.
    XfsTools,
    /// Python with its environments, for the clients that tests drive.
    PythonVenv,
    /// restic, to measure ourselves against.
    Restic,
    /// borg, to measure ourselves against.
    Borg,
    /// qemu-img, to measure ourselves against.
    QemuImg,
    /// perf, to see where the time goes.
    Perf,
    /// Prometheus's `promtool`, which checks the alert rules.
    Promtool,
    /// User Mode Linux, and what its guest needs to become a machine.
    UserModeLinux,
    /// The programs of the NFS server and client, for the guest: on this machine they are not started.
    NfsServer,
    /// Docker, of which an engine of our own is started.
    Docker,
    /// debootstrap, to make an image where none can be pulled.
    Debootstrap,
}

impl Need {
    fn is_there(self) -> bool {
        match self {
            Self::RabbitMq => {
                rabbitmq::server_script().is_some() && files::find_program("epmd").is_some()
            }
            Self::PostgreSql => ["initdb", "postgres", "pg_isready", "psql"]
                .iter()
                .all(|program| postgres::find(program).is_some()),
            Self::Ext4Tools => have(&["mke2fs", "debugfs", "e2fsck"]),
            Self::XfsTools => have(&["mkfs.xfs"]),
            Self::Perf => files::find_program("perf").is_some(),
            Self::Promtool => files::find_program("promtool").is_some(),
            Self::UserModeLinux => have(&["linux.uml", "insmod", "busybox", "ip"]),
            Self::NfsServer => have(&["rpc.nfsd", "exportfs", "rpcbind", "mount.nfs"]),
            Self::Docker => have(&["docker", "dockerd", "containerd", "runc", "iptables"]),
            Self::Debootstrap => have(&["debootstrap"]),
            Self::PythonVenv => files::find_program("python3").is_some_and(|python| {
                let mut command = std::process::Command::new(python);
                command.args(["-c", "import ensurepip, venv"]);
                let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
                quiet.status().is_ok_and(|status| status.success())
            }),
            Self::Restic => files::find_program("restic").is_some(),
            Self::Borg => files::find_program("borg").is_some(),
            Self::QemuImg => files::find_program("qemu-img").is_some(),
        }
    }

    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::RabbitMq => &["rabbitmq-server"],
            Self::PostgreSql => &["postgresql"],
            Self::Ext4Tools => &["e2fsprogs"],
            Self::XfsTools => &["xfsprogs"],
            Self::PythonVenv => &["python3-venv"],
            Self::Restic => &["restic"],
            Self::Borg => &["borgbackup"],
            Self::QemuImg => &["qemu-utils"],
            Self::Perf => &["linux-perf"],
            Self::Promtool => &["prometheus"],
            Self::UserModeLinux => &["user-mode-linux", "kmod", "busybox-static", "iproute2"],
            Self::NfsServer => &["nfs-kernel-server", "nfs-common", "rpcbind"],
            // In containers the engine sets rules for its name server.
            Self::Docker => &["docker.io", "iptables"],
            Self::Debootstrap => &["debootstrap"],
        }
    }

    fn purpose(self) -> &'static str {
        match self {
            Self::RabbitMq => "RabbitMQ, of which a private node will be started on loopback",
            Self::PostgreSql => {
                "PostgreSQL, of which a private cluster will be started on loopback"
            }
            Self::Ext4Tools => {
                "mke2fs, debugfs and e2fsck, to make and check a file system in a file"
            }
            Self::XfsTools => "mkfs.xfs, to make a file system that shares blocks between files",
            Self::PythonVenv => "Python with venv, for the clients that tests drive",
            Self::Restic => "restic, to measure ourselves against",
            Self::Borg => "borg, to measure ourselves against",
            Self::QemuImg => "qemu-img, to measure ourselves against",
            Self::Perf => "perf, to see where the time of a backup goes",
            Self::Promtool => "promtool of Prometheus, to check the alert rules",
            Self::UserModeLinux => "User Mode Linux, a kernel with NFS that runs as a program",
            Self::NfsServer => "the programs of the NFS server and client, for that kernel",
            Self::Docker => "Docker, of which an engine of our own will be started",
            Self::Debootstrap => "debootstrap, to make images where none can be pulled",
        }
    }
}

fn have(programs: &[&str]) -> bool {
    programs
        .iter()
        .all(|program| files::find_program(program).is_some())
}

/// Run as root: no service of the new packages starts, now or at boot.
const SCRIPT: &str = r#"
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\nexit 101\n' > $policy
    chmod 755 $policy
fi
epmd=/lib/systemd/system/epmd.socket # Erlang's name server comes with RabbitMQ
if [ -e $epmd ]; then epmd=; fi
# Comes with docker.io, unless it was there for somebody else.
command -v containerd > /dev/null && containerd= || containerd=containerd
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
if [ -n "$epmd" ] && [ -e $epmd ]; then set -- "$@" epmd; fi
for package in "$@"; do
    case $package in
        rabbitmq-server | epmd | postgresql | prometheus | nfs-kernel-server | rpcbind) units=$package ;;
        docker.io) units="docker $containerd" ;;
        *) continue ;;
    esac
    if command -v systemctl > /dev/null; then
        for unit in $units; do
            systemctl disable "$unit.service" || true
            systemctl disable "$unit.socket" 2> /dev/null || true
        done
    fi
done
"#;

/// Makes sure that everything needed is there. Says first what will be installed; with `allowed` false, refuses.
///
/// # Errors
/// When something is missing and may not or cannot be installed; the error says what to type.
pub async fn ensure(needs: &[Need], allowed: bool) -> Result<()> {
    let missing: Vec<Need> = needs
        .iter()
        .copied()
        .filter(|need| !need.is_there())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.iter().flat_map(|need| need.packages());
    let packages: Vec<&str> = packages.copied().collect();
    for need in &missing {
        say::line(format_args!("Missing: {}.", need.purpose()));
    }
    let by_hand = by_hand(&packages, missing.contains(&Need::RabbitMq));
    anyhow::ensure!(
        files::find_program("apt-get").is_some(),
        "this machine has no apt-get. {by_hand}"
    );
    anyhow::ensure!(allowed, "--no-install forbids to install it. {by_hand}");
    let is_root = rustix::process::geteuid().is_root();
    let sudo = files::find_program("sudo");
    let mut command = match (is_root, sudo) {
        (true, _) => Command::new("sh"),
        (false, Some(sudo)) => {
            let mut command = Command::new(sudo);
            command.arg("sh");
            command
        }
        (false, None) => anyhow::bail!("you are not root, and there is no sudo. {by_hand}"),
    };
    say::line(format_args!(
        "Installing now, with apt-get{}: {}. No service of them is started.",
        if is_root { "" } else { " through sudo" },
        packages.join(" ")
    ));
    let status = command
        .args(["-c", SCRIPT, "install"])
        .args(&packages)
        .stdin(Stdio::inherit())
        .status()
        .await
        .context("start apt-get")?;
    anyhow::ensure!(status.success(), "apt-get failed. {by_hand}");
    for need in missing {
        anyhow::ensure!(
            need.is_there(),
            "{} was installed, yet its programs are not there",
            need.packages().join(" ")
        );
    }
    Ok(())
}

fn by_hand(packages: &[&str], broker: bool) -> String {
    let mut text = format!(
        "Type, as root:\n\n    apt-get update && apt-get install --no-install-recommends {}\n",
        packages.join(" ")
    );
    if broker {
        text.push_str(
            "\nor use a broker that is there:\n\n    export EMBERKEEP__AMQP__URL=amqp://user:password@host:5672/%2f\n",
        );
    }
    text
}
