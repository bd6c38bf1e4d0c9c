//! A collector of traces: takes spans as any OpenTelemetry collector does, by OTLP over HTTP, and keeps them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio_util::sync::CancellationToken;

use crate::wait::until;

/// A span as it came in.
#[derive(Debug, Clone, PartialEq)]
pub struct TracedSpan {
    /// Which program it is of.
    pub service: String,
    /// Which of several.
    pub instance: String,
    /// The trace, in hexadecimal digits.
    pub trace_id: String,
    /// Its own id.
    pub id: String,
    /// The id of its parent; empty for a root.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// When it began, in nanoseconds since 1970.
    pub began_ns: u64,
    /// When it ended.
    pub ended_ns: u64,
    /// Its attributes, as text.
    pub attributes: BTreeMap<String, String>,
}

/// All spans that came in, one batch after another.
type Kept = Arc<Mutex<Vec<TracedSpan>>>;

/// A collector with a thread of its own.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    kept: Kept,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Collector {
    /// Listens on a free port of loopback.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port can be had");
        listener.set_nonblocking(true).expect("a socket can be set");
        let address = listener.local_addr().expect("a listener has an address");
        let kept = Kept::default();
        let stop = CancellationToken::new();
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(Arc::clone(&kept));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be made");
            let serve = async move {
                let listener = tokio::net::TcpListener::from_std(listener);
                axum::serve(listener.expect("a socket can be used"), router).await
            };
            runtime.block_on(stopped.run_until_cancelled(serve));
        });
        Self {
            address,
            kept,
            stop,
            thread: Some(thread),
        }
    }

    /// Its address as `telemetry.otlp_endpoint` has it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The spans of one trace that came in so far.
    ///
    /// # Panics
    /// Never but for a poisoned lock.
    #[must_use]
    pub fn trace(&self, trace_id: &str) -> Vec<TracedSpan> {
        let kept = self.kept.lock().expect("not poisoned");
        let of_trace = kept.iter().filter(|span| span.trace_id == trace_id);
        of_trace.cloned().collect()
    }

    /// All spans that came in so far.
    ///
    /// # Panics
    /// Never but for a poisoned lock.
    #[must_use]
    pub fn spans(&self) -> Vec<TracedSpan> {
        self.kept.lock().expect("not poisoned").clone()
    }

    /// Waits until the trace has a span of each of these names, with all that is between it and `root`, the caller's own
    /// span. There may be others without: a process that is killed loses what it has not ended.
    ///
    /// # Panics
    /// When that never becomes true.
    pub async fn until_trace(&self, trace_id: &str, root: &str, names: &[&str]) -> Vec<TracedSpan> {
        until("all spans of a trace", async || {
            let spans = self.trace(trace_id);
            let has = |name: &&str| {
                let mut named = spans.iter().filter(|span| span.name == **name);
                named.any(|span| comes_of(&spans, span, root))
            };
            names.iter().all(has).then_some(spans)
        })
        .await
    }
}

/// Whether a span's parents lead to `root`, one after another.
#[must_use]
pub fn comes_of(spans: &[TracedSpan], span: &TracedSpan, root: &str) -> bool {
    let mut span = span;
    while span.parent != root {
        match spans.iter().find(|other| other.id == span.parent) {
            Some(parent) => span = parent,
            None => return false,
        }
    }
    true
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn take(State(kept): State<Kept>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return StatusCode::BAD_REQUEST;
    };
    let mut kept = kept.lock().expect("not poisoned");
    for of_resource in request.resource_spans {
        let resource = of_resource.resource.unwrap_or_default();
        let resource = texts(resource.attributes);
        let spans = of_resource.scope_spans.into_iter();
        kept.extend(
            spans
                .flat_map(|scope| scope.spans)
                .map(|span| traced(&resource, span)),
        );
    }
    StatusCode::OK
}

fn traced(resource: &BTreeMap<String, String>, span: Span) -> TracedSpan {
    let of_resource = |key: &str| resource.get(key).cloned().unwrap_or_default();
    TracedSpan {
        service: of_resource("service.name"),
        instance: of_resource("service.instance.id"),
        trace_id: hex::encode(span.trace_id),
        id: hex::encode(span.span_id),
        parent: hex::encode(span.parent_span_id),
        name: span.name,
        began_ns: span.start_time_unix_nano,
        ended_ns: span.end_time_unix_nano,
        attributes: texts(span.attributes),
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(is) => is.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let attributes = attributes.into_iter().filter_map(|attribute| {
        let value = attribute.value.and_then(|value| value.value)?;
        Some((attribute.key, text(value)))
    });
    attributes.collect()
}

/// A trace as a page shows it.
///
/// A line for each span, below its parent and in the order of their beginnings, with its program, its beginning since that of
/// the trace, how long it took, and how much of that it was at work.
#[must_use]
pub fn tree(spans: &[TracedSpan]) -> String {
    let mut spans = spans.to_vec();
    spans.sort_by_key(|span| (span.began_ns, span.ended_ns));
    let roots = spans
        .iter()
        .filter(|span| spans.iter().all(|other| other.id != span.parent));
    let began = spans.first().map_or(0, |span| span.began_ns);
    let mut text = String::from("   begins      takes    at work  program        span\n");
    for root in roots {
        branch(&mut text, &spans, root, began, 0);
    }
    text
}

fn branch(text: &mut String, spans: &[TracedSpan], span: &TracedSpan, began: u64, depth: usize) {
    let ms = |ns: u64| std::time::Duration::from_nanos(ns).as_secs_f64() * 1000.0;
    let busy = span.attributes.get("busy_ns");
    let busy = busy.and_then(|busy| busy.parse().ok()).unwrap_or(0);
    let generation = match span.attributes.get("generation") {
        Some(generation) => format!(", generation {generation} by {}", span.instance),
        None => String::new(),
    };
    writeln!(
        text,
        "{:7.1} ms {:7.1} ms {:7.1} ms  {:<14} {}{}{generation}",
        ms(span.began_ns - began),
        ms(span.ended_ns - span.began_ns),
        ms(busy),
        span.service,
        "  ".repeat(depth),
        span.name,
    )
    .expect("a text can be written to");
    for child in spans.iter().filter(|child| child.parent == span.id) {
        branch(text, spans, child, began, depth + 1);
    }
}
