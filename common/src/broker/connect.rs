//! One attempt to connect: url, name, heartbeat, topology.
//!
//! lapin waits without a limit for a peer that accepts and then says nothing, with a thread and
//! half a mebibyte of buffers for each such attempt, and as long for the goodbye of one that fell
//! silent later. So we keep a hand on the socket ([`Wire`]) and shut it when we are done waiting.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};

use lapin::tcp::{AsyncTcpStream, OwnedTLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties, runtime};
use tokio_util::sync::CancellationToken;

use super::error::within;
use super::{BROKER_TIMEOUT, BrokerError, topology};

/// A dead peer is noticed after about twice this, on both sides.
const HEARTBEAT_SECONDS: u16 = 15;

/// Reads `amqp.url`. A heartbeat is added when it has none.
pub(super) fn parse_url(url: &str) -> Result<AMQPUri, BrokerError> {
    let mut uri: AMQPUri = url.parse().map_err(|why| BrokerError::Url { why })?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    Ok(uri)
}

/// The socket below a connection; shut when dropped.
#[derive(Debug, Default)]
pub(super) struct Wire(Arc<Socket>);

#[derive(Debug, Default)]
struct Socket {
    stream: OnceLock<TcpStream>,
    given_up: CancellationToken,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.0.given_up.cancel();
        if let Some(stream) = self.0.stream.get() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Connects and declares the topology.
pub(super) async fn connect(uri: &AMQPUri, name: &str) -> Result<(Connection, Wire), BrokerError> {
    let address = format!("{}:{}", uri.authority.host, uri.authority.port);
    let wire = Wire::default();
    let connecting = tokio::time::timeout(BROKER_TIMEOUT, shake_hands(uri, name, &wire));
    let connection = match connecting.await {
        Ok(Ok(connection)) => connection,
        Ok(Err(source)) => {
            let source = source.into();
            return Err(BrokerError::Connect { address, source });
        }
        Err(_) => {
            let deed = format!("connect to the broker at {address}");
            return Err(BrokerError::Timeout { deed });
        }
    };
    let channel = within("open a channel", connection.create_channel()).await?;
    topology::declare(&channel).await?;
    Ok((connection, wire))
}

async fn shake_hands(uri: &AMQPUri, name: &str, wire: &Wire) -> lapin::Result<Connection> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let socket = Arc::clone(&wire.0);
    let runtime = runtime::default_runtime()?;
    // lapin calls the closure on a thread of its own.
    Connection::connector(
        uri.clone(),
        runtime,
        async move |uri: AMQPUri, runtime| {
            let open = async {
                let host = uri.authority.host.as_str();
                let addresses = tokio::net::lookup_host((host, uri.authority.port)).await?;
                let addresses: Vec<_> = addresses.collect();
                let stream = AsyncTcpStream::connect(&runtime, addresses.as_slice()).await?;
                if let AsyncTcpStream::Plain(plain) = &stream {
                    let hand = plain.get_ref().as_fd().try_clone_to_owned()?;
                    let _ = socket.stream.set(hand.into());
                }
                match uri.scheme {
                    AMQPScheme::AMQP => Ok(stream),
                    AMQPScheme::AMQPS => {
                        let config = OwnedTLSConfig::default();
                        stream.into_tls(host, config.as_ref()).await
                    }
                }
            };
            let opened = socket.given_up.run_until_cancelled(open).await;
            let given_up = || io::Error::new(io::ErrorKind::TimedOut, "given up");
            opened
                .unwrap_or_else(|| Err(given_up()))
                .map_err(Into::into)
        },
        properties,
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_added_only_when_the_url_has_none() {
        let heartbeat = |url| parse_url(url).unwrap().query.heartbeat;
        assert_eq!(heartbeat("amqp://h:1/%2f"), Some(HEARTBEAT_SECONDS));
        assert_eq!(heartbeat("amqp://h:1/%2f?heartbeat=3"), Some(3));
    }

    #[test]
    fn a_url_of_another_kind_is_refused_and_the_key_named() {
        let error = parse_url("http://h/").unwrap_err();
        assert!(error.to_string().contains("amqp.url"), "{error}");
        assert!(error.is_fatal());
    }
}
