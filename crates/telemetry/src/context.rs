//! What lines are told under while a request is answered. A span of `tracing` could lend the same fields, and would cost at
//! every poll of the work; this is looked at only where a line is written. Must hold nothing that a caller sent as content.

use std::sync::Arc;

use gateway_core::TraceParent;
use tracing::{Event, Instrument as _};

const CORRELATION_ID: &str = "correlationId";

tokio::task_local! {
    static CURRENT: Option<LogContext>;
}

/// The request that lines belong to. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogContext(Arc<Request>);

#[derive(Debug)]
struct Request {
    correlation_id: String,
    trace: Option<TraceParent>,
}

impl LogContext {
    /// That of the request with this id, which is part of `trace`.
    pub fn new(correlation_id: String, trace: Option<TraceParent>) -> Self {
        Self(Arc::new(Request { correlation_id, trace }))
    }

    /// The request's id.
    pub fn correlation_id(&self) -> &str {
        &self.0.correlation_id
    }

    /// The trace that it is part of.
    pub fn trace(&self) -> Option<TraceParent> {
        self.0.trace
    }

    /// `work` with its lines told under this.
    pub fn around<T>(self, work: impl Future<Output = T>) -> impl Future<Output = T> {
        CURRENT.scope(Some(self), work)
    }

    /// What `work` gives, with its lines told under this.
    pub fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(Some(self.clone()), work)
    }

    /// A span that lends the same fields: for libraries that carry one into tasks of their own, and nothing else.
    pub fn span(&self) -> tracing::Span {
        let trace_id = self.0.trace.map(TraceParent::trace_hex);
        tracing::error_span!("request", correlationId = self.0.correlation_id, traceId = trace_id)
    }

    /// Gives `show` each field of the line of `event`, which is written here and now, by name and value.
    pub(crate) fn fields(event: &Event<'_>, mut show: impl FnMut(&'static str, &str)) {
        // It says for itself which request it came of, and that may be another than this one.
        if event.fields().any(|field| field.name() == CORRELATION_ID) {
            return;
        }
        // Outside of any task, and where a thread ends, there is none.
        let _ = CURRENT.try_with(|context| {
            let Some(Self(request)) = context else { return };
            show(CORRELATION_ID, &request.correlation_id);
            if let Some(trace) = request.trace {
                show("traceId", &trace.trace_hex());
            }
        });
    }
}

/// `work`, to be spawned, with its lines told under what those of this task are told under: also under its span.
pub fn carried<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    CURRENT.scope(CURRENT.try_get().ok().flatten(), work.in_current_span())
}
