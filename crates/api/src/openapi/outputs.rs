//! Outputs.

use gateway_core::ErrorCode;
use gateway_core::output::{OPAQUE_TYPE, SHOWN_TYPES};
use serde_json::{Value, json};

use super::build::{Answer, Operation, in_header, in_path, in_query, reference};
use super::{examples, jobs};

const TAG: &str = "Outputs";

pub(super) fn operations() -> Vec<Operation> {
    vec![list(), download("GET", "downloadOutput"), download("HEAD", "downloadOutputHead")]
}

fn list() -> Operation {
    let example = json!({"jobId": examples::JOB, "items": [examples::output()]});
    let file = json!({"id": "$response.body#/jobId", "file": "$response.body#/items/0/file"});
    let answer =
        Answer::json("They.", "OutputList", example).link("downloadOutput", &file).link("downloadOutputHead", &file);
    Operation::new("GET", "/outputs/{id}", "listOutputs", TAG)
        .about("List the outputs of a job", "Empty until it has succeeded.")
        .with(jobs::id())
        .answers(200, answer)
        .fails(&[ErrorCode::JobNotFound])
}

fn file() -> Value {
    let schema = json!({"type": "string", "pattern": "^(image|video|audio|text|file)_[0-9]{3,}\\.[a-z0-9]+$"});
    in_path("file", "Its name, as the job's outputs have it.", schema, examples::FILE)
}

fn download(method: &'static str, id: &str) -> Operation {
    let any = || json!({"type": "string"});
    let number = |most: u32| json!({"type": "integer", "minimum": 1, "maximum": most});
    let format = json!({"type": "string", "enum": ["png", "jpeg", "jpg", "webp"]});
    Operation::new(method, "/outputs/{id}/{file}", id, TAG)
        .about(
            "Download an output",
            "The bytes, streamed. Pictures also in another form: `format`, `quality`, `width`, `height`; each form is made once. What a browser could run is `application/octet-stream` and an attachment.",
        )
        .with(jobs::id())
        .with(file())
        .with(in_query("format", "A picture in this format.", format))
        .with(in_query("quality", "JPEG 85 and WebP 80 where it is left out; WebP of 100 is lossless.", number(100)))
        .with(in_query("width", "Of the box that the picture is to fit into. Nothing is scaled up.", number(16_384)))
        .with(in_query("height", "Of the box that the picture is to fit into.", number(16_384)))
        .with(jobs::yes_or_no("download", "Whether it is an attachment."))
        .with(jobs::yes_or_no("redirect", "Whether 302 to a URL of the storage's own is wanted, where it has one."))
        .with(in_header("Range", "One range of bytes. Of several, or of none that can be read, the whole is answered.", any(), "bytes=0-7"))
        .with(in_header("If-Range", "The range only where the output still has this ETag.", any(), "\"8af44cb2\""))
        .with(reference("parameters", "IfNoneMatch"))
        .answers(200, bytes("All of it.", true))
        .answers(206, bytes("The part that was asked for.", true).header("Content-Range"))
        .answers(302, Answer::empty("It is there, for five minutes.").header("Location").header("Cache-Control"))
        .answers(304, bytes("It is known.", false))
        .fails(&[ErrorCode::OutputNotFound, ErrorCode::Gone, ErrorCode::PayloadTooLarge])
        .fails(&[ErrorCode::RangeNotSatisfiable, ErrorCode::StorageError])
}

pub(super) fn bytes(description: &str, whole: bool) -> Answer {
    let headers = [
        "ETag",
        "Accept-Ranges",
        "Cache-Control",
        "Content-Disposition",
        "X-Content-Type-Options",
        "Content-Security-Policy",
        "Cross-Origin-Resource-Policy",
    ];
    let answer = headers.into_iter().fold(Answer::empty(description), Answer::header);
    if !whole {
        return answer;
    }
    // First what generated clients read as bytes: most look at one type alone.
    let types = [OPAQUE_TYPE].into_iter().chain(SHOWN_TYPES.into_iter().map(|(content_type, _)| content_type));
    types.fold(answer, |answer, content_type| {
        answer.content(content_type, json!({"schema": {"type": "string", "format": "binary"}}))
    })
}
