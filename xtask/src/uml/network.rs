//! A network that only the guest and chosen programs of this machine are in: a namespace with one link between the two.
//!
//! It comes with [`Network::new`] and goes with its value, however this program ends: what holds it reads from us.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// The end of the link on this machine.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 117, 0, 1);
/// The guest's end.
pub(super) const GUEST: Ipv4Addr = Ipv4Addr::new(10, 117, 0, 2);
/// The link's name on this machine.
pub(super) const LINK: &str = "guest";

const SET_UP: &str = r#"
set -e
ip link set lo up
ip tuntap add "$1" mode tap
ip address add "$2/30" dev "$1"
ip link set "$1" up
echo ready
exec cat
"#;

/// The network, for as long as this lives.
#[derive(Debug)]
pub struct Network {
    holder: Child,
}

impl Network {
    /// Makes one. It needs root, and `/dev/net/tun`.
    ///
    /// # Errors
    /// When the system refuses; what it said was shown.
    pub async fn new() -> Result<Self> {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", SET_UP, "network"])
            .args([LINK, &HOST.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start unshare")?;
        let said = holder.stdout.take().context("its output is piped")?;
        let said = BufReader::new(said).lines().next_line().await;
        let is_ready = said.context("wait for the guest's network")?.is_some();
        anyhow::ensure!(
            is_ready,
            "a network for the guest cannot be made: that needs root and /dev/net/tun"
        );
        Ok(Self { holder })
    }

    /// A program of this machine that is in this network, and in no other.
    ///
    /// # Errors
    /// When the network is gone.
    pub fn command(&self, program: &Path) -> Result<Command> {
        let holder = self.holder.id().context("the guest's network is gone")?;
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{holder}/ns/net"))
            .arg("--")
            .arg(program);
        Ok(command)
    }
}
