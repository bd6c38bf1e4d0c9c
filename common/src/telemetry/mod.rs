//! Logs and traces.
//!
//! * Logs: one line per request and per settled job, with the same ids in both binaries.
//! * [`traces`]: one trace from a request to the end of its job, if a collector is configured.
//!
//! Their spans are two sets that do not see each other: a line of the log has the ids of `request` or `job`, and not of
//! whichever step of it a trace is in.

pub mod traces;

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::config::{LogFormat, Telemetry};
use traces::{Service, StartError, Traces};

/// Libraries that would drown our own lines at `info`, and the spans that are for traces alone.
const QUIET: &str = "lapin=warn,sqlx=warn,hyper=warn,h2=warn,rustls=warn,reqwest=warn";

/// Starts logging to standard error for the rest of the process, and sending traces, if that is configured, until what
/// comes back is dropped.
///
/// # Errors
/// When a sender of traces cannot be made. That nobody listens at the other end is no error.
///
/// # Panics
/// When called twice in one process.
pub fn start(settings: &Telemetry, service: Service<'_>) -> Result<Traces, StartError> {
    let filter = EnvFilter::new(format!(
        "{QUIET},{},{}=off",
        settings.filter,
        traces::TARGET
    ));
    let (traced, traces) = traces::start(settings, service)?;
    let registry = tracing_subscriber::registry().with(traced);
    match settings.format {
        LogFormat::Json => registry
            .with(
                fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_current_span(true)
                    .with_span_list(false)
                    .with_writer(std::io::stderr)
                    .with_filter(filter),
            )
            .init(),
        LogFormat::Text => registry
            .with(
                fmt::layer()
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_target(false)
                    .with_writer(std::io::stderr)
                    .with_filter(filter),
            )
            .init(),
    }
    Ok(traces)
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
