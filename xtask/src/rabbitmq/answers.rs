//! When a node that was started is of use.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Node, START_PATIENCE};
use crate::process::Process;

impl Node {
    /// Waits until the node is of use.
    pub(super) async fn answers(&self) {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(5))
            .build();
        let overview = format!("{}/api/overview", self.management_url());
        let mut clock = tokio::time::interval(Duration::from_millis(100));
        loop {
            clock.tick().await;
            let Ok(client) = &client else { continue };
            if greets((self.record.address, self.record.ports.amqp).into())
                .await
                .unwrap_or(false)
                && let Ok(answer) = client.get(&overview).send().await
                && answer.status().is_success()
            {
                return;
            }
        }
    }
}

/// Waits until someone listens on a port, as long as the process lives that should.
pub(super) async fn accepts(port: u16, process: Process) -> Result<()> {
    let connected = async {
        let mut clock = tokio::time::interval(Duration::from_millis(20));
        loop {
            clock.tick().await;
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return;
            }
        }
    };
    tokio::select! {
        () = connected => Ok(()),
        () = process.gone() => Err(anyhow::anyhow!("it ended at once")),
        () = tokio::time::sleep(START_PATIENCE) => Err(anyhow::anyhow!("nobody listens on port {port}")),
    }
}

/// Whether a broker speaks AMQP 0-9-1 there: it answers the protocol header with `Connection.Start`.
async fn greets(address: SocketAddr) -> Result<bool> {
    const PROTOCOL_HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";
    const METHOD_FRAME: u8 = 1;
    let greet = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(PROTOCOL_HEADER).await?;
        let mut answer = [0; 11];
        stream.read_exact(&mut answer).await?;
        // A frame's type, channel and length, then class 10, method 10.
        anyhow::Ok(answer[0] == METHOD_FRAME && answer[7..] == [0, 10, 0, 10])
    };
    tokio::time::timeout(Duration::from_secs(5), greet)
        .await
        .context("the broker does not answer")?
}
