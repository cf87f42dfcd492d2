//! Files in.

use gateway_core::ErrorCode;
use serde_json::json;

use super::build::{Answer, Operation};
use super::examples;

pub(super) fn operations() -> Vec<Operation> {
    vec![upload()]
}

fn upload() -> Operation {
    let raw = json!({"schema": {"type": "string", "format": "binary"}});
    let form = json!({
        "schema": {
            "type": "object",
            "required": ["file"],
            "properties": {"file": {"type": "string", "format": "binary", "description": "The file. Other parts are passed over."}},
        },
    });
    let job = json!({
        "workflowId": "img2img",
        "inputs": {"image": {"uploadId": "$response.body#/uploadId"}, "prompt": "a watercolour", "strength": 0.6},
    });
    Operation::new("POST", "/uploads", "createUpload", "Uploads")
        .about(
            "Upload a file",
            "As the raw body, whatever its Content-Type says, or as the part `file` of a form. What it is, its content tells: a picture (PNG, JPEG, WebP, GIF), a film (MP4, WebM) or a sound (WAV, MP3, FLAC, Ogg). At most MAX_UPLOAD_BYTES.",
        )
        .takes_content("application/octet-stream", raw)
        .takes_content("multipart/form-data", form)
        .answers(
            201,
            Answer::json("It is kept for a while.", "Upload", examples::upload()).link_with_body("createJob", &job),
        )
        .fails(&[ErrorCode::StorageError])
}
