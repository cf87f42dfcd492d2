//! OpenAI's images API.

use serde_json::{Value, json};

use super::{between, count, list, object, one_of, text, with};

pub(super) fn all() -> Vec<(&'static str, Value)> {
    vec![("ImageRequest", request()), ("Images", images())]
}

fn request() -> Value {
    let own = "Passed to the workflow where it has an input of that name, else of no effect.";
    let words = |description: &str| json!({"type": "string", "minLength": 1, "description": description});
    let size = json!({
        "type": "string",
        "pattern": "^(auto|[1-9][0-9]*x[1-9][0-9]*)$",
        "description": "Width and height in pixels, such as `1024x1024`; auto: as the workflow has it.",
    });
    let fields = [
        ("prompt", words("What the picture shows.")),
        ("model?", words("A workflow, or a name of OPENAI_MODELS; the first of these where it is left out.")),
        ("n?", between("How many pictures.", 1, 10)),
        ("size?", size),
        (
            "response_format?",
            one_of(
                "URLs (good for an hour) or bytes. By default URLs, but bytes of models whose name begins with gpt-image.",
                &["url", "b64_json"],
            ),
        ),
        ("output_format?", one_of("The pictures in this format.", &["png", "jpeg", "webp"])),
        ("output_compression?", between("Quality of JPEG and WebP.", 0, 100)),
        ("background?", one_of("Transparency is a workflow's own affair.", &["auto", "opaque"])),
        ("user?", with(words("Kept as `metadata.user` of the jobs."), "maxLength", json!(255))),
        ("stream?", json!({"type": "boolean", "enum": [false], "description": "Not served."})),
        ("partial_images?", between("Not served.", 0, 0)),
        ("quality?", json!({ "description": own })),
        ("style?", json!({ "description": own })),
        ("moderation?", json!({ "description": own })),
        ("input_fidelity?", json!({ "description": own })),
    ];
    let request = object("A request as OpenAI's API has it. Null is the same as left out.", &fields);
    with(
        request,
        "additionalProperties",
        json!({"description": "An input of the workflow, such as `seed` or `steps`."}),
    )
}

fn images() -> Value {
    let one = object(
        "One picture, as a URL or as bytes.",
        &[
            ("url?", json!({"type": "string", "format": "uri", "description": "Good for an hour, without a key."})),
            ("b64_json?", text("Base64.")),
        ],
    );
    let fields = [
        ("created", count("When its last job was accepted, in seconds since 1970.", 0)),
        ("data", list("The pictures.", one)),
        ("output_format?", text("Where one was asked for.")),
    ];
    object("The pictures of a request.", &fields)
}
