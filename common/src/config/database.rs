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

impl Database {
    /// The url without a password, which PostgreSQL's may also have among its parameters.
    fn shown_url(&self) -> String {
        let url = without_password(&self.url);
        match url.split_once("password=") {
            Some((before, after)) => {
                let end = after.find('&').unwrap_or(after.len());
                format!("{before}password=***{}", &after[end..])
            }
            None => url,
        }
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("url", &self.shown_url())
            .field("url_file", &self.url_file)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown_wherever_the_url_has_it() {
        for url in [
            "postgres://emberkeep:secret@db:5432/emberkeep?sslmode=require",
            "postgres://db/emberkeep?user=emberkeep&password=secret&sslmode=require",
            "postgres:///emberkeep?password=secret",
        ] {
            let database = Database {
                url: url.to_owned(),
                ..Database::default()
            };
            let shown = format!("{database:?}");
            assert!(!shown.contains("secret"), "{shown}");
            assert!(shown.contains("emberkeep"), "{shown}");
        }
    }
}
