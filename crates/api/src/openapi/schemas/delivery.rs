//! Batches, uploads, and messages to the owners of jobs.

use gateway_core::webhook::WebhookEvent;
use serde_json::{Value, json};

use super::jobs::job_fields;
use super::{anything, closed, count, list, object, one_of, or_null, schema, sha256, text, time, with};

pub(super) fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("BatchOfItems", batch_of_items()),
        ("BatchOfSweep", batch_of_sweep()),
        ("BatchRequest", json!({"oneOf": [schema("BatchOfItems"), schema("BatchOfSweep")]})),
        ("Batch", object("A batch.", &[&batch()[..], &batch_answer()].concat())),
        ("CanceledBatch", canceled_batch()),
        ("Upload", upload()),
        ("FileInput", file_input()),
        ("Delivery", delivery()),
        ("JobDeliveries", deliveries("jobId", "JobId")),
        ("BatchDeliveries", deliveries("batchId", "BatchId")),
        ("JobRedelivery", redelivery("jobId", "JobId")),
        ("BatchRedelivery", redelivery("batchId", "BatchId")),
        ("JobMessage", message(&WebhookEvent::OF_JOBS, schema("Job"))),
        ("BatchMessage", message(&[WebhookEvent::BatchCompleted], object("The batch.", &batch()))),
    ]
}

fn batch_of_items() -> Value {
    let item = closed(
        "What one job has of its own, in place of what is common.",
        &[("inputs?", anything("Values.")), ("params?", anything("Values."))],
    );
    let items = with(with(list("A job each.", item), "minItems", json!(1)), "maxItems", json!(1000));
    closed("Many jobs of one workflow, each named.", &[&shared()[..], &[("items", items)]].concat())
}

fn batch_of_sweep() -> Value {
    let sweep = json!({
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"type": "array", "items": {}, "minItems": 1},
        "description": "Lists of values. Every combination is a job, 1,000 at most; the last name changes fastest.",
    });
    closed("Many jobs of one workflow: every combination.", &[&shared()[..], &[("sweep", sweep)]].concat())
}

/// What all jobs of a batch share. The batch tells once, so there is no choice of events.
fn shared() -> Vec<(&'static str, Value)> {
    job_fields().into_iter().filter(|(name, _)| *name != "webhookEvents?").collect()
}

fn batch() -> [(&'static str, Value); 8] {
    [
        ("batchId", schema("BatchId")),
        ("workflowId", text("The workflow of its jobs.")),
        ("status", one_of("`completed` once all jobs have ended, however.", &["running", "completed"])),
        ("total", count("How many jobs it has.", 1)),
        ("counts", schema("JobCounts")),
        ("createdAt", time("When it was accepted.")),
        ("metadata", anything("As it was given.")),
        ("finishedAt?", time("When the last job ended.")),
    ]
}

fn batch_answer() -> [(&'static str, Value); 2] {
    [("pollUrl", text("Where to ask how it stands.")), ("jobIds", list("Its jobs, in order.", schema("JobId")))]
}

fn canceled_batch() -> Value {
    object(
        "What was asked for.",
        &[
            ("batchId", schema("BatchId")),
            ("cancelRequested", json!({"type": "boolean", "const": true})),
            ("jobs", count("How many jobs are canceled.", 0)),
        ],
    )
}

fn upload() -> Value {
    object(
        "A file that was taken.",
        &[
            ("uploadId", schema("UploadId")),
            ("sha256", sha256("Of its bytes.")),
            ("size", count("In bytes.", 1)),
            ("kind", one_of("What it is, by its content.", &["image", "video", "audio"])),
            ("contentType", text("By its content.")),
            ("expiresAt", time("Until when it can be used; longer while an open job uses it.")),
            ("width?", count("In pixels, of pictures.", 1)),
            ("height?", count("In pixels, of pictures.", 1)),
        ],
    )
}

fn file_input() -> Value {
    let filled = |description: &str| with(text(description), "minLength", json!(1));
    let ways = [
        closed("A file that was uploaded.", &[("uploadId", filled("Its id."))]),
        closed("A file to be fetched.", &[("url", filled("Where it is."))]),
        closed("A file's bytes.", &[("base64", filled("In Base64, or as a data URL."))]),
        closed("An output of an earlier job.", &[("jobId", filled("The job.")), ("file", filled("Its name."))]),
    ];
    json!({
        "description": "The value of an input whose schema says `\"format\": \"image\"` (or `mask`, `video`, `audio`, `file`).",
        "oneOf": ways,
    })
}

fn delivery() -> Value {
    let attempt = object(
        "A try.",
        &[
            ("time", time("When it began.")),
            (
                "status",
                or_null(json!({"type": "integer", "description": "What the receiver answered; null: nothing."})),
            ),
            ("durationMs", count("How long it took.", 0)),
            ("error", or_null(text("Why it failed; null where it did not."))),
        ],
    );
    object(
        "A message, with its tries.",
        &[
            ("deliveryId", schema("DeliveryId")),
            ("event", one_of("What it tells.", &events())),
            ("url", text("Where to.")),
            ("status", one_of("How it stands.", &["pending", "delivered", "failed"])),
            ("createdAt", time("When it was written.")),
            ("nextAttemptAt", or_null(time("When it is tried next; null once it is not."))),
            ("attempts", list("The first one first.", attempt)),
        ],
    )
}

fn events() -> Vec<&'static str> {
    let batches = [WebhookEvent::BatchCompleted];
    WebhookEvent::OF_JOBS.into_iter().chain(batches).map(WebhookEvent::as_str).collect()
}

fn deliveries(name: &str, id: &str) -> Value {
    object("The messages about it.", &[(name, schema(id)), ("items", list("The first one first.", schema("Delivery")))])
}

fn redelivery(name: &str, id: &str) -> Value {
    object(
        "A message that is sent once more.",
        &[
            (name, schema(id)),
            ("deliveryId", schema("DeliveryId")),
            ("status", json!({"type": "string", "const": "pending"})),
        ],
    )
}

fn message(events: &[WebhookEvent], data: Value) -> Value {
    let names: Vec<&str> = events.iter().map(|event| event.as_str()).collect();
    object(
        "A message to the owner's server.",
        &[
            ("type", one_of("What has happened.", &names)),
            ("id", schema("DeliveryId")),
            ("timestamp", time("When it was written.")),
            ("data", data),
        ],
    )
}
