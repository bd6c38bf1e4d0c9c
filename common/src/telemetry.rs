//! Logs: one line per request and per settled job, with the same ids in both binaries.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::config::{LogFormat, Telemetry};

/// Libraries that would drown our own lines at `info`.
const QUIET: &str = "lapin=warn,sqlx=warn,hyper=warn,h2=warn,rustls=warn";

/// Starts logging to standard error for the rest of the process.
///
/// # Panics
/// When called twice in one process.
pub fn start(settings: &Telemetry) {
    let filter = EnvFilter::new(format!("{QUIET},{}", settings.filter));
    let registry = tracing_subscriber::registry().with(filter);
    match settings.format {
        LogFormat::Json => registry
            .with(
                fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_current_span(true)
                    .with_span_list(false)
                    .with_writer(std::io::stderr),
            )
            .init(),
        LogFormat::Text => registry
            .with(
                fmt::layer()
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_target(false)
                    .with_writer(std::io::stderr),
            )
            .init(),
    }
}

/// An error and all its sources on one line, for a log or a `fail_reason`.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
