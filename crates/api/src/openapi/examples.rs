//! What the document shows as examples: one job, one output, one workflow, told the same everywhere.

use serde_json::{Value, json};

pub(super) const JOB: &str = "01a20bdf-62d5-7958-af0b-d86183ad836f";
pub(super) const BATCH: &str = "01a21587-11fd-7113-9238-53769a33687d";
pub(super) const DELIVERY: &str = "01a21587-65aa-70ba-bf26-a9f13c3733b7";
pub(super) const UPLOAD: &str = "01a21587-01e7-72be-a3e7-31ed4d521028";
pub(super) const FILE: &str = "image_001.png";
pub(super) const WORKER: &str = "w-3ae3c1f568e523b4";
pub(super) const KEY: &str = "4fQ0aZ9k";
pub(super) const ACCEPTED: &str = "2026-11-24T04:45:18.933Z";
const SHA256: &str = "8af44cb26b8504a3ff1bf7d3c3f6d61603540273d529e26f423d201a4c2023ff";

pub(super) fn output() -> Value {
    json!({
        "file": FILE,
        "url": format!("/outputs/{JOB}/{FILE}"),
        "nodeId": "8",
        "kind": "image",
        "contentType": "image/png",
        "size": 79_836,
        "sha256": SHA256,
        "createdAt": "2026-11-24T04:45:20.656Z",
        "width": 512,
        "height": 512,
        "thumbnailUrl": format!("/outputs/{JOB}/{FILE}?format=webp&width=256&height=256"),
    })
}

pub(super) fn job() -> Value {
    json!({
        "jobId": JOB,
        "workflowId": "icon_512",
        "workflowVersion": 1,
        "status": "succeeded",
        "progress": {"percent": 100, "nodesDone": 8, "nodesTotal": 8},
        "attempt": 1,
        "priority": "high",
        "cached": false,
        "createdAt": ACCEPTED,
        "startedAt": "2026-11-24T04:45:18.934Z",
        "finishedAt": "2026-11-24T04:45:20.656Z",
        "timings": {"queuedMs": 1, "runMs": 1720, "storeMs": 2},
        "outputs": [output()],
        "metadata": {"requestId": "order-17"},
        "inputs": {"prompt": "a paper plane"},
        "resolvedInputs": {"prompt": "a paper plane", "size": 512, "steps": 20, "seed": 5_983_444_454_858_691_u64},
        "worker": WORKER,
        "correlationId": "my-request-1",
    })
}

/// What a caller hears of a job that waits.
pub(super) fn accepted() -> Value {
    json!({
        "jobId": JOB,
        "status": "queued",
        "pollUrl": format!("/jobs/{JOB}"),
        "eventsUrl": format!("/jobs/{JOB}/events"),
        "outputsUrl": format!("/outputs/{JOB}"),
        "position": 1,
    })
}

/// A graph that needs no model.
pub(super) fn graph() -> Value {
    json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": "{{width|512}}", "height": "{{height|512}}", "batch_size": 1, "color": "{{color|255}}"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    })
}

pub(super) fn input_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "width": {"type": "integer", "minimum": 1, "maximum": 16_384, "default": 512},
            "height": {"type": "integer", "minimum": 1, "maximum": 16_384, "default": 512},
            "color": {"type": "integer", "minimum": 0, "maximum": 16_777_215, "default": 255},
        },
        "required": [],
        "additionalProperties": false,
    })
}

pub(super) fn workflow_summary() -> Value {
    json!({
        "id": "flat_color",
        "name": "Flat colour",
        "description": "",
        "version": 1,
        "createdAt": "2026-11-24T04:46:15.173Z",
        "updatedAt": "2026-11-24T04:46:15.173Z",
        "mayRun": true,
    })
}

pub(super) fn workflow() -> Value {
    let mut workflow = workflow_summary();
    if let Some(fields) = workflow.as_object_mut() {
        fields.shift_remove("mayRun");
        fields.insert(String::from("workflow"), graph());
        fields.insert(String::from("inputSchema"), input_schema());
        fields.insert(String::from("outputs"), json!([]));
    }
    workflow
}

pub(super) fn batch() -> Value {
    json!({
        "batchId": BATCH,
        "workflowId": "icon_512",
        "status": "running",
        "total": 2,
        "counts": {"canceled": 0, "failed": 0, "queued": 2, "running": 0, "succeeded": 0},
        "createdAt": "2026-11-26T01:45:03.231Z",
        "metadata": {},
        "pollUrl": format!("/batches/{BATCH}"),
        "jobIds": ["01a21587-11fe-7000-8142-a578a27345a9", "01a21587-11ff-7000-9118-4e93a4c4b892"],
    })
}

pub(super) fn delivery() -> Value {
    json!({
        "deliveryId": DELIVERY,
        "event": "job.succeeded",
        "url": "https://example.com/hooks",
        "status": "pending",
        "createdAt": "2026-11-26T01:45:24.650Z",
        "nextAttemptAt": "2026-11-26T01:45:55.569Z",
        "attempts": [
            {"time": "2026-11-26T01:45:24.961Z", "status": 500, "durationMs": 1, "error": "the receiver answered 500"},
        ],
    })
}

pub(super) fn key() -> Value {
    json!({
        "id": KEY,
        "name": "shop",
        "role": "user",
        "createdAt": ACCEPTED,
        "createdBy": "key:operator",
        "expiresAt": Value::Null,
        "lastUsedAt": Value::Null,
        "revokedAt": Value::Null,
        "rateLimit": 600,
    })
}

pub(super) fn upload() -> Value {
    json!({
        "uploadId": UPLOAD,
        "sha256": "c6c18c7fc291bcbe5999758959b9361b46304fb8370cd58ffcdcc0473e532d26",
        "size": 98_514,
        "kind": "image",
        "contentType": "image/png",
        "expiresAt": "2026-11-27T01:44:59.117Z",
        "width": 512,
        "height": 512,
    })
}

pub(super) fn backend() -> Value {
    json!({
        "name": "http://127.0.0.1:8188@gpu-1",
        "url": "http://127.0.0.1:8188",
        "state": "ready",
        "version": "0.3.64",
        "devices": ["cuda:0 NVIDIA L4"],
        "nodeClasses": 684,
        "nodeCatalog": "952688bbb376819588e36fdc79bf6464",
        "checkpoints": ["sd_xl_base_1.0.safetensors"],
        "loaded": [],
        "concurrency": 1,
        "inFlight": 0,
    })
}
