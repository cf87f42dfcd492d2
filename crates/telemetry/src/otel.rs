//! Spans to a collector, by OTLP over HTTP. They are sent in batches by a thread of the library; while the collector takes
//! none they are dropped, and nothing else waits for it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use gateway_config::{Sampling, TraceSettings};
use gateway_core::{TraceParent, chain};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter};
use secrecy::ExposeSecret as _;
use tokio::runtime::Handle;

use crate::InitError;
use crate::trace::{Kind, Parent};

/// How long the collector may take for a batch, further tries among it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the end of the process may wait for it.
const LAST: Duration = Duration::from_secs(2);

/// What makes spans, from when there is a collector.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// What sends spans.
pub(crate) struct Export(SdkTracerProvider);

impl Export {
    pub(crate) async fn flush(self) {
        // It blocks until the thread that sends has sent, or the time is over; that is told where it fails.
        let ended = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(LAST)).await;
        if let Ok(Err(error)) = ended {
            tracing::debug!(error = %chain(&error), "the last spans were not sent");
        }
    }
}

/// From now on work that begins is part of a trace, which is sent as `settings` say.
pub(crate) fn start(settings: &TraceSettings) -> Result<Export, InitError> {
    let resource = Resource::builder()
        .with_service_name(settings.service.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter(settings)?)
        .with_sampler(sampler(settings.sampling))
        .with_resource(resource)
        .build();
    if TRACER.set(provider.tracer("comfyui-gateway")).is_err() {
        tracing::debug!("traces were set up before");
    }
    Ok(Export(provider))
}

fn sampler(sampling: Sampling) -> Sampler {
    let root = if sampling.ratio >= 1.0 { Sampler::AlwaysOn } else { Sampler::TraceIdRatioBased(sampling.ratio) };
    if sampling.parent_based { Sampler::ParentBased(Box::new(root)) } else { root }
}

fn exporter(settings: &TraceSettings) -> Result<Watched<opentelemetry_otlp::SpanExporter>, InitError> {
    let client = reqwest::Client::builder()
        .connect_timeout(PATIENCE / 2)
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(|error| InitError::Exporter { reason: chain(&error).to_string() })?;
    let headers: HashMap<String, String> =
        settings.headers.iter().map(|(name, value)| (name.clone(), value.expose_secret().to_owned())).collect();
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(OnRuntime { client, runtime: Handle::current() })
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(&settings.endpoint)
        .with_headers(headers)
        .with_timeout(PATIENCE)
        .build()
        .map_err(|error| InitError::Exporter { reason: error.to_string() })?;
    Ok(Watched { exporter, endpoint: settings.endpoint.clone(), failing: AtomicBool::new(false) })
}

/// Makes requests on the runtime: the thread that sends spans has none.
struct OnRuntime {
    client: reqwest::Client,
    runtime: Handle,
}

impl fmt::Debug for OnRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnRuntime")
    }
}

#[async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // Libraries may show at their loudest what is not marked so.
        request.headers_mut().values_mut().for_each(|value| value.set_sensitive(true));
        let client = self.client.clone();
        self.runtime.spawn(async move { HttpClient::send_bytes(&client, request).await }).await?
    }
}

/// Says once that spans are not taken any more, and once that they are again.
#[derive(Debug)]
struct Watched<E> {
    exporter: E,
    endpoint: String,
    failing: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let sent = self.exporter.export(batch).await;
        let failed_before = self.failing.swap(sent.is_err(), Ordering::Relaxed);
        match &sent {
            Err(error) if !failed_before => {
                tracing::warn!(error = %chain(error), endpoint = self.endpoint, spans, "the collector takes no traces: they are dropped until it does");
            }
            Ok(()) if failed_before => tracing::info!(endpoint = self.endpoint, "the collector takes traces again"),
            _ => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.exporter.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// A span that has begun. It ends, and is sent, when this is dropped.
pub(crate) struct Begun {
    /// Itself, as what comes before others.
    context: Option<TraceParent>,
    /// `None` where it is not recorded.
    recorded: Option<Mutex<Recorded>>,
}

struct Recorded {
    span: Span,
    /// The last value of each counts.
    attributes: Vec<KeyValue>,
}

impl Begun {
    /// `None` where no traces are sent.
    pub(crate) fn new(name: &'static str, kind: Kind, parent: Option<Parent>) -> Option<Self> {
        Some(Self::made_by(TRACER.get()?, name, kind, parent))
    }

    fn made_by(tracer: &SdkTracer, name: &'static str, kind: Kind, parent: Option<Parent>) -> Self {
        let parent =
            parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(span_context(parent)));
        let span = tracer.build_with_context(SpanBuilder::from_name(name).with_kind(kind_of(kind)), &parent);
        let context = trace_parent(span.span_context());
        let recorded = span.is_recording().then(|| Mutex::new(Recorded { span, attributes: Vec::with_capacity(8) }));
        Self { context, recorded }
    }

    pub(crate) fn context(&self) -> Option<TraceParent> {
        self.context
    }

    pub(crate) fn text(&self, key: &'static str, value: impl fmt::Display) {
        self.set(key, || value.to_string().into());
    }

    pub(crate) fn number(&self, key: &'static str, value: i64) {
        self.set(key, || value.into());
    }

    pub(crate) fn fail(&self) {
        self.change(|recorded| recorded.span.set_status(Status::error("")));
    }

    pub(crate) fn rename(&self, name: impl FnOnce() -> String) {
        self.change(|recorded| recorded.span.update_name(name()));
    }

    fn set(&self, key: &'static str, value: impl FnOnce() -> Value) {
        self.change(|Recorded { attributes, .. }| {
            attributes.retain(|attribute| attribute.key.as_str() != key);
            attributes.push(KeyValue::new(key, value()));
        });
    }

    fn change(&self, change: impl FnOnce(&mut Recorded)) {
        if let Some(recorded) = &self.recorded {
            change(&mut recorded.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        self.span.set_attributes(self.attributes.drain(..));
    }
}

fn kind_of(kind: Kind) -> SpanKind {
    match kind {
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
        Kind::Consumer => SpanKind::Consumer,
        Kind::Internal => SpanKind::Internal,
    }
}

fn span_context(Parent { context, remote }: Parent) -> SpanContext {
    let (trace, span) = (TraceId::from(context.trace_id()), SpanId::from(context.span_id()));
    SpanContext::new(trace, span, TraceFlags::new(context.flags()), remote, TraceState::NONE)
}

fn trace_parent(context: &SpanContext) -> Option<TraceParent> {
    let trace_id = u128::from_be_bytes(context.trace_id().to_bytes());
    let span_id = u64::from_be_bytes(context.span_id().to_bytes());
    TraceParent::new(trace_id, span_id, context.trace_flags().to_u8())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Keeps what ended.
    #[derive(Debug, Clone, Default)]
    struct Ended(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Ended {
        async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().expect("nobody panicked").append(&mut batch);
            Ok(())
        }
    }

    fn provider(sampler: Sampler) -> (SdkTracerProvider, Ended) {
        let ended = Ended::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(ended.clone()).with_sampler(sampler).build();
        (provider, ended)
    }

    fn caller(flags: u8) -> TraceParent {
        TraceParent::new(7, 8, flags).expect("ids")
    }

    #[test]
    fn a_span_is_sent_at_its_end_with_the_last_value_of_each_attribute() {
        let (provider, ended) = provider(Sampler::AlwaysOn);
        let parent = Parent { context: caller(1), remote: true };
        let begun = Begun::made_by(&provider.tracer("t"), "run", Kind::Consumer, Some(parent));
        begun.number("attempt", 1);
        begun.text("backend", "a");
        begun.number("attempt", 2);
        begun.rename(|| String::from("run again"));
        begun.fail();
        let context = begun.context().expect("it is in a trace");
        assert_eq!((context.trace_id(), context.flags()), (7, 1));
        assert!(ended.0.lock().expect("nobody panicked").is_empty());
        drop(begun);

        let ended = ended.0.lock().expect("nobody panicked");
        let [span] = ended.as_slice() else { panic!("{ended:?}") };
        assert_eq!(
            (&*span.name, &span.span_kind, &span.status),
            ("run again", &SpanKind::Consumer, &Status::error(""))
        );
        assert_eq!(span.attributes, [KeyValue::new("backend", "a"), KeyValue::new("attempt", 2)]);
        assert_eq!((span.parent_span_id, span.parent_span_is_remote), (SpanId::from(8), true));
        assert_eq!(trace_parent(&span.span_context), Some(context));
        assert!(span.end_time >= span.start_time);
    }

    #[test]
    fn what_is_not_recorded_costs_no_text_and_still_has_its_place_in_the_trace() {
        let (provider, ended) = provider(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)));
        let parent = Parent { context: caller(0), remote: true };
        let begun = Begun::made_by(&provider.tracer("t"), "run", Kind::Client, Some(parent));
        begun.rename(|| unreachable!("nobody reads it"));
        begun.text("backend", std::fmt::from_fn(|_| unreachable!("nobody reads it")));
        let context = begun.context().expect("it is in a trace");
        assert_eq!((context.trace_id(), context.flags()), (7, 0));
        assert_ne!(context.span_id(), 8);
        drop(begun);
        assert!(ended.0.lock().expect("nobody panicked").is_empty());
    }

    #[test]
    fn without_a_parent_a_trace_begins() {
        let (provider, ended) = provider(Sampler::AlwaysOn);
        let [one, other] = ["a", "b"].map(|name| Begun::made_by(&provider.tracer("t"), name, Kind::Server, None));
        let traces = [&one, &other].map(|begun| begun.context().expect("a trace").trace_id());
        assert_ne!(traces[0], traces[1]);
        drop((one, other));
        let ended = ended.0.lock().expect("nobody panicked");
        assert!(ended.len() == 2 && ended.iter().all(|span| span.parent_span_id == SpanId::INVALID), "{ended:?}");
    }
}
