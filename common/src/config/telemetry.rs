//! `[telemetry]`: logs and traces.

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// What is logged and how, and where traces go.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// A filter such as `info` or `info,backup_worker=debug`.
    pub filter: String,
    /// The form of a line.
    pub format: LogFormat,
    /// A collector of traces, for example `http://127.0.0.1:4318`; none by default, and then there are no traces. Spans go
    /// to `/v1/traces` there, by OTLP over HTTP without TLS: a collector beside the service can send them on.
    pub otlp_endpoint: Option<String>,
    /// Which part of the traces that begin here is recorded, from 0 to 1. One that a caller began is recorded if the
    /// caller records it.
    pub sample_ratio: f64,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::Text,
            otlp_endpoint: None,
            sample_ratio: 1.0,
        }
    }
}

impl Telemetry {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if let Some(endpoint) = &self.otlp_endpoint {
            let host = endpoint.strip_prefix("http://").unwrap_or_default();
            if host.trim_end_matches('/').is_empty() {
                return Err(ConfigError::invalid(
                    "telemetry.otlp_endpoint",
                    "must be an address such as http://127.0.0.1:4318; TLS is left to a collector beside the service",
                ));
            }
        }
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            return Err(ConfigError::invalid(
                "telemetry.sample_ratio",
                "must be from 0 to 1",
            ));
        }
        Ok(())
    }

    /// Where spans go, if anywhere.
    pub(crate) fn traces_endpoint(&self) -> Option<String> {
        let endpoint = self.otlp_endpoint.as_deref()?;
        Some(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
    }
}
