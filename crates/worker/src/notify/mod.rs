//! Sends messages to the owners of jobs: takes what is due from the outbox, few at a time for each host, and notes each
//! try. A crash repeats a try, with the same id and the same bytes.

mod message;
mod progress;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gateway_core::TraceParent;
use gateway_core::webhook::{WebhookEvent, retry_after_ms, retry_ms};
use gateway_db::{Database, DbError, DeliveryTry, DueDelivery, NextTry};
use gateway_egress::{Answer, SendError};
use gateway_metrics::{WEBHOOK_DURATION, WEBHOOK_TRIES};
use gateway_telemetry::{Kind, TraceSpan};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::context::Context;

pub use message::webhook_headers;
pub(crate) use progress::ProgressTeller;

/// Messages under way at the same time, and of those to one host.
const AT_ONCE: usize = 64;
const PER_HOST: usize = 4;
/// How long a receiver may take, from looking up its name to the end of its answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long a message is held: a try, and noting it.
const HOLD: Duration = Duration::from_secs(20);
/// How often the outbox is looked at for what other processes put there.
const LOOK: Duration = Duration::from_secs(1);
/// How long to wait where all that is due is for hosts that are busy.
const BUSY: Duration = Duration::from_millis(250);

/// Sends until `settled`, then once more what is due, and ends with the last try.
pub(crate) async fn run(context: Arc<Context>, settled: CancellationToken) {
    let mut tries = JoinSet::new();
    loop {
        // Asked before the look: that sees what the last job has left.
        let last = settled.is_cancelled();
        let begun = match take(&context, AT_ONCE.saturating_sub(tries.len())).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "messages that are due can't be read; they are looked for again");
                Taken { due: Vec::new(), wait: LOOK }
            }
        };
        for message in begun.due {
            tries.spawn(deliver(Arc::clone(&context), message));
        }
        if last {
            break;
        }
        tokio::select! {
            () = settled.cancelled() => {}
            () = context.messages.notified() => {}
            () = tokio::time::sleep(begun.wait) => {}
            Some(_) = tries.join_next() => while tries.try_join_next().is_some() {},
        }
    }
    while tries.join_next().await.is_some() {}
}

/// What is due, and how long nothing else will be.
struct Taken {
    due: Vec<DueDelivery>,
    wait: Duration,
}

async fn take(context: &Context, room: usize) -> Result<Taken, DbError> {
    let database = &context.parts.database;
    if room == 0 {
        return Ok(Taken { due: Vec::new(), wait: LOOK });
    }
    let now = database.now();
    match database.next_delivery().await? {
        Some(next) if next <= now => {
            let due = database.due_deliveries(room, PER_HOST, HOLD).await?;
            let wait = if due.is_empty() { BUSY } else { Duration::ZERO };
            Ok(Taken { due, wait })
        }
        Some(next) => {
            let wait = Duration::from_millis(u64::try_from(next.millis_since(now)).unwrap_or(0));
            Ok(Taken { due: Vec::new(), wait: wait.min(LOOK) })
        }
        None => Ok(Taken { due: Vec::new(), wait: LOOK }),
    }
}

/// One try, as part of the trace that the message belongs to.
async fn deliver(context: Arc<Context>, message: DueDelivery) {
    let DueDelivery { id, host, event, correlation_id, trace_parent, try_number, .. } = &message;
    let trace = TraceSpan::begin("webhook", Kind::Client, *trace_parent);
    trace.set_text("server.address", host);
    trace.set_text("webhookId", id);
    trace.set_text("correlationId", correlation_id);
    trace.set_text("event", event);
    trace.set_number("attempt", *try_number);
    let parent = trace.context().or(*trace_parent);
    let of_batch = event == WebhookEvent::BatchCompleted.as_str();
    let (job, batch) = (Some(&message.subject).filter(|_| !of_batch), Some(&message.subject).filter(|_| of_batch));
    let around = tracing::error_span!(
        "webhook",
        webhookId = %id,
        jobId = job,
        batchId = batch,
        correlationId = correlation_id,
        traceId = parent.map(TraceParent::trace_hex),
        event,
        host,
        attempt = try_number,
    );
    send(&context, &message, parent, &trace).instrument(around).await;
}

async fn send(context: &Context, message: &DueDelivery, parent: Option<TraceParent>, trace: &TraceSpan) {
    let database = &context.parts.database;
    let (time, began) = (database.now(), Instant::now());
    let body = Bytes::from(message.body.clone());
    let secrets = &context.parts.webhooks.secrets;
    let mut headers = message::webhook_headers(secrets, &message.id.to_string(), time, &body, &message.correlation_id);
    headers.extend(message::trace_header(parent));
    let sent = context.parts.egress.post(&message.url, &headers, body, DEADLINE).await;
    let duration_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
    let next = next_try(context, message, &sent);
    let (http_status, error) = match &sent {
        Ok(answer) if is_success(answer.status) => (Some(i32::from(answer.status)), None),
        Ok(answer) => (Some(i32::from(answer.status)), Some(format!("the receiver answered {}", answer.status))),
        Err(error) => (None, Some(format!("{}: {error}", error.class()))),
    };
    measure(began.elapsed(), &sent, next);
    if let Some(status) = http_status {
        trace.set_number("http.response.status_code", status);
    }
    if error.is_some() {
        trace.fail();
    }
    log(duration_ms, http_status, error.as_deref(), next);
    note(database, message, DeliveryTry { time, http_status, duration_ms, error }, next).await;
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

fn next_try(context: &Context, message: &DueDelivery, sent: &Result<Answer, SendError>) -> NextTry {
    let now = context.parts.database.now();
    let asked = match sent {
        Ok(answer) if is_success(answer.status) => return NextTry::Delivered,
        Ok(answer) if answer.status == 410 => return NextTry::Never,
        Ok(answer) => answer.retry_after.as_deref().and_then(|text| retry_after_ms(text, now)),
        Err(_) => None,
    };
    let scale = context.parts.webhooks.retry_scale;
    match retry_ms(message.failures + 1, asked, scale, rand::random()) {
        Some(wait) => NextTry::At(now.plus_millis(wait)),
        None => NextTry::Never,
    }
}

fn measure(took: Duration, sent: &Result<Answer, SendError>, next: NextTry) {
    let outcome = match next {
        NextTry::Delivered => "delivered",
        NextTry::At(_) => "retried",
        NextTry::Never => "given_up",
    };
    let reason = match sent {
        Ok(answer) if is_success(answer.status) => "",
        Ok(answer) => class(answer.status),
        Err(error) => error.class(),
    };
    WEBHOOK_TRIES.of([outcome.into(), reason.into()]).increment(1);
    WEBHOOK_DURATION.of([]).record(took);
}

/// The class of a status that is no success.
fn class(status: u16) -> &'static str {
    match status {
        300..400 => "3xx",
        400..500 => "4xx",
        500..600 => "5xx",
        _ => "status",
    }
}

fn log(duration_ms: i64, status: Option<i32>, error: Option<&str>, next: NextTry) {
    match next {
        NextTry::Delivered => {
            tracing::info!(status, durationMs = duration_ms, "webhook delivered");
        }
        NextTry::At(at) => {
            tracing::info!(status, durationMs = duration_ms, error, notBefore = %at, "webhook failed; it is tried again");
        }
        NextTry::Never => {
            tracing::warn!(
                status,
                durationMs = duration_ms,
                error,
                "webhook given up; POST /jobs/{{id}}/webhooks/{{deliveryId}}/redeliver sends it again"
            );
        }
    }
}

/// Notes the try, patiently: what is not noted is sent again.
async fn note(database: &Database, message: &DueDelivery, tried: DeliveryTry, next: NextTry) {
    let began = Instant::now();
    loop {
        match database.note_try(message.id, message.try_number, tried.clone(), next).await {
            Ok(true) => return,
            Ok(false) => {
                return tracing::warn!("a try took so long that another process sends the message, too");
            }
            Err(error) if error.is_transient() && began.elapsed() < HOLD / 3 => {
                tokio::time::sleep(BUSY).await;
            }
            Err(error) => {
                return tracing::error!(%error, "a try was not noted: the message is sent again");
            }
        }
    }
}
