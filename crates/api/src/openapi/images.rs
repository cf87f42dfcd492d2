//! OpenAI's images API.

use gateway_core::ErrorCode;
use serde_json::{Value, json};

use super::build::{Answer, Operation, in_path, reference};
use super::examples;
use super::outputs::bytes;

const TAG: &str = "Images";
/// What a job may end with.
const OF_JOBS: [ErrorCode; 8] = [
    ErrorCode::Conflict,
    ErrorCode::ComfyuiRejected,
    ErrorCode::ComfyuiNodeError,
    ErrorCode::ComfyuiUnreachable,
    ErrorCode::QueueUnavailable,
    ErrorCode::WorkerLost,
    ErrorCode::ComfyuiTimeout,
    ErrorCode::ComfyuiOom,
];

pub(super) fn operations() -> Vec<Operation> {
    vec![generate(), edit(), download("GET", "downloadImage"), download("HEAD", "downloadImageHead")]
}

fn made(operation: Operation) -> Operation {
    let example = json!({"created": 1_790_000_000, "data": [{"url": format!("http://localhost:3000/v1/images/files/1790003600000.AaIVhxH9cROSOFN3ajNofdNq2l8e3R2v8kqA1w/{}", examples::FILE)}]});
    operation
        .with(reference("parameters", "IdempotencyKey"))
        .answers(200, Answer::json("The pictures.", "Images", example))
        .fails(&OF_JOBS)
        .fails(&[ErrorCode::Forbidden, ErrorCode::WorkflowNotFound, ErrorCode::JobNotFound, ErrorCode::OutputNotFound])
        .fails(&[ErrorCode::Gone, ErrorCode::IdempotencyKeyReused, ErrorCode::QueueFull, ErrorCode::StorageError])
}

fn generate() -> Operation {
    let usual = json!({"model": "sdxl_realism_v1", "prompt": "a lighthouse in fog", "size": "1024x1024"});
    let two = json!({"model": "icon_512", "prompt": "a kite", "n": 2, "response_format": "b64_json"});
    made(Operation::new("POST", "/images/generations", "generateImages", TAG))
        .about(
            "Make pictures of a prompt, as OpenAI's API has it",
            "`model` is a workflow, or a name that OPENAI_MODELS maps to one. Waits for the pictures, for at most ten minutes. Fields that are inputs of the workflow are taken, too. Problems have what that API's clients look for as `error`.",
        )
        .takes("ImageRequest", &[("usual", "One picture.", usual), ("two", "Two, as bytes.", two)])
}

fn edit() -> Operation {
    let file = |description: &str| json!({"type": "string", "format": "binary", "description": description});
    let schema = json!({
        "type": "object",
        "required": ["image", "prompt"],
        "properties": {
            "image": file("The picture. Also as `image[]`; one is taken."),
            "mask": file("What is transparent in it is painted anew; the rest stays."),
            "prompt": {"type": "string", "minLength": 1, "description": "What the new picture shows."},
            "model": {"type": "string", "minLength": 1, "description": "As in `POST /images/generations`, whose other fields are taken, too."},
        },
    });
    made(Operation::new("POST", "/images/edits", "editImages", TAG))
        .about(
            "Make pictures of a picture, as OpenAI's API has it",
            "A form. The model's second workflow edits, its third edits what a mask leaves open. Each file at most MAX_UPLOAD_BYTES.",
        )
        .takes_content("multipart/form-data", json!({ "schema": schema }))
}

fn token() -> Value {
    let schema = json!({"type": "string", "minLength": 1});
    in_path("token", "What makes the URL good.", schema, "1790003600000.AaIVhxH9cROSOFN3ajNofdNq2l8e3R2v8kqA1w")
}

fn file() -> Value {
    let schema = json!({"type": "string", "minLength": 1});
    in_path("file", "The picture's name.", schema, examples::FILE)
}

fn download(method: &'static str, id: &str) -> Operation {
    Operation::new(method, "/images/files/{token}/{file}", id, TAG)
        .about(
            "Download a picture by the URL that it was answered with",
            "Good for an hour, for whoever has the URL. Ranges and ETags as with `GET /outputs/{id}/{file}`.",
        )
        .open()
        .with(token())
        .with(file())
        .answers(200, bytes("All of it.", true))
        .answers(206, bytes("The part that was asked for.", true).header("Content-Range"))
        .answers(304, bytes("It is known.", false))
        .fails(&[ErrorCode::OutputNotFound, ErrorCode::Gone])
        .fails(&[ErrorCode::RangeNotSatisfiable, ErrorCode::StorageError])
}
