//! Health, capabilities, and what describes the API itself.

use gateway_core::ErrorCode;
use serde_json::{Value, json};

use super::build::{Answer, Operation, reference};
use super::examples;

const TAG: &str = "Health";

pub(super) fn operations() -> Vec<Operation> {
    let both = |of: fn(&'static str) -> Operation| ["GET", "HEAD"].map(of);
    let described = [capabilities(), metrics(), document(), page()];
    [&both(health)[..], &both(live), &both(ready), &described].concat()
}

fn id(method: &str, name: &str) -> String {
    if method == "HEAD" { format!("{name}Head") } else { name.to_owned() }
}

fn health(method: &'static str) -> Operation {
    let backend = json!({
        "reachable": true,
        "state": "ready",
        "url": "http://127.0.0.1:8188",
        "version": "0.3.64",
        "models": {"checkpoints": ["sd_xl_base_1.0.safetensors"]},
    });
    let example = json!({
        "ok": true,
        "version": "0.1.0",
        "uptime": 60,
        "comfyui": backend,
        "queue": {"backend": "memory", "depth": 0, "paused": false},
        "database": "sqlite",
        "workers": [{"id": examples::WORKER, "backends": [backend], "state": "running"}],
        "warnings": [],
    });
    Operation::new(method, "/health", &id(method, "getHealth"), TAG)
        .about("How all of it is", "200 while the process can answer at all, whatever else is broken.")
        .open()
        .without(&[ErrorCode::ValidationError])
        .answers(200, Answer::json("How it is.", "Health", example))
}

fn live(method: &'static str) -> Operation {
    let leaving = Answer::json("It was told to stop.", "Leaving", json!({"ok": false, "leaving": true}));
    Operation::new(method, "/health/live", &id(method, "getLiveness"), TAG)
        .about(
            "Whether it serves",
            "For load balancers: 503 once it was told to stop. It asks nothing but the process, and is not counted as a request.",
        )
        .open()
        .without_failures()
        .answers(200, Answer::json("It serves.", "Alive", json!({"ok": true})).uncounted())
        .answers(503, leaving.uncounted())
}

fn ready(method: &'static str) -> Operation {
    Operation::new(method, "/health/ready", &id(method, "getReadiness"), TAG)
        .about(
            "Whether it can take and run jobs",
            "503 names what is missing: the database, the queue or, where one process does all, ComfyUI. It is not counted as a request. Jobs are accepted while ComfyUI is away, too: a load balancer should ask `/health/live`.",
        )
        .open()
        .without_failures()
        .fails(&[ErrorCode::DatabaseUnavailable, ErrorCode::QueueUnavailable, ErrorCode::ComfyuiUnreachable])
        .answers(200, Answer::json("It can.", "Alive", json!({"ok": true})).uncounted())
}

fn capabilities() -> Operation {
    let example = json!({
        "workflows": [{
            "id": "flat_color",
            "name": "Flat colour",
            "description": "",
            "inputSchema": examples::input_schema(),
        }],
        "maxSize": 2048,
        "maxBatch": 4,
        "formats": ["png", "jpeg", "webp"],
        "maxUploadBytes": 33_554_432,
        "maxInlineBytes": 16_777_216,
        "storageProvider": "local",
        "features": {"events": true, "auth": true, "webhooks": true},
    });
    Operation::new("GET", "/capabilities", "getCapabilities", TAG)
        .about("What can be asked for", "Each workflow with the schema of its inputs, and the limits.")
        .open()
        .without(&[ErrorCode::ValidationError])
        .answers(200, Answer::json("What there is.", "Capabilities", example))
}

fn metrics() -> Operation {
    let example = "# HELP gateway_queue_depth Jobs that could be run now, by lane.\n# TYPE gateway_queue_depth gauge\n\
                   gateway_queue_depth{lane=\"high\"} 0\n";
    let content = json!({"schema": {"type": "string"}, "examples": {"usual": {"value": example}}});
    Operation::new("GET", "/metrics", "getMetrics", TAG)
        .about(
            "What is measured",
            "For Prometheus, in its text format: what this process has counted since its start, and how the whole gateway is at the moment. Where metrics are off: 404.",
        )
        .open()
        .fails(&[ErrorCode::NotFound])
        .without(&[ErrorCode::ValidationError, ErrorCode::DatabaseUnavailable])
        .answers(200, Answer::empty("All of it.").content(gateway_metrics::CONTENT_TYPE, content))
}

/// A page or a document about the API: the same for everybody, with a tag.
fn described(path: &'static str, id: &str, media: &str, content: &Value) -> Operation {
    let headers = ["ETag", "Cache-Control", "Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy"];
    let answer = headers.into_iter().fold(Answer::empty("All of it."), Answer::header);
    Operation::new("GET", path, id, "Description")
        .open()
        .with(reference("parameters", "IfNoneMatch"))
        .answers(200, answer.content(media, content.clone()))
        .answers(304, Answer::empty("Nothing has changed.").header("ETag"))
}

fn document() -> Operation {
    let content = json!({"schema": {"type": "object", "description": "An OpenAPI 3.1 document."}});
    described("/openapi.json", "getOpenapi", "application/json", &content)
        .about("This document", "OpenAPI 3.1, made from the code that serves the API.")
}

fn page() -> Operation {
    let content = json!({"schema": {"type": "string"}});
    described("/docs", "getDocs", "text/html; charset=utf-8", &content).about(
        "The API to read",
        "This document as a page of HTML. It loads nothing from elsewhere and runs no script.",
    )
}
