//! Tells the owner of a running job how far it is, where that is wanted: once a second at most, once at a time, and
//! never again what is out of date. What is lost of it is not missed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gateway_core::DeliveryId;
use gateway_core::progress::Progress;
use gateway_core::view::JobView;
use gateway_core::webhook::WebhookEvent;
use gateway_db::Job;
use gateway_telemetry::current_trace;
use serde_json::json;
use tracing::Instrument as _;

use super::message;
use crate::context::Context;

const GAP: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(5);

/// What was told of one run.
#[derive(Default)]
pub(crate) struct ProgressTeller {
    told: Option<Instant>,
    under_way: Arc<AtomicBool>,
}

impl ProgressTeller {
    /// Tells it, unless the owner does not want it, or was told a moment ago.
    pub(crate) fn tell(&mut self, context: &Arc<Context>, job: &Job, progress: &Progress) {
        let Some(callback) = job.options.callback.as_ref().filter(|callback| callback.wants(WebhookEvent::Progress))
        else {
            return;
        };
        if self.told.is_some_and(|told| told.elapsed() < GAP) || self.under_way.swap(true, Ordering::AcqRel) {
            return;
        }
        self.told = Some(Instant::now());
        let now = context.parts.database.now();
        let id = DeliveryId::new(now, rand::random());
        let mut job = job.clone();
        if context.parts.privacy {
            job.redact();
        }
        let mut view = JobView::of(&job, &[]);
        view.progress = progress.clone();
        let body = json!({"type": WebhookEvent::Progress, "id": id, "timestamp": now, "data": view}).to_string();
        let (url, correlation_id) = (callback.url.clone(), job.correlation_id.clone());
        let trace = message::trace_header(current_trace().or(job.options.trace_parent));
        let (context, under_way) = (Arc::clone(context), Arc::clone(&self.under_way));
        let job = job.id;
        let sending = async move {
            let body = Bytes::from(body);
            let secrets = &context.parts.webhooks.secrets;
            let mut headers = message::webhook_headers(secrets, &id.to_string(), now, &body, &correlation_id);
            headers.extend(trace);
            if let Err(error) = context.parts.egress.post(&url, &headers, body, DEADLINE).await {
                tracing::debug!(%error, jobId = %job, correlationId = correlation_id, "progress was not told");
            }
            under_way.store(false, Ordering::Release);
        };
        tokio::spawn(sending.in_current_span());
    }
}
