//! What can go wrong between us and the broker.

use std::future::Future;

use super::BROKER_TIMEOUT;

/// Access refused: a login or a permission.
const ACCESS_REFUSED: u16 = 403;
/// No such queue or exchange.
const NOT_FOUND: u16 = 404;
/// Declared before with another argument.
const PRECONDITION_FAILED: u16 = 406;

/// Why something with the broker failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    /// `amqp.url` is not an AMQP url.
    #[error("configuration key `amqp.url`: {why}")]
    Url {
        /// The rule it breaks.
        why: String,
    },
    /// No connection.
    #[error("connect to the broker at {address}")]
    Connect {
        /// Host and port.
        address: String,
        /// Why not.
        source: Box<lapin::Error>,
    },
    /// A queue or exchange exists with another argument. Somebody must remove it, or give it a new name.
    #[error("declare {what}: it exists with another {argument}")]
    Mismatch {
        /// The queue or exchange.
        what: String,
        /// The argument that differs.
        argument: String,
        /// What the broker said.
        source: Box<lapin::Error>,
    },
    /// The broker refused or failed a request.
    #[error("{deed}")]
    Refused {
        /// What was wanted, for example "declare queue `bk.v1.rpc`".
        deed: String,
        /// What came back.
        source: Box<lapin::Error>,
    },
    /// The broker did not answer in time.
    #[error("{deed}: no answer within {} s", BROKER_TIMEOUT.as_secs())]
    Timeout {
        /// What was wanted.
        deed: String,
    },
    /// A message could not be moved to `bk.v1.parked`; it is back in its queue.
    #[error("park message: {why}")]
    NotParked {
        /// What became of the publish.
        why: String,
    },
    /// The link was told to stop.
    #[error("the link to the broker is stopping")]
    Stopped,
}

impl BrokerError {
    /// Trying again is no use before a person mends the configuration or the broker.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Url { .. } | Self::Mismatch { .. } => true,
            Self::Connect { source, .. } | Self::Refused { source, .. } => {
                amqp_code(source) == Some(ACCESS_REFUSED)
            }
            Self::Timeout { .. } | Self::NotParked { .. } | Self::Stopped => false,
        }
    }

    /// The queue or exchange does not exist. The channel it was asked on is closed by that.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { source, .. } if amqp_code(source) == Some(NOT_FOUND))
    }
}

fn amqp_code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(said) => Some(said.get_id()),
        _ => None,
    }
}

/// Waits for the broker, but not for ever. lapin's futures are large and every caller's future would
/// grow by them, so they are boxed here, before anything is awaited.
pub(super) fn within<T>(
    deed: impl Into<String>,
    answer: impl Future<Output = lapin::Result<T>>,
) -> impl Future<Output = Result<T, BrokerError>> {
    let deed = deed.into();
    let answer = tokio::time::timeout(BROKER_TIMEOUT, Box::pin(answer));
    async move {
        match answer.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => Err(BrokerError::Refused {
                deed,
                source: source.into(),
            }),
            Err(_) => Err(BrokerError::Timeout { deed }),
        }
    }
}

/// As [`within`], for declaring `what`: another argument than the existing one is named.
pub(super) async fn declaring<T>(
    what: String,
    answer: impl Future<Output = lapin::Result<T>>,
) -> Result<T, BrokerError> {
    match within(format!("declare {what}"), answer).await {
        Err(BrokerError::Refused { source, .. })
            if amqp_code(&source) == Some(PRECONDITION_FAILED) =>
        {
            Err(BrokerError::Mismatch {
                what,
                argument: differing_argument(&source.to_string())
                    .map_or_else(|| "argument".to_owned(), |name| format!("`{name}`")),
                source,
            })
        }
        other => other,
    }
}

/// The argument's name in "inequivalent arg 'x-delivery-limit' for queue …".
fn differing_argument(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("inequivalent arg '")?;
    rest.split_once('\'').map(|(name, _)| name)
}
