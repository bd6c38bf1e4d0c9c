//! The HTTP client.

mod backups;
mod records;
mod snapshots;
mod volumes;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use common::domain::{BackupId, BackupStatus};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use backups::NewBackup;
pub use records::Record;

/// The highest version, so that answers have every field.
const VERSION: &str = "volume 3.71";

/// Project of a stack's own client; publishers may act for it too.
pub(crate) const PROJECT: &str = "00000000000000000000000000000001";

/// A caller of the Block Storage API. Clones share what they have seen.
#[derive(Debug, Clone)]
pub struct Api {
    base: String,
    token: String,
    traceparent: Option<String>,
    http: reqwest::Client,
    seen: Arc<Mutex<HashMap<BackupId, BackupStatus>>>,
}

/// An answer of the API, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body; null when there is none.
    pub body: Value,
    what: String,
}

impl Answer {
    /// The body of an answer that must have this status.
    ///
    /// # Panics
    /// When it has another.
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(
            self.status, status,
            "{} was answered {}",
            self.what, self.body
        );
        self.body
    }

    /// Checks status, key and message of a refusal.
    ///
    /// # Panics
    /// When it is no such refusal.
    pub fn refused(self, status: u16, key: &str, message: &str) {
        let what = self.what.clone();
        let body = self.expect(status);
        assert_eq!(body[key]["code"], status, "{what} was answered {body}");
        let said = body[key]["message"].as_str().unwrap_or_default();
        assert!(
            said.contains(message),
            "{what} was answered `{said}`, not `{message}`"
        );
    }
}

fn parse<T: DeserializeOwned>(value: &Value) -> T {
    T::deserialize(value).unwrap_or_else(|error| panic!("{error} in {value}"))
}

fn id_in<Id: std::str::FromStr>(value: &Value) -> Id {
    value["id"]
        .as_str()
        .and_then(|id| id.parse().ok())
        .unwrap_or_else(|| panic!("no id in {value}"))
}

impl Api {
    /// A client of the api-service at `base`.
    pub(crate) fn new(base: String) -> Self {
        Self {
            base,
            token: format!("tester:{PROJECT}"),
            traceparent: None,
            // A killed service leaves dead connections behind, so none is kept.
            http: reqwest::Client::builder()
                .pool_max_idle_per_host(0)
                .no_proxy()
                .build()
                .expect("a client can be made"),
            seen: Arc::default(),
        }
    }

    /// The same service, called by another project.
    #[must_use]
    pub fn as_project(&self, project: &str) -> Self {
        Self {
            token: format!("tester:{project}"),
            ..self.clone()
        }
    }

    /// The same service, called from this place in a trace.
    #[must_use]
    pub fn traced(&self, traceparent: &str) -> Self {
        Self {
            traceparent: Some(traceparent.to_owned()),
            ..self.clone()
        }
    }

    /// Where it is, without a path.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Sends one request and gives the answer, whatever it is.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, reqwest::Error> {
        let what = match &body {
            Some(body) => format!("{method} {path} {body}"),
            None => format!("{method} {path}"),
        };
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .header("X-Auth-Token", &self.token)
            .header("Accept", "application/json")
            .header("OpenStack-API-Version", VERSION);
        if let Some(traceparent) = &self.traceparent {
            request = request.header("traceparent", traceparent);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(if text.is_empty() {
            Value::Null
        } else {
            Value::String(text)
        });
        Ok(Answer { status, body, what })
    }

    /// Sends one request and gives the answer, whatever it is.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.try_send(method.clone(), path, body)
            .await
            .unwrap_or_else(|error| panic!("{method} {path}: {error:?}"))
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    /// `POST` of a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    /// All pages of a list.
    async fn list(&self, resource: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut path = format!("/v3/{resource}/detail?all_tenants=1");
        loop {
            let mut page = self.get(&path).await.expect(200);
            let Value::Array(rows) = page[resource].take() else {
                panic!("no list of {resource} in {page}");
            };
            all.extend(rows);
            let links = &page[format!("{resource}_links")];
            let Some(next) = links[0]["href"].as_str() else {
                return all;
            };
            path = next
                .strip_prefix(&self.base)
                .unwrap_or_else(|| panic!("`{next}` leads away from {}", self.base))
                .to_owned();
        }
    }
}
