//! OpenAI's images API, as its official client for Python sees it.

use std::process::Command;

use gateway_testkit::{TestBuilder, TestGateway, paint_workflow};
use serde_json::{Value, json};

use crate::contract::{SCRIPTS, check, python, run};

const ADMIN: &str = "administrator-0123456789";
const USER: &str = "user-0123456789abcdefghi";

/// One colour in the size that is asked for; the prompt is in a node that nothing needs.
pub(crate) fn painter() -> Value {
    json!({
        "workflow": {
            "1": {"class_type": "EmptyImage", "inputs": {
                "width": "{{width|64}}", "height": "{{height|64}}", "batch_size": 1, "color": "{{color|7}}",
            }},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "painter"}},
            "3": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd_xl_base_1.0.safetensors"}},
            "4": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["3", 1], "text": "{{prompt}}"}},
        },
        "inputSchema": {
            "type": "object",
            "properties": {
                "prompt": {"type": "string", "minLength": 1},
                "width": {"type": "integer", "minimum": 16, "default": 64},
                "height": {"type": "integer", "minimum": 16, "default": 64},
                "color": {"type": "integer", "default": 7},
            },
            "required": ["prompt"],
            "additionalProperties": false,
        },
    })
}

/// The picture that is handed in; with a mask, that too.
pub(crate) fn editor(masked: bool) -> Value {
    let mut workflow = painter();
    let graph = &mut workflow["workflow"];
    graph["1"] = json!({"class_type": "LoadImage", "inputs": {"image": "{{photo}}"}});
    let mut properties = json!({"prompt": {"type": "string"}, "photo": {"type": "object", "format": "image"}});
    if masked {
        graph["5"] =
            json!({"class_type": "LoadImageMask", "inputs": {"image": "{{where}}", "channel": "{{mask_channel}}"}});
        graph["6"] = json!({"class_type": "MaskToImage", "inputs": {"mask": ["5", 0]}});
        graph["2"]["inputs"]["images"] = json!(["6", 0]);
        properties["where"] = json!({"type": "object", "format": "mask"});
        properties["mask_channel"] = json!({"type": "string", "enum": ["red", "alpha"], "default": "red"});
    }
    workflow["inputSchema"] = json!({"type": "object", "properties": properties, "required": ["prompt", "photo"]});
    workflow
}

/// One that ComfyUI refuses.
fn broken() -> Value {
    let mut workflow = paint_workflow();
    workflow["inputSchema"]["properties"]["sampler"] = json!({"type": "string", "default": "no such sampler"});
    workflow
}

async fn start() -> TestGateway {
    let test = TestBuilder::default()
        .variable("API_KEYS", format!("{ADMIN}:admin:boss,{USER}:user:alice"))
        .variable("OPENAI_MODELS", "gpt-image-1=painter/editor/masker, dall-e-3=painter")
        .key(ADMIN)
        .start()
        .await;
    for (id, workflow) in
        [("painter", painter()), ("editor", editor(false)), ("masker", editor(true)), ("broken", broken())]
    {
        test.register(id, workflow).await;
    }
    test
}

#[tokio::test]
async fn the_official_client_works_unchanged() {
    let Some(python) = python() else { return };
    let test = start().await;
    let bound = json!({"name": "bound", "role": "user", "workflows": ["editor"]});
    let bound = test.post("/keys", &bound).await.expect(201).json()["key"].as_str().expect("a key").to_owned();
    let mut command = Command::new(python);
    command
        .arg(format!("{SCRIPTS}/openai_images.py"))
        .env("OPENAI_BASE_URL", test.url("/v1"))
        .env("OPENAI_API_KEY", USER)
        .env("OTHER_KEY", bound);
    check(&run(command).await);
}
