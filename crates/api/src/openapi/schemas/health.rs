//! Health and capabilities.

use serde_json::{Value, json};

use super::{anything, between, count, flag, list, object, one_of, or_null, schema, text, with};
use crate::health::FORMATS;

pub(super) fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("Health", health()),
        ("HealthBackend", backend()),
        ("Alive", object("It is.", &[("ok", json!({"type": "boolean", "const": true}))])),
        ("Leaving", leaving()),
        ("Capabilities", capabilities()),
    ]
}

fn health() -> Value {
    let queue = object(
        "The queue.",
        &[
            ("backend", one_of("Where it is.", &["memory", "redis"])),
            ("depth", or_null(count("How many jobs wait; null while that can't be told.", 0))),
            ("paused", or_null(flag("Whether it is paused; null while that can't be told."))),
        ],
    );
    let worker = object(
        "A worker that lives.",
        &[
            ("id", text("Its id.")),
            ("backends", list("Its ComfyUI servers.", schema("HealthBackend"))),
            ("state", schema("WorkerState")),
        ],
    );
    object(
        "How the gateway and what it needs are.",
        &[
            ("ok", json!({"type": "boolean", "const": true})),
            ("version", text("The gateway's version.")),
            ("uptime", count("Seconds since its start.", 0)),
            ("comfyui", schema("HealthBackend")),
            ("queue", queue),
            ("database", one_of("Where jobs are kept.", &["sqlite", "postgres"])),
            ("workers", list("All workers that live.", worker)),
            ("warnings", list("What is dangerous about servers that work.", warning())),
        ],
    )
}

fn backend() -> Value {
    let models = object("Model files by their kind.", &[("checkpoints", list("Checkpoints.", text("A file.")))]);
    object(
        "A ComfyUI server. Of several the best; with neither `state` nor `url` where no worker is connected.",
        &[
            ("reachable", flag("Whether it answers.")),
            ("state?", schema("BackendState")),
            ("url", or_null(text("Without credentials; `hidden` in production."))),
            ("version?", text("ComfyUI's version.")),
            ("devices?", list("Its devices.", text("A device."))),
            ("models?", models),
            ("problem?", text("What is wrong, and what may help.")),
        ],
    )
}

fn warning() -> Value {
    object(
        "Known holes of a ComfyUI server's version.",
        &[
            ("comfyui", text("The server's URL; `hidden` in production.")),
            ("version", text("Its version.")),
            ("holes", list("Which.", text("The name of a hole, as it is published."))),
            ("message", text("What to do.")),
        ],
    )
}

fn leaving() -> Value {
    object(
        "It was told to stop.",
        &[("ok", json!({"type": "boolean", "const": false})), ("leaving", json!({"type": "boolean", "const": true}))],
    )
}

fn capabilities() -> Value {
    let workflow = object(
        "What can be asked for.",
        &[
            ("id", schema("WorkflowId")),
            ("name", text("For people.")),
            ("description", text("For people.")),
            ("inputSchema", anything("The JSON Schema of `inputs` and `params`.")),
        ],
    );
    let features =
        with(anything("What this gateway has and is set to do."), "additionalProperties", json!({"type": "boolean"}));
    object(
        "What can be asked for, and the limits.",
        &[
            ("workflows", list("Every workflow.", workflow)),
            ("maxSize", between("The longest side of a picture, in pixels.", 1, 1 << 20)),
            ("maxBatch", count("Pictures that one run may make at once.", 1)),
            ("formats", list("What outputs are served as.", one_of("A format.", &FORMATS))),
            ("maxUploadBytes", count("The largest file that is taken.", 1)),
            ("maxInlineBytes", count("Bytes of outputs that one answer may hold as Base64.", 0)),
            ("storageProvider", one_of("Where outputs are kept.", &["local", "s3"])),
            ("features", features),
        ],
    )
}
