//! One attempt to connect: url, name, heartbeat, topology.

use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};

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

/// Connects and declares the topology.
pub(super) async fn connect(uri: &AMQPUri, name: &str) -> Result<Connection, BrokerError> {
    let address = format!("{}:{}", uri.authority.host, uri.authority.port);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let connecting = Connection::connect_uri(uri.clone(), properties);
    // lapin has no time limit of its own here.
    let connection = match tokio::time::timeout(BROKER_TIMEOUT, connecting).await {
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
    Ok(connection)
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
