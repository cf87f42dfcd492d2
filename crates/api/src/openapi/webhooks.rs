//! Messages to the owners of jobs: what is sent, the log of it, and sending one again.

use gateway_core::ErrorCode;
use serde_json::{Map, Value, json};

use super::build::{Answer, Operation, in_path, reference};
use super::{batches, examples, jobs};

const TAG: &str = "Webhooks";

pub(super) fn operations() -> Vec<Operation> {
    vec![of_job(), redeliver_of_job(), of_batch(), redeliver_of_batch()]
}

fn delivery() -> Value {
    in_path("delivery", "The message.", reference("schemas", "DeliveryId"), examples::DELIVERY)
}

fn of_job() -> Operation {
    let example = json!({"jobId": examples::JOB, "items": [examples::delivery()]});
    let answer = Answer::json("The messages.", "JobDeliveries", example)
        .link("redeliver", &json!({"id": "$response.body#/jobId", "delivery": "$response.body#/items/0/deliveryId"}));
    Operation::new("GET", "/jobs/{id}/webhooks", "listDeliveries", TAG)
        .about("List the messages about a job", "The first one first, each with its tries.")
        .with(jobs::id())
        .answers(200, answer)
        .fails(&[ErrorCode::JobNotFound])
}

fn redeliver_of_job() -> Operation {
    let example = json!({"jobId": examples::JOB, "deliveryId": examples::DELIVERY, "status": "pending"});
    Operation::new("POST", "/jobs/{id}/webhooks/{delivery}/redeliver", "redeliver", TAG)
        .about(
            "Send a message about a job again",
            "With the same id and the same bytes, whether it arrived or not. Takes no body.",
        )
        .with(jobs::id())
        .with(delivery())
        .reads()
        .answers(202, Answer::json("It is sent again.", "JobRedelivery", example))
        .fails(&[ErrorCode::JobNotFound, ErrorCode::DeliveryNotFound])
}

fn of_batch() -> Operation {
    let delivery = json!({
        "deliveryId": examples::DELIVERY,
        "event": "batch.completed",
        "url": "https://example.com/hooks",
        "status": "delivered",
        "createdAt": "2026-11-26T01:45:03.920Z",
        "nextAttemptAt": Value::Null,
        "attempts": [{"time": "2026-11-26T01:45:03.961Z", "status": 200, "durationMs": 12, "error": Value::Null}],
    });
    let example = json!({"batchId": examples::BATCH, "items": [delivery]});
    let answer = Answer::json("The messages.", "BatchDeliveries", example).link(
        "redeliverOfBatch",
        &json!({"id": "$response.body#/batchId", "delivery": "$response.body#/items/0/deliveryId"}),
    );
    Operation::new("GET", "/batches/{id}/webhooks", "listBatchDeliveries", TAG)
        .about("List the messages about a batch", "The first one first, each with its tries.")
        .with(batches::id())
        .answers(200, answer)
        .fails(&[ErrorCode::BatchNotFound])
}

fn redeliver_of_batch() -> Operation {
    let example = json!({"batchId": examples::BATCH, "deliveryId": examples::DELIVERY, "status": "pending"});
    Operation::new("POST", "/batches/{id}/webhooks/{delivery}/redeliver", "redeliverOfBatch", TAG)
        .about(
            "Send a message about a batch again",
            "With the same id and the same bytes, whether it arrived or not. Takes no body.",
        )
        .with(batches::id())
        .with(delivery())
        .reads()
        .answers(202, Answer::json("It is sent again.", "BatchRedelivery", example))
        .fails(&[ErrorCode::BatchNotFound, ErrorCode::DeliveryNotFound])
}

/// What is sent to a `callbackUrl`.
pub(super) fn sent() -> Value {
    let job = sent_of(
        "jobMessage",
        "How a job goes",
        "`POST` to the job's `callbackUrl`, tried again for a day until it is answered with 2xx. `data` is the job as `GET /jobs/{id}` shows it, never with bytes.",
        "JobMessage",
    );
    let batch = sent_of(
        "batchMessage",
        "The last job of a batch has ended",
        "`POST` to the batch's `callbackUrl`, tried again for a day until it is answered with 2xx.",
        "BatchMessage",
    );
    json!({"job": {"post": job}, "batch": {"post": batch}})
}

fn sent_of(id: &str, summary: &str, description: &str, schema: &str) -> Value {
    let headers: Vec<Value> = SENT_HEADERS
        .iter()
        .map(|(name, description, required)| {
            json!({"name": name, "in": "header", "required": required, "description": description, "schema": {"type": "string"}})
        })
        .collect();
    let answers: Map<String, Value> = [
        ("2XX", "It has arrived."),
        ("410", "The receiver wants no more of this message: it is not sent again."),
        (
            "default",
            "It is sent again: after 5 s, 30 s, 2 min, 10 min, 1 h, 6 h, 24 h, or later where `Retry-After` says so.",
        ),
    ]
    .into_iter()
    .map(|(status, description)| (status.to_owned(), json!({"description": description})))
    .collect();
    json!({
        "operationId": id,
        "tags": [TAG],
        "summary": summary,
        "description": description,
        "parameters": headers,
        "requestBody": {"required": true, "content": {"application/json": {"schema": reference("schemas", schema)}}},
        "responses": answers,
        "security": [],
    })
}

/// Name, meaning, and whether it is always there.
const SENT_HEADERS: [(&str, &str, bool); 6] = [
    ("webhook-id", "The message's id: the same on every try.", true),
    ("webhook-timestamp", "Seconds since 1970, of this try.", true),
    (
        "webhook-signature",
        "Standard Webhooks: `v1,` and the Base64 of the HMAC-SHA256 of `{id}.{timestamp}.{body}`; several, separated by spaces, while a secret is replaced. Where WEBHOOK_SECRET is set.",
        false,
    ),
    ("X-Signature", "`sha256=` and the hexadecimal HMAC-SHA256 of the body. Where WEBHOOK_SECRET is set.", false),
    ("X-Request-Id", "The job's `correlationId`.", true),
    ("traceparent", "W3C Trace Context: the trace that the job belongs to, where there is one.", false),
];
