//! Jobs.

use gateway_core::{ErrorCode, JobStatus};
use serde_json::{Value, json};

use super::build::{Answer, Operation, in_header, in_path, in_query, reference};
use super::examples;

const TAG: &str = "Jobs";

pub(super) fn operations() -> Vec<Operation> {
    vec![list(), create(), stats(), find(), delete(), watch(), logs(), cancel(), retry()]
}

pub(super) fn id() -> Value {
    in_path("id", "The job.", reference("schemas", "JobId"), examples::JOB)
}

/// How many a page has, where nothing is said `usual`.
pub(super) fn limit(usual: u64) -> Value {
    let schema = json!({"type": "integer", "minimum": 1, "maximum": 100, "default": usual});
    in_query("limit", "How many a page has.", schema)
}

/// A word that says yes or no.
pub(super) fn yes_or_no(name: &str, description: &str) -> Value {
    in_query(name, description, json!({"type": "string", "enum": ["1", "true", "0", "false"]}))
}

fn list() -> Operation {
    let text = || json!({"type": "string", "minLength": 1});
    let states = json!({"type": "string", "enum": JobStatus::ALL.map(JobStatus::as_str)});
    let example = json!({"items": [examples::job()], "nextCursor": "AaIL4D_ed0eoAEuzgkzojEZ5ft8va2U-ooVE-w"});
    let answer = Answer::json("A page of them.", "JobList", example)
        .link("getJob", &json!({"id": "$response.body#/items/0/jobId"}));
    Operation::new("GET", "/jobs", "listJobs", TAG)
        .about("List jobs", "Your own; an administrator's list has those of all. The newest first; the cost of a page does not grow with its number.")
        .with(in_query("status", "In this state.", states))
        .with(in_query("workflowId", "Of this workflow.", text()))
        .with(reference("parameters", "After"))
        .with(reference("parameters", "Before"))
        .with(in_query("q", "With exactly this `metadata.requestId`.", text()))
        .with(in_query("owner", "Of this owner; of use to administrators alone.", text()))
        .with(limit(20))
        .with(reference("parameters", "Cursor"))
        .answers(200, answer)
        .fails(&[ErrorCode::BadCursor])
}

/// The ways on from a job.
fn onward(answer: Answer) -> Answer {
    let id = json!({"id": "$response.body#/jobId"});
    let ways =
        ["getJob", "watchJob", "listLogs", "listOutputs", "listDeliveries", "cancelJob", "retryJob", "deleteJob"];
    ways.into_iter().fold(answer, |answer, way| answer.link(way, &id))
}

fn create() -> Operation {
    let usual = json!({"workflowId": "icon_512", "inputs": {"prompt": "a paper plane"}});
    let told = json!({
        "workflowId": "icon_512",
        "inputs": {"prompt": "a paper plane"},
        "priority": "high",
        "metadata": {"requestId": "order-17"},
        "callbackUrl": "https://example.com/hooks",
        "output": {"format": "webp", "quality": 90},
    });
    let graph = json!({
        "workflow": {
            "1": {"class_type": "EmptyImage", "inputs": {"width": 512, "height": 512, "batch_size": 1, "color": 255}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
        },
    });
    let examples = [
        ("usual", "A picture.", usual),
        ("told", "One that tells how it went, and may be sent again.", told),
        ("graph", "A graph that is not registered, where that is allowed.", graph),
    ];
    Operation::new("POST", "/jobs", "createJob", TAG)
        .about(
            "Submit a job",
            "With the 202 it is on disk and survives a crash. 200 where it is done already: a result of before serves, the same request was sent before, or `Prefer: wait` has waited for its end. At most 12 MiB.",
        )
        .with(reference("parameters", "IdempotencyKey"))
        .with(in_header(
            "Prefer",
            "`wait=N` keeps the answer back until the job has ended, N seconds at most (1 to 60). What can't be read is ignored.",
            json!({"type": "string"}),
            "wait=5",
        ))
        .takes("AnyJobRequest", &examples)
        .answers(200, done())
        .answers(202, onward(Answer::json("It waits.", "AcceptedJob", examples::accepted()).header("Location")))
        .fails(&[ErrorCode::Forbidden, ErrorCode::WorkflowNotFound, ErrorCode::Gone, ErrorCode::IdempotencyKeyReused])
        .fails(&[ErrorCode::CallbackNotAllowed, ErrorCode::QueueFull, ErrorCode::StorageError])
}

fn done() -> Answer {
    let mut hit = examples::accepted();
    if let Some(fields) = hit.as_object_mut() {
        fields.shift_remove("position");
        fields.insert(String::from("status"), json!("cache_hit"));
        fields.insert(String::from("cached"), json!(true));
        fields.insert(String::from("outputs"), json!([examples::output()]));
    }
    let content = json!({
        "schema": reference("schemas", "JobOrAcceptedJob"),
        "examples": {
            "waited": {"summary": "`Prefer: wait`: the whole job.", "value": examples::job()},
            "hit": {"summary": "A result of before.", "value": hit},
        },
    });
    let answer = Answer::empty(
        "It is done, or was sent before. The whole job where `Prefer: wait` was given and it has ended, with `ETag` and `Preference-Applied`; else where it stands, with `Location`.",
    );
    onward(answer.content("application/json", content).header("Location").header("ETag").header("Preference-Applied"))
}

fn stats() -> Operation {
    let example = json!({
        "jobs": {"canceled": 0, "failed": 0, "queued": 0, "running": 0, "succeeded": 1},
        "queue": {"byPriority": {"high": 0, "low": 0, "normal": 0}, "oldestWaitMs": Value::Null},
        "processing": {"averageMs": 1722, "p95Ms": 1722},
        "cacheHitRate": 0.25,
    });
    Operation::new("GET", "/jobs/stats", "getJobStats", TAG)
        .about(
            "Figures over all jobs",
            "How many are in each state, how long they wait and run, how often a result of before served.",
        )
        .admin()
        .answers(200, Answer::json("The figures.", "JobStats", example))
}

fn find() -> Operation {
    let include = json!({"type": "string", "enum": ["base64"]});
    let answer = Answer::json("The job.", "Job", examples::job()).header("ETag");
    let answer = answer
        .link("downloadOutput", &json!({"id": "$response.body#/jobId", "file": "$response.body#/outputs/0/file"}));
    Operation::new("GET", "/jobs/{id}", "getJob", TAG)
        .about("Show a job", "Where it stands, and once it has succeeded what it made.")
        .with(id())
        .with(in_query("include", "`base64`: with the bytes of its outputs. Such an answer has no `ETag`.", include))
        .with(reference("parameters", "IfNoneMatch"))
        .answers(200, onward(answer))
        .answers(304, Answer::empty("Nothing has changed.").header("ETag"))
        .fails(&[
            ErrorCode::JobNotFound,
            ErrorCode::OutputNotFound,
            ErrorCode::PayloadTooLarge,
            ErrorCode::StorageError,
        ])
}

fn delete() -> Operation {
    Operation::new("DELETE", "/jobs/{id}", "deleteJob", TAG)
        .about("Delete a job", "One that has ended, with its log and its outputs. Takes no body.")
        .with(id())
        .reads()
        .answers(204, Answer::empty("It is gone."))
        .fails(&[ErrorCode::JobNotFound, ErrorCode::Conflict])
}

fn watch() -> Operation {
    let example = format!(
        "id: 1795657462115-0\nevent: status\ndata: {{\"jobId\":\"{}\",\"status\":\"running\"}}\n\n",
        examples::JOB
    );
    let content = json!({"schema": {"type": "string"}, "examples": {"usual": {"value": example}}});
    let seen = "The `id` of the last event that was heard: the log lines since then are told first.";
    let answer = Answer::empty("The events, until the job has ended.")
        .content("text/event-stream", content)
        .header("Cache-Control")
        .header("X-Accel-Buffering");
    Operation::new("GET", "/jobs/{id}/events", "watchJob", TAG)
        .about(
            "Watch a job",
            "Server-Sent Events. It begins with where the job stands, and closes after `end`.\n\n- `status`: `{\"jobId\", \"status\"}`\n- `progress`: a `Progress`\n- `log`: a `LogLine`\n- `preview`: `{\"node\", \"dataUrl\"}`, a first look at the picture, with `?previews=1`\n- `output`: an `Output`, one event for each\n- `end`: the `Job`",
        )
        .with(id())
        .with(yes_or_no("previews", "Whether first looks at the picture are wanted."))
        .with(in_header("Last-Event-ID", seen, json!({"type": "string"}), "1795657462115-0"))
        .answers(200, answer)
        .fails(&[ErrorCode::JobNotFound])
}

fn logs() -> Operation {
    let line = json!({
        "time": "2026-11-24T04:46:18.227Z",
        "level": "info",
        "event": "submitted",
        "message": "given to ComfyUI",
    });
    Operation::new("GET", "/jobs/{id}/logs", "listLogs", TAG)
        .about("Show the log of a job", "What happened to it, without paths, addresses and keys of ComfyUI's machine.")
        .with(id())
        .answers(200, Answer::json("The log.", "JobLogs", json!({"items": [line]})))
        .fails(&[ErrorCode::JobNotFound])
}

fn cancel() -> Operation {
    let example = json!({"jobId": examples::JOB, "status": "canceled", "cancelRequested": true});
    Operation::new("POST", "/jobs/{id}/cancel", "cancelJob", TAG)
        .about("Cancel a job", "A waiting one is canceled at once; of a running one ComfyUI is asked to stop exactly its prompt. Takes no body.")
        .with(id())
        .reads()
        .answers(202, Answer::json("It was asked for.", "CanceledJob", example))
        .fails(&[ErrorCode::JobNotFound, ErrorCode::Conflict])
}

/// What every way to run a job again has in common.
pub(super) fn retries(operation: Operation) -> Operation {
    let mut again = examples::accepted();
    if let Some(fields) = again.as_object_mut() {
        fields.insert(String::from("retryOf"), json!(examples::JOB));
    }
    operation
        .with(id())
        .reads()
        .answers(202, onward(Answer::json("The new job waits.", "AcceptedJob", again).header("Location")))
        .fails(&[ErrorCode::Forbidden, ErrorCode::WorkflowNotFound, ErrorCode::JobNotFound, ErrorCode::Conflict])
        .fails(&[ErrorCode::CallbackNotAllowed, ErrorCode::QueueFull, ErrorCode::StorageError])
}

fn retry() -> Operation {
    retries(Operation::new("POST", "/jobs/{id}/retry", "retryJob", TAG)).about(
        "Run a job again",
        "A new job with the inputs of one that has ended, on the workflow's present version. It is run, whatever was made before. Takes no body.",
    )
}
