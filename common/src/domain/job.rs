//! Jobs: their kinds, their states, and the queues they wait in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::spelled;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobKind {
    /// Reads a volume into a backup.
    Backup,
    /// Reads a backup into a volume.
    Restore,
    /// Removes a backup from the target.
    Delete,
    /// Makes, takes over or removes a volume.
    Volume,
    /// Removes what an attempt left behind.
    Clean,
}

spelled!(JobKind, "job kind", {
    Backup = "backup",
    Restore = "restore",
    Delete = "delete",
    Volume = "volume",
    Clean = "clean",
});

/// Where a job stands. `Settled` is the end; its outcome is kept beside.
///
/// ```text
/// queued ──claim──► running ──commit──► committing ──finish──► settled
///    ▲                 │                    │
///    └── lease end, release ◄───────────────┘      cancel without a lease: queued ──► settled
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Waits for a worker.
    Queued,
    /// A worker holds the lease.
    Running,
    /// The backup may no longer be cancelled; only finishing is left.
    Committing,
    /// Over.
    Settled,
}

spelled!(JobState, "job state", {
    Queued = "queued",
    Running = "running",
    Committing = "committing",
    Settled = "settled",
});

/// A zone's or backend's name as it stands in a routing key: `[a-z0-9-]`, 1 to 63 characters
/// (dots separate the words of a topic, so a name has none).
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[a-z0-9-]{1,63}$"))]
pub struct Token(String);

/// The text is no [`Token`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name of 1 to 63 characters a-z, 0-9 or `-`")]
pub struct BadToken(pub String);

impl Token {
    /// Checks and wraps the text.
    ///
    /// # Errors
    /// [`BadToken`] when a character or the length is not allowed.
    pub fn new(text: impl Into<String>) -> Result<Self, BadToken> {
        let text = text.into();
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=63).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text))
        } else {
            Err(BadToken(text))
        }
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::str::FromStr for Token {
    type Err = BadToken;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}
impl TryFrom<String> for Token {
    type Error = BadToken;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}
impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.0
    }
}

/// The queue a job waits in: `<kind>.<zone>.<backend>`.
///
/// The backend is the volume backend for `backup`, `restore` and `volume`, and for `clean` while a
/// snapshot may exist; it is the backup target's name for `delete` and other `clean`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueKey {
    /// What waits there.
    pub kind: JobKind,
    /// Where the work may run.
    pub zone: Token,
    /// Which backend a worker must reach to do it.
    pub backend: Token,
}

impl std::fmt::Display for QueueKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.kind, self.zone, self.backend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_no_dot_and_no_capital() {
        assert!(Token::new("az-1").is_ok());
        for bad in ["", "a.b", "AZ", "a b", &"x".repeat(64)] {
            assert_eq!(Token::new(bad), Err(BadToken(bad.to_owned())));
        }
    }
}
