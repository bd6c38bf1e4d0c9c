//! `[database]`: where the state owner keeps its rows.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ConfigError, amqp::without_password, secret_from_file};

/// Which database. SQLite serves exactly one api-service, PostgreSQL any number.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `sqlite:///absolute/path.db`, `sqlite://relative.db`, or
    /// `postgres://user:password@host:port/database?sslmode=…`.
    pub url: String,
    /// A file that holds the url, in place of `url`.
    pub url_file: Option<PathBuf>,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: "sqlite://emberkeep.db".to_owned(),
            url_file: None,
        }
    }
}

impl Database {
    pub(super) fn read_secret_file(&mut self) -> Result<(), ConfigError> {
        if let Some(path) = &self.url_file {
            self.url = secret_from_file("database.url_file", path)?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("url", &without_password(&self.url))
            .field("url_file", &self.url_file)
            .finish()
    }
}
