//! Jobs: asked for, shown, watched; and their outputs.

use gateway_core::ids::RAW_PREFIX;
use gateway_core::webhook::WebhookEvent;
use gateway_core::{JobStatus, Priority};
use serde_json::{Value, json};

use super::{
    anything, between, closed, count, flag, list, matching, object, one_of, or_null, page, schema, schema_or_null,
    sha256, text, time, with,
};

pub(super) fn all() -> Vec<(&'static str, Value)> {
    let states = JobStatus::ALL.map(JobStatus::as_str);
    vec![
        ("JobRequest", closed("What is to be made of a registered workflow.", &job_fields())),
        ("GraphRequest", graph_request()),
        ("AnyJobRequest", json!({"oneOf": [schema("JobRequest"), schema("GraphRequest")]})),
        ("Metadata", metadata()),
        ("OutputWish", output_wish()),
        ("JobStatus", one_of("Where a job stands; the last three never change.", &states)),
        ("AcceptedJob", accepted_job()),
        ("JobOrAcceptedJob", json!({"oneOf": [schema("Job"), schema("AcceptedJob")]})),
        ("Job", job()),
        ("Progress", progress()),
        ("Output", output()),
        ("JobError", job_error()),
        ("JobList", page("A page of jobs.", "Job")),
        ("JobCounts", job_counts()),
        ("JobStats", job_stats()),
        ("LogLine", log_line()),
        ("JobLogs", object("What happened to it.", &[("items", list("In order.", schema("LogLine")))])),
        ("CanceledJob", canceled_job()),
        ("OutputList", outputs()),
    ]
}

/// What the body of a job has.
pub(super) fn job_fields() -> [(&'static str, Value); 11] {
    let lanes = Priority::LANES.map(Priority::as_str);
    let priority = json!({
        "anyOf": [{"type": "string", "enum": lanes}, {"type": "integer", "minimum": 0, "maximum": 9}],
        "default": "normal",
        "description": "0 to 3 is low, 4 to 6 normal, 7 to 9 high.",
    });
    let callback = json!({
        "type": "string",
        "format": "uri",
        "minLength": 1,
        "maxLength": 2048,
        "description": "Who is told how it goes: http:// or https://, to a host that the operator allows.",
    });
    let workflow_id = with(text("The workflow."), "minLength", json!(1));
    let workflow_id = with(workflow_id, "not", json!({"pattern": format!("^{RAW_PREFIX}")}));
    let names = WebhookEvent::OF_JOBS.map(WebhookEvent::as_str);
    let events =
        list("Of what; the last three where nothing is said. Needs `callbackUrl`.", one_of("An event.", &names));
    [
        ("workflowId", workflow_id),
        ("inputs?", anything("Values of placeholders, as the workflow's schema says. A file is a `FileInput`.")),
        ("params?", or_null(anything("Further values; one namespace with `inputs`."))),
        ("priority?", priority),
        ("callbackUrl?", or_null(callback)),
        ("webhookEvents?", or_null(with(events, "minItems", json!(1)))),
        ("metadata?", schema_or_null("Metadata")),
        ("output?", schema_or_null("OutputWish")),
        ("cache?", with(flag("Whether a result of before may serve, and this one later."), "default", json!(true))),
        ("timeoutMs?", or_null(between("The longest run in ComfyUI; waiting does not count.", 1_000, 21_600_000))),
        ("notBefore?", or_null(time("Not to be run earlier; within 366 days."))),
    ]
}

/// The same for a graph, whose values stand in it.
fn graph_request() -> Value {
    let graph = ("workflow", schema("Graph"));
    let about_workflow = ["workflowId", "inputs?", "params?"];
    let rest = job_fields().into_iter().filter(|(name, _)| !about_workflow.contains(name));
    let fields: Vec<(&str, Value)> = [graph].into_iter().chain(rest).collect();
    closed(
        "What is to be made by a graph that is not registered, where the operator and the caller's key allow that.",
        &fields,
    )
}

fn metadata() -> Value {
    let id = json!({
        "type": "string",
        "minLength": 1,
        "maxLength": 255,
        "pattern": "^\\S(.*\\S)?$",
        "description": "Can be searched for, and makes the request one that may be sent again.",
    });
    let fields = object("Your own notes: at most 8 KiB of JSON, four levels deep.", &[("requestId?", id)]);
    with(with(fields, "additionalProperties", json!(true)), "maxProperties", json!(64))
}

fn output_wish() -> Value {
    let formats = ["png", "jpeg", "jpg", "webp"];
    closed(
        "In what form the outputs are wanted.",
        &[
            (
                "delivery?",
                with(one_of("As URLs, or as bytes in answers.", &["url", "base64"]), "default", json!("url")),
            ),
            ("format?", or_null(one_of("What pictures are stored as; without it as ComfyUI made them.", &formats))),
            ("quality?", or_null(between("JPEG 85 and WebP 80 where it is left out.", 1, 100))),
        ],
    )
}

fn accepted_job() -> Value {
    let states: Vec<&str> = JobStatus::ALL.into_iter().map(JobStatus::as_str).chain(["cache_hit"]).collect();
    object(
        "A job that was accepted, now or before.",
        &[
            ("jobId", schema("JobId")),
            ("status", one_of("Where it stands; `cache_hit`: it is done.", &states)),
            ("pollUrl", text("Where to ask how it stands.")),
            ("eventsUrl", text("Where to listen.")),
            ("outputsUrl", text("Where its outputs are listed.")),
            ("position?", count("How many jobs wait before it, plus 1. A hint, no turn.", 1)),
            ("cached?", json!({"type": "boolean", "const": true, "description": "It has a result of before."})),
            ("outputs?", list("Its outputs, where a result of before serves.", schema("Output"))),
            ("retryOf?", schema("JobId")),
        ],
    )
}

fn job() -> Value {
    object("A job.", &[job_course(), job_content()].concat())
}

/// Where it stands and how it came there.
fn job_course() -> Vec<(&'static str, Value)> {
    let lanes = Priority::LANES.map(Priority::as_str);
    let timings = object(
        "Milliseconds; each once it is known.",
        &[
            ("queuedMs?", count("From acceptance to its first claim.", 0)),
            ("runMs?", count("From that to its end, without storing.", 0)),
            ("storeMs?", count("Collecting its outputs.", 0)),
        ],
    );
    vec![
        ("jobId", schema("JobId")),
        ("workflowId", text("The workflow.")),
        ("workflowVersion", count("The workflow's version at acceptance.", 0)),
        ("status", schema("JobStatus")),
        ("progress", schema("Progress")),
        ("position?", count("How many jobs wait before it, plus 1. A hint, no turn.", 1)),
        ("waitingFor?", list("What no known ComfyUI server has that it needs.", text("A node class or a model."))),
        ("attempt", count("How often it was run.", 0)),
        ("priority", one_of("Its lane.", &lanes)),
        ("cached", flag("Whether another job made its outputs.")),
        ("cachedFrom?", schema("JobId")),
        ("cancelRequested?", json!({"type": "boolean", "const": true, "description": "Somebody wants it canceled."})),
        ("createdAt", time("When it was accepted.")),
        ("notBefore?", time("Not to be run earlier.")),
        ("startedAt?", time("When it was first claimed.")),
        ("finishedAt?", time("When it ended.")),
        ("timings", timings),
    ]
}

/// What it was asked for and what it made.
fn job_content() -> Vec<(&'static str, Value)> {
    vec![
        ("outputs", list("What it made; empty until it has succeeded.", schema("Output"))),
        ("error?", schema("JobError")),
        ("metadata", anything("As it was given.")),
        ("inputs", anything("As they were given; files sent as Base64 are uploads.")),
        ("params?", anything("As they were given, where some were.")),
        ("resolvedInputs", anything("With defaults, the drawn seed, and where files lie.")),
        ("retryOf?", schema("JobId")),
        ("batchId?", schema("BatchId")),
        ("worker?", text("Who had it last.")),
        ("correlationId", text("The X-Request-Id of the request that made it.")),
    ]
}

fn progress() -> Value {
    object(
        "How far it is.",
        &[
            ("percent", between("100 once it has succeeded, and not before.", 0, 100)),
            ("node?", text("The node that runs.")),
            ("nodeTitle?", text("Its title.")),
            ("step?", count("Its step.", 0)),
            ("steps?", count("How many steps it takes.", 0)),
            ("nodesDone", count("Nodes that are done.", 0)),
            ("nodesTotal", count("Nodes of the graph.", 0)),
            ("etaSeconds?", count("Seconds that it may still take.", 0)),
        ],
    )
}

fn output() -> Value {
    object(
        "What a job made.",
        &[
            ("file", matching("Its name.", "^(image|video|audio|text|file)_[0-9]{3,}\\.[a-z0-9]+$")),
            ("url", text("Where its bytes are.")),
            ("nodeId", text("The node that made it.")),
            ("kind", one_of("What it is.", &["image", "video", "audio", "text", "file"])),
            ("contentType", text("By its content.")),
            ("size", count("In bytes.", 0)),
            ("sha256", sha256("Of its bytes.")),
            ("createdAt", time("When it was stored.")),
            ("width?", count("In pixels, of pictures.", 1)),
            ("height?", count("In pixels, of pictures.", 1)),
            ("thumbnailUrl?", text("Of pictures: the picture as WebP, at most 256 by 256.")),
            ("removedAt?", time("When its bytes were removed because they were old.")),
            ("base64?", text("Its bytes, where they were asked for.")),
        ],
    )
}

fn job_error() -> Value {
    let node = object(
        "The node it happened in.",
        &[("id", text("Its id.")), ("classType?", text("Its class.")), ("title?", text("Its title."))],
    );
    object(
        "Why a job failed.",
        &[
            ("code", schema("ErrorCode")),
            ("message", text("What happened.")),
            ("recommendation?", text("What can be done about it.")),
            ("retryable", flag("Whether the same job may succeed when it is tried again.")),
            ("node?", node),
            ("details?", list("Further faults, where ComfyUI refused the graph.", schema("Fault"))),
        ],
    )
}

fn job_counts() -> Value {
    let counts = JobStatus::ALL.map(|status| (status.as_str(), count("Jobs in this state.", 0)));
    object("How many jobs are in each state.", &counts)
}

fn job_stats() -> Value {
    let lanes = Priority::LANES.map(|lane| (lane.as_str(), count("Jobs that wait in this lane.", 0)));
    let queue = object(
        "What waits.",
        &[
            ("byPriority", object("In each lane.", &lanes)),
            ("oldestWaitMs", or_null(count("How long the longest has waited; null where none waits.", 0))),
        ],
    );
    let processing = object(
        "How long the latest runs took; null where there was none.",
        &[("averageMs", or_null(count("On average.", 0))), ("p95Ms", or_null(count("At most, in 95 of 100.", 0)))],
    );
    let share = json!({
        "type": ["number", "null"],
        "minimum": 0,
        "maximum": 1,
        "description": "Of the latest jobs that succeeded, how many had the result of another; null where none has.",
    });
    object(
        "Figures over all jobs.",
        &[("jobs", schema("JobCounts")), ("queue", queue), ("processing", processing), ("cacheHitRate", share)],
    )
}

fn log_line() -> Value {
    object(
        "Something that happened to a job.",
        &[
            ("time", time("When.")),
            ("level", one_of("How much it matters.", &["info", "warn", "error"])),
            ("event", text("A stable name, such as `submitted`.")),
            ("message", text("A sentence.")),
            ("node?", text("The node it is about.")),
        ],
    )
}

fn canceled_job() -> Value {
    object(
        "What was asked for.",
        &[
            ("jobId", schema("JobId")),
            ("status", one_of("`running`: it ends a moment later.", &["canceled", "running"])),
            ("cancelRequested", json!({"type": "boolean", "const": true})),
        ],
    )
}

fn outputs() -> Value {
    object(
        "The outputs of a job.",
        &[("jobId", schema("JobId")), ("items", list("Empty until it has succeeded.", schema("Output")))],
    )
}
