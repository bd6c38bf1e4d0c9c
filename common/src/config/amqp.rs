//! `[amqp]`: the broker.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ConfigError, secret_from_file};

/// How to reach RabbitMQ.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Amqp {
    /// `amqp://user:password@host:port/vhost`, or `amqps://…`.
    pub url: String,
    /// A file that holds the url, in place of `url`.
    pub url_file: Option<PathBuf>,
    /// Which logins may publish requests of their own. Nobody, unless named here.
    pub publishers: BTreeMap<String, AllowedPublisher>,
}

/// A login of the broker that may publish requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AllowedPublisher {
    /// The projects it may act for.
    pub projects: Vec<String>,
}

impl Default for Amqp {
    fn default() -> Self {
        Self {
            url: "amqp://guest:guest@127.0.0.1:5672/%2f".to_owned(),
            url_file: None,
            publishers: BTreeMap::new(),
        }
    }
}

impl Amqp {
    pub(super) fn read_secret_file(&mut self) -> Result<(), ConfigError> {
        if let Some(path) = &self.url_file {
            self.url = secret_from_file("amqp.url_file", path)?;
        }
        Ok(())
    }

    /// The url without its password, for logs.
    #[must_use]
    pub fn shown_url(&self) -> String {
        without_password(&self.url)
    }
}

/// A url with `***` in place of a password.
pub(super) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    match authority.rsplit_once('@') {
        Some((login, host)) => {
            let user = login.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:***@{host}{path}")
        }
        None => url.to_owned(),
    }
}

impl std::fmt::Debug for Amqp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Amqp")
            .field("url", &self.shown_url())
            .field("url_file", &self.url_file)
            .field("publishers", &self.publishers)
            .finish()
    }
}
