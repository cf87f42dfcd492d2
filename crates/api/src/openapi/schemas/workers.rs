//! Workers, their ComfyUI servers, and the queue.

use serde_json::{Value, json};

use super::{count, flag, list, object, one_of, page, schema, text};

pub(super) fn all() -> Vec<(&'static str, Value)> {
    let states = ["unknown", "ready", "unreachable", "misconfigured", "stuck"];
    vec![
        ("BackendState", one_of("How a ComfyUI server is.", &states)),
        ("WorkerState", one_of("What a worker does.", &["running", "paused", "draining"])),
        ("Backend", backend()),
        ("Worker", worker()),
        ("WorkerList", page("The workers that live. One page: `nextCursor` is null.", "Worker")),
        ("DrainedWorker", drained()),
        ("QueueState", object("The queue.", &[("paused", flag("Whether workers take no jobs."))])),
    ]
}

fn backend() -> Value {
    object(
        "A ComfyUI server, as its worker sees it.",
        &[
            ("name", text("What jobs remember it by.")),
            ("url", text("Without credentials.")),
            ("state", schema("BackendState")),
            ("problem?", text("What is wrong, and what may help.")),
            ("version?", text("ComfyUI's version.")),
            ("devices", list("Its devices.", text("A device."))),
            ("nodeClasses?", count("How many node classes it has; left out until it was asked.", 0)),
            ("nodeCatalog?", text("A digest of them: equal on servers with the same nodes and models.")),
            ("checkpoints", list("Checkpoints that it can load.", text("A file."))),
            ("loaded", list("Model files of the latest job there that had some.", text("A file."))),
            ("concurrency", count("Prompts that it is given to run at once.", 0)),
            ("inFlight", count("Prompts that this worker has in it.", 0)),
        ],
    )
}

fn worker() -> Value {
    object(
        "A worker that lives.",
        &[
            ("id", text("Of this start of its process.")),
            ("node", text("The machine.")),
            ("version", text("The gateway's version.")),
            ("state", schema("WorkerState")),
            ("backends", list("Its ComfyUI servers.", schema("Backend"))),
        ],
    )
}

fn drained() -> Value {
    object(
        "A worker that takes no more jobs.",
        &[("id", text("The worker.")), ("state", json!({"type": "string", "const": "draining"}))],
    )
}
