//! The two databases: what differs between them, and nothing else does.

use std::path::PathBuf;

use sqlx::error::DatabaseError;

/// Which one, by the configured url.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Engine {
    /// A file of one api-service.
    Sqlite {
        /// The file.
        file: PathBuf,
    },
    /// A server for any number of api-services.
    Postgres,
}

/// What makes a waiting or idle session of PostgreSQL end, so that an api-service that was stopped or cut off in the
/// middle of a change keeps the others from theirs for ten seconds, not for ever. A turn is waited for longer.
const POSTGRES_SESSION: &[&str] = &[
    "SET idle_in_transaction_session_timeout = '10s'",
    "SET lock_timeout = '20s'",
];

const SQLITE_SESSION: &[&str] = &[
    "PRAGMA busy_timeout = 10000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
];

impl Engine {
    /// The one that serves a url.
    pub(super) fn of(url: &str) -> Option<Self> {
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            return Some(Self::Postgres);
        }
        let rest = url.strip_prefix("sqlite:")?;
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let path = rest.split('?').next().unwrap_or(rest);
        Some(Self::Sqlite {
            file: PathBuf::from(path),
        })
    }

    /// The url to connect to. Only a server makes a database that is missing, and only SQLite can.
    pub(super) fn connect_to(&self, url: &str, as_server: bool) -> String {
        match self {
            Self::Sqlite { .. } => {
                let separator = if url.contains('?') { '&' } else { '?' };
                let mode = if as_server { "rwc" } else { "rw" };
                format!("{url}{separator}mode={mode}")
            }
            Self::Postgres => url.to_owned(),
        }
    }

    /// What a connection begins with.
    pub(super) fn session(&self) -> &'static [&'static str] {
        match self {
            Self::Sqlite { .. } => SQLITE_SESSION,
            Self::Postgres => POSTGRES_SESSION,
        }
    }

    /// Begins a change. Each statement of it must see what others had committed when the *statement* began: whoever
    /// waited for its turn sees what the one before it did.
    pub(super) fn begin(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED",
        }
    }

    /// Waits until no other change of these tables is under way, and lets none begin before the transaction has ended.
    /// SQLite does so by its beginning. The lock is named by a table, so whoever finds that takes the same.
    pub(super) fn take_turn(&self) -> Option<&'static str> {
        match self {
            Self::Sqlite { .. } => None,
            Self::Postgres => Some(
                "SELECT CAST(1 AS BIGINT) AS n FROM pg_advisory_xact_lock(\
                 1164796517::BIGINT << 32 | 'jobs'::REGCLASS::OID::BIGINT)",
            ),
        }
    }
}

/// Whether what a database refused for may pass. SQLite's codes are not told apart here: what our statements can
/// meet there is a lock, a lack of space, or a file that is gone. PostgreSQL's are, by class.
pub(super) fn may_pass(error: &dyn DatabaseError) -> bool {
    /// Connection; rollback; resources; another's lock; the operator; the system below.
    const CLASSES: [&str; 6] = ["08", "40", "53", "55", "57", "58"];
    /// A server that only reads, after a switch-over; a transaction that was ended for its idleness.
    const STATES: [&str; 2] = ["25006", "25P03"];
    match error.code() {
        Some(code) if code.len() == 5 => {
            CLASSES.contains(&&code[..2]) || STATES.contains(&code.as_ref())
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_its_engine() {
        let sqlite = |file: &str| Some(Engine::Sqlite { file: file.into() });
        assert_eq!(Engine::of("sqlite:///a/b.db"), sqlite("/a/b.db"));
        assert_eq!(Engine::of("sqlite://b.db?cache=shared"), sqlite("b.db"));
        assert_eq!(Engine::of("postgres://u@h/d"), Some(Engine::Postgres));
        assert_eq!(Engine::of("postgresql:///d"), Some(Engine::Postgres));
        assert_eq!(Engine::of("mysql://h/d"), None);
    }

    #[test]
    fn only_the_server_of_a_file_makes_one_that_is_missing() {
        let url = "sqlite://e.db";
        let engine = Engine::of(url).unwrap();
        assert_eq!(engine.connect_to(url, true), "sqlite://e.db?mode=rwc");
        assert_eq!(engine.connect_to(url, false), "sqlite://e.db?mode=rw");
    }
}
