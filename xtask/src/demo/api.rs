//! The few calls of the Block Storage API that the story needs.

use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// How long a volume may take for something short.
const VOLUME_PATIENCE: Duration = Duration::from_secs(120);

/// A client of one api-service, with authentication off.
#[derive(Debug)]
pub(crate) struct Api {
    client: reqwest::Client,
    endpoint: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
}

impl Answer {
    /// The message of a refusal, `{"badRequest": {"message": …}}`.
    pub(crate) fn message(&self) -> &str {
        let fault = self
            .body
            .as_object()
            .and_then(|fault| fault.values().next());
        fault
            .and_then(|fault| fault["message"].as_str())
            .unwrap_or("no message")
    }
}

impl Api {
    pub(crate) fn new(endpoint: &str) -> Result<Self> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()
            .context("make an HTTP client")?;
        Ok(Self {
            client,
            endpoint: endpoint.to_owned(),
        })
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Value) -> Result<Answer> {
        let what = format!("{method} /v3/{path}");
        let mut request = self
            .client
            .request(method, format!("{}/v3/{path}", self.endpoint))
            .header("OpenStack-API-Version", "volume 3.71");
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await.with_context(|| what.clone())?;
        let status = answer.status();
        let text = answer.text().await.with_context(|| what)?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer { status, body })
    }

    /// A call outside the Block Storage API.
    pub(crate) async fn plain(&self, method: Method, path: &str) -> Result<Answer> {
        let what = format!("{method} {path}");
        let request = self
            .client
            .request(method, format!("{}{path}", self.endpoint));
        let answer = request.send().await.with_context(|| what.clone())?;
        let status = answer.status();
        let body = answer.json().await.with_context(|| what)?;
        Ok(Answer { status, body })
    }

    /// A call that is meant to be accepted.
    async fn accepted(&self, method: Method, path: &str, body: Value) -> Result<Value> {
        let answer = self.call(method.clone(), path, body).await?;
        anyhow::ensure!(
            answer.status.is_success(),
            "{method} /v3/{path} was refused with {}: {}",
            answer.status,
            answer.message()
        );
        Ok(answer.body)
    }

    /// Takes over the file `source` below the backend's root; returns the volume's id.
    pub(crate) async fn manage(&self, backend: &str, source: &str, name: &str) -> Result<String> {
        let volume = json!({"host": backend, "ref": {"source-name": source}, "name": name});
        let body = json!({"volume": volume});
        let answer = self
            .accepted(Method::POST, "manageable_volumes", body)
            .await?;
        id_of(&answer["volume"])
    }

    pub(crate) async fn volume_action(&self, id: &str, action: Value) -> Result<()> {
        let path = format!("volumes/{id}/action");
        self.accepted(Method::POST, &path, action).await.map(|_| ())
    }

    pub(crate) async fn delete_volume(&self, id: &str) -> Result<()> {
        let path = format!("volumes/{id}");
        self.accepted(Method::DELETE, &path, Value::Null).await?;
        self.volume_settles(id, None).await.map(|_| ())
    }

    /// Waits until a volume has a status, or (`None`) is gone.
    pub(crate) async fn volume_settles(&self, id: &str, status: Option<&str>) -> Result<Value> {
        let path = format!("volumes/{id}");
        let wait = async {
            let mut clock = tokio::time::interval(Duration::from_millis(50));
            loop {
                clock.tick().await;
                let answer = self.call(Method::GET, &path, Value::Null).await?;
                let volume = &answer.body["volume"];
                let now = match answer.status {
                    StatusCode::NOT_FOUND => None,
                    _ => volume["status"].as_str(),
                };
                if now == status {
                    return Ok(volume.clone());
                }
                anyhow::ensure!(
                    !now.unwrap_or("gone").starts_with("error"),
                    "the volume came to `{}` instead of `{}`",
                    now.unwrap_or("gone"),
                    status.unwrap_or("gone")
                );
            }
        };
        tokio::time::timeout(VOLUME_PATIENCE, wait)
            .await
            .with_context(|| format!("the volume does not become `{}`", status.unwrap_or("gone")))?
    }

    /// Asks for a backup; refused or not.
    pub(crate) async fn ask_for_backup(&self, backup: Value) -> Result<Answer> {
        let body = json!({"backup": backup});
        self.call(Method::POST, "backups", body).await
    }

    /// Asks for a backup that is meant to be accepted; returns its id.
    pub(crate) async fn create_backup(&self, backup: Value) -> Result<String> {
        let body = json!({"backup": backup});
        let answer = self.accepted(Method::POST, "backups", body).await?;
        id_of(&answer["backup"])
    }

    pub(crate) async fn backup(&self, id: &str) -> Result<Value> {
        let path = format!("backups/{id}");
        let answer = self.accepted(Method::GET, &path, Value::Null).await?;
        Ok(answer["backup"].clone())
    }

    /// What a worker last said of the job of a backup, while one runs.
    pub(crate) async fn progress(&self, id: &str) -> Result<Option<Value>> {
        let path = format!("backups/{id}/emberkeep-progress");
        let answer = self.call(Method::GET, &path, Value::Null).await?;
        Ok(answer.status.is_success().then_some(answer.body))
    }

    /// Asks for a restore to a new volume; returns the volume's id.
    pub(crate) async fn restore(&self, backup: &str, name: &str) -> Result<String> {
        let path = format!("backups/{backup}/restore");
        let body = json!({"restore": {"name": name}});
        let answer = self.accepted(Method::POST, &path, body).await?;
        text_of(&answer["restore"], "volume_id")
    }
}

fn id_of(object: &Value) -> Result<String> {
    text_of(object, "id")
}

fn text_of(object: &Value, member: &str) -> Result<String> {
    object[member]
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("the answer has no `{member}`"))
}
