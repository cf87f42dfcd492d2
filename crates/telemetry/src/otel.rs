//! Spans of the target [`TRACE`] to a collector, by OTLP over HTTP. They are sent in batches by a thread of the library;
//! while the collector takes none they are dropped, and nothing else waits for it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use gateway_config::{Sampling, TraceSettings};
use gateway_core::{TraceParent, chain};
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter};
use secrecy::ExposeSecret as _;
use tokio::runtime::Handle;
use tracing::level_filters::LevelFilter;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use crate::{InitError, TRACE};

/// How long the collector may take for a batch, further tries among it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the end of the process may wait for it.
const LAST: Duration = Duration::from_secs(2);

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

/// What makes spans of the target [`TRACE`] part of traces, and what sends them.
pub(crate) fn layer<S>(settings: &TraceSettings) -> Result<(impl Layer<S> + use<S>, Export), InitError>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let resource = Resource::builder()
        .with_service_name(settings.service.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter(settings)?)
        .with_sampler(sampler(settings.sampling))
        .with_resource(resource)
        .build();
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("comfyui-gateway"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false)
        .with_filter(Targets::new().with_target(TRACE, LevelFilter::INFO));
    Ok((spans, Export(provider)))
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

pub(crate) fn set_parent(span: &Span, parent: TraceParent) {
    let context = SpanContext::new(
        TraceId::from(parent.trace_id()),
        SpanId::from(parent.span_id()),
        TraceFlags::new(parent.flags()),
        true,
        TraceState::NONE,
    );
    // It fails where no traces are sent.
    let _ = span.set_parent(Context::new().with_remote_span_context(context));
}

pub(crate) fn name(span: &Span, name: impl FnOnce() -> String) {
    if !span.is_disabled() {
        span.context().span().update_name(name());
    }
}

pub(crate) fn trace_of(span: &Span) -> Option<TraceParent> {
    trace_parent(&span.context())
}

pub(crate) fn current_trace() -> Option<TraceParent> {
    Context::map_current(trace_parent)
}

fn trace_parent(context: &Context) -> Option<TraceParent> {
    let span = context.span();
    let context = span.span_context();
    let trace_id = u128::from_be_bytes(context.trace_id().to_bytes());
    let span_id = u64::from_be_bytes(context.span_id().to_bytes());
    TraceParent::new(trace_id, span_id, context.trace_flags().to_u8())
}
