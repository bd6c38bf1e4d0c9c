//! What the parts say of themselves: the api-service's `/metrics`, and the broker's management API.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// How long an answer may take on a machine that is full of work.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client of both.
#[derive(Debug)]
pub(super) struct Figures {
    client: reqwest::Client,
    metrics_url: String,
    management_url: String,
}

impl Figures {
    /// # Errors
    /// When there is no HTTP client to be had.
    pub(super) fn of(endpoint: &str, management_url: &str) -> Result<Self> {
        Ok(Self {
            client: reqwest::Client::builder()
                .no_proxy()
                .timeout(PATIENCE)
                .build()
                .context("make an HTTP client")?,
            metrics_url: format!("{endpoint}/metrics"),
            management_url: management_url.to_owned(),
        })
    }

    /// What the api-service has counted.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) async fn metrics(&self) -> Result<Metrics> {
        let answer = self.client.get(&self.metrics_url).send().await;
        let text = answer.context("ask for metrics")?.text().await;
        Ok(Metrics(text.context("read metrics")?))
    }

    /// Messages that wait in a queue, or are with a worker that has not acknowledged them; as the broker counted a moment ago.
    /// None in a queue that is not there.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) async fn queue_depth(&self, queue: &str) -> Result<u64> {
        let answer = self.management(&format!("queues/%2f/{queue}")).await?;
        Ok(answer["messages"].as_u64().unwrap_or(0))
    }

    /// Messages that were published since the broker's start, as it counted a moment ago.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) async fn published(&self) -> Result<u64> {
        let answer = self.management("overview").await?;
        Ok(answer["message_stats"]["publish"].as_u64().unwrap_or(0))
    }

    async fn management(&self, path: &str) -> Result<Value> {
        let url = format!("{}/api/{path}", self.management_url);
        let answer = self.client.get(&url).send().await;
        let answer = answer.with_context(|| format!("ask the broker for {path}"))?;
        let answer = answer.json().await;
        answer.with_context(|| format!("understand the broker's {path}"))
    }
}

/// Metrics in Prometheus's text form.
#[derive(Debug, Clone, Default)]
pub(super) struct Metrics(String);

impl Metrics {
    /// The sum of all series of this name that have these labels.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{value}\""))
            .collect();
        let value = |line: &str| -> Option<f64> {
            let rest = line.strip_prefix(name)?;
            if !rest.starts_with([' ', '{']) || !labels.iter().all(|label| rest.contains(label)) {
                return None;
            }
            rest.rsplit_once(' ')?.1.parse().ok()
        };
        self.0.lines().filter_map(value).sum()
    }

    /// Jobs of a kind that wait or run.
    pub(super) fn unsettled(&self, kind: &str) -> f64 {
        self.sum("emberkeep_jobs_unsettled", &[("kind", kind)])
    }

    /// Jobs of a kind that came to an end as they should.
    pub(super) fn done(&self, kind: &str) -> f64 {
        let labels = [("kind", kind), ("outcome", "done")];
        self.sum("emberkeep_jobs_settled_total", &labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_told_apart_by_their_labels_and_whole_names() {
        let metrics = Metrics(
            "# HELP emberkeep_jobs_unsettled Jobs that wait or run.\n\
             emberkeep_jobs_unsettled{kind=\"backup\",state=\"queued\"} 7\n\
             emberkeep_jobs_unsettled{kind=\"backup\",state=\"running\"} 3\n\
             emberkeep_jobs_unsettled{kind=\"clean\",state=\"queued\"} 100\n\
             emberkeep_jobs_settled_total{kind=\"backup\",outcome=\"done\"} 41\n\
             emberkeep_jobs_settled_total{kind=\"backup\",outcome=\"failed\"} 1\n\
             emberkeep_outbox_messages 2\n\
             emberkeep_outbox_messages_else 50\n"
                .to_owned(),
        );
        assert_eq!(metrics.unsettled("backup"), 10.0);
        assert_eq!(metrics.done("backup"), 41.0);
        assert_eq!(metrics.sum("emberkeep_outbox_messages", &[]), 2.0);
        assert_eq!(metrics.sum("emberkeep_unknown", &[]), 0.0);
    }
}
