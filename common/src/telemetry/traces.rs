//! Traces: spans of both binaries, sent to a collector by OTLP over HTTP.
//!
//! ```text
//! HTTP request ─► row of the job ─► outbox ─► publish ─► header `traceparent` ─► claim, job ─► its steps
//!   traceparent    traceparent      traceparent                                   └─► requests to the state owner
//! ```
//!
//! A span of a trace has the target [`TARGET`]; [`step`](crate::step) makes most of them. Without a collector they are
//! disabled, and cost a comparison each. How many spans a job has does not depend on the size of its volume: what is
//! done over and over is one span that is entered again and again, and its `busy_ns` is the sum.
//!
//! Spans are handed to a thread of the SDK, which sends them in batches; nobody waits for it. What it cannot send, or
//! has no room for, is lost, and said once in the log.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::{
    SpanContext, TraceContextExt, TraceFlags, TraceState, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue, SpanId, TraceId};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter,
};
use tracing::{Level, Metadata, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::error_chain;
use crate::config::Telemetry;
use crate::domain::TraceParent;

/// What all spans of traces have as their target, and nothing else has.
pub const TARGET: &str = "emberkeep::trace";
/// The header of a request or message that names its place in a trace.
pub const HEADER: &str = "traceparent";

/// How often spans are sent.
const SEND_EVERY: Duration = Duration::from_secs(2);
/// How long the collector may take for a batch.
const SEND_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the last spans may hold up the end of the process.
const LAST_SPANS: Duration = Duration::from_secs(3);
/// The crates whose lines of the log become events of the span they are said in.
const OURS: [&str; 3] = ["api_service", "backup_worker", "common"];

/// Who sends spans.
#[derive(Debug, Clone, Copy)]
pub struct Service<'a> {
    /// The program.
    pub name: &'a str,
    /// Which of several.
    pub instance: &'a str,
}

/// Why traces could not be started.
#[derive(Debug, thiserror::Error)]
#[error("make a sender of traces to {endpoint}")]
pub struct StartError {
    endpoint: String,
    source: opentelemetry_otlp::ExporterBuildError,
}

/// Traces that are being sent. Dropped, it sends what is left, which takes 3 s at most.
#[derive(Debug)]
#[must_use = "dropped, it sends what is left and ends the traces"]
pub struct Traces(Option<SdkTracerProvider>);

impl Drop for Traces {
    fn drop(&mut self) {
        if let Some(provider) = self.0.take()
            && let Err(error) = provider.shutdown_with_timeout(LAST_SPANS)
        {
            tracing::warn!(
                error = error_chain(&error),
                "the last spans of traces are lost"
            );
        }
    }
}

/// The layer that makes spans, and what ends it; neither without a configured collector.
pub(super) fn start<S>(
    settings: &Telemetry,
    service: Service<'_>,
) -> Result<(Option<impl Layer<S>>, Traces), StartError>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    let Some(endpoint) = settings.traces_endpoint() else {
        return Ok((None, Traces(None)));
    };
    let sender = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(&endpoint)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(SEND_TIMEOUT)
        .with_retry_policy(opentelemetry_otlp::RetryPolicy::disabled())
        .build()
        .map_err(|source| StartError { endpoint, source })?;
    let sender = Sender {
        inner: sender,
        fails: AtomicBool::new(false),
    };
    let batches = BatchConfigBuilder::default()
        .with_scheduled_delay(SEND_EVERY)
        .build();
    let resource = Resource::builder_empty()
        .with_service_name(service.name.to_owned())
        .with_attributes([
            KeyValue::new("service.namespace", "emberkeep"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", service.instance.to_owned()),
        ])
        .build();
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(sampler(settings.sample_ratio))
        .with_span_processor(
            BatchSpanProcessor::builder(sender)
                .with_batch_config(batches)
                .build(),
        )
        .build();
    Ok((Some(layer(&provider)), Traces(Some(provider))))
}

fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("emberkeep"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        // Asked anew each time, with the log's filter: a library that asks whether something would be logged, and then
        // does not log it, leaves the answer behind, and the next line would get it if nothing were asked for that.
        .with_filter(dynamic_filter_fn(|of, _| is_traced(of)))
}

/// Who began a trace decides whether it is recorded; of those that begin here, this part is.
fn sampler(ratio: f64) -> Sampler {
    Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)))
}

/// Spans for traces, and what is said in them.
fn is_traced(of: &Metadata<'_>) -> bool {
    if of.is_span() {
        return of.target() == TARGET;
    }
    let krate = of.target().split("::").next().unwrap_or_default();
    *of.level() <= Level::INFO && OURS.contains(&krate)
}

/// Sends spans, and says once that it cannot, and once that it can again.
#[derive(Debug)]
struct Sender {
    inner: opentelemetry_otlp::SpanExporter,
    fails: AtomicBool,
}

impl SpanExporter for Sender {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let sent = self.inner.export(batch).await;
        let failed_before = self.fails.swap(sent.is_err(), Ordering::Relaxed);
        match &sent {
            Err(error) if !failed_before => {
                let error = error_chain(error);
                tracing::warn!(
                    error,
                    "traces cannot be sent; spans are lost until they can"
                );
            }
            Ok(()) if failed_before => tracing::info!("traces are sent again"),
            Err(_) | Ok(()) => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Makes a span the child of what `parent` names, in another process or an earlier one. To be called before the span
/// is entered. Without a parent it stays what it is.
pub fn follow(span: &Span, parent: Option<TraceParent>) {
    if let Some(parent) = parent {
        let context = Context::new().with_remote_span_context(context_of(parent));
        // A span that nobody traces has no parent to set.
        let _ = span.set_parent(context);
    }
}

/// The span that `make` makes, as a child of what `place` names; none if there is no such place: what nobody began to
/// trace is not begun here.
#[must_use]
pub fn within(place: Option<TraceParent>, make: impl FnOnce() -> Span) -> Span {
    if place.is_none() {
        return Span::none();
    }
    let span = make();
    follow(&span, place);
    span
}

/// Keeps a span, and all that is done in it, out of traces. To be called before the span is entered.
pub fn leave_out(span: &Span) {
    let _ = span.set_parent(Context::new().with_telemetry_suppressed());
}

/// What a message or row that comes of this span should carry; `None` if it is not traced.
#[must_use]
pub fn place_of(span: &Span) -> Option<TraceParent> {
    place_in(&span.context())
}

/// What a message should carry that comes of what this thread does now; `None` if that is not traced.
#[must_use]
pub fn place_here() -> Option<TraceParent> {
    Context::map_current(place_in)
}

fn place_in(context: &Context) -> Option<TraceParent> {
    let span = context.span();
    let span = span.span_context();
    Some(TraceParent {
        trace_id: u128::from_be_bytes(span.trace_id().to_bytes())
            .try_into()
            .ok()?,
        span_id: u64::from_be_bytes(span.span_id().to_bytes())
            .try_into()
            .ok()?,
        sampled: span.is_sampled(),
    })
}

fn context_of(place: TraceParent) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(place.trace_id.get().to_be_bytes()),
        SpanId::from_bytes(place.span_id.get().to_be_bytes()),
        TraceFlags::default().with_sampled(place.sampled),
        true,
        TraceState::NONE,
    )
}

/// A span for traces: [`step!`](crate::step)`("seal")`, or with fields as [`tracing::info_span!`] has them.
#[macro_export]
macro_rules! step {
    ($($span:tt)+) => {
        ::tracing::info_span!(target: $crate::telemetry::traces::TARGET, $($span)+)
    };
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::prelude::*;

    use super::*;

    fn place(sampled: bool) -> TraceParent {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        TraceParent {
            sampled,
            ..text.parse().unwrap()
        }
    }

    /// Runs it with traces of which this part is recorded, and nobody to send them to.
    fn traced<T>(sample_ratio: f64, run: impl FnOnce() -> T) -> T {
        let provider = SdkTracerProvider::builder()
            .with_sampler(sampler(sample_ratio))
            .build();
        let subscriber = tracing_subscriber::registry().with(layer(&provider));
        tracing::subscriber::with_default(subscriber, run)
    }

    #[test]
    fn a_span_stays_in_the_trace_that_it_follows_and_has_a_place_of_its_own() {
        for sampled in [true, false] {
            // Whatever part of the others is recorded, the caller decides for its own.
            for ratio in [0.0, 1.0] {
                let span = traced(ratio, || {
                    let span = within(Some(place(sampled)), || crate::step!("work"));
                    place_of(&span)
                });
                let span = span.unwrap();
                assert_eq!(span.trace_id, place(sampled).trace_id);
                assert_ne!(span.span_id, place(sampled).span_id);
                assert_eq!(span.sampled, sampled);
            }
        }
    }

    #[test]
    fn what_is_done_in_a_span_has_the_place_of_the_innermost_whatever_spans_the_log_has() {
        traced(1.0, || {
            assert_eq!(place_here(), None);
            let outer = crate::step!("outer").entered();
            let of_the_log = tracing::info_span!("for the log alone").entered();
            assert_eq!(place_here(), place_of(&outer));
            let inner = crate::step!("inner").entered();
            assert_eq!(place_here(), place_of(&inner));
            assert_ne!(place_of(&inner), place_of(&outer));
            assert_eq!(place_of(&of_the_log), None);
        });
    }

    #[test]
    fn a_span_that_is_left_out_and_all_in_it_have_no_place() {
        traced(1.0, || {
            let span = crate::step!("probe");
            leave_out(&span);
            let _in_it = span.clone().entered();
            assert_eq!(place_of(&span), None);
            assert_eq!(place_of(&crate::step!("work")), None);
            assert_eq!(place_here(), None);
        });
    }

    #[test]
    fn without_a_collector_nothing_has_a_place() {
        let span = within(Some(place(true)), || crate::step!("work"));
        assert!(span.is_disabled());
        assert_eq!(place_of(&span), None);
        assert_eq!(place_here(), None);
    }
}
