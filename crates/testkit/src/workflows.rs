//! Workflows that tests register.

use serde_json::{Value, json};

/// A workflow that needs no model: a plain picture whose colour and size are inputs.
pub fn tiny_workflow() -> Value {
    json!({
        "name": "Tiny",
        "workflow": {
            "1": {"class_type": "EmptyImage", "inputs": {
                "width": "{{width|64}}", "height": "{{height|64}}", "batch_size": "{{batch_size|1}}", "color": "{{color}}"
            }},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "tiny"}, "_meta": {"title": "Save"}}
        },
        "inputSchema": {
            "type": "object",
            "properties": {
                "color": {"type": "integer", "minimum": 0, "maximum": 16777215},
                "width": {"type": "integer", "minimum": 1},
                "height": {"type": "integer", "minimum": 1},
                "batch_size": {"type": "integer", "minimum": 1}
            },
            "required": ["color"]
        }
    })
}

/// Text to picture: takes as long as it has steps, and can be interrupted at each.
pub fn sampler_workflow() -> Value {
    json!({
        "name": "Sampler",
        "workflow": {
            "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "{{checkpoint|v1-5-random.safetensors}}"}},
            "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["1", 1]}},
            "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
            "4": {"class_type": "KSampler", "_meta": {"title": "The sampler"}, "inputs": {
                "model": ["1", 0], "seed": "{{seed}}", "steps": "{{steps|1}}", "cfg": 7.0, "sampler_name": "{{sampler|euler}}",
                "scheduler": "normal", "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0], "denoise": 1.0
            }},
            "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
            "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "x"}}
        },
        "inputSchema": {"type": "object", "properties": {
            "seed": {"type": "integer"},
            "steps": {"type": "integer", "minimum": 1, "maximum": 10000},
            "sampler": {"type": "string"},
            "checkpoint": {"type": "string"}
        }}
    })
}

/// The sampler with the prompt and the width as inputs.
pub fn paint_workflow() -> Value {
    let mut workflow = sampler_workflow();
    workflow["workflow"]["2"]["inputs"]["text"] = json!("{{prompt}}");
    workflow["workflow"]["3"]["inputs"]["width"] = json!("{{width|64}}");
    workflow["inputSchema"]["properties"]["prompt"] = json!({"type": "string", "maxLength": 500});
    workflow["inputSchema"]["properties"]["width"] = json!({"type": "integer"});
    workflow
}

/// From the picture that is handed in to one with the same pixels.
pub fn copy_workflow() -> Value {
    json!({
        "workflow": {
            "1": {"class_type": "LoadImage", "inputs": {"image": "{{image}}"}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "copy"}}
        },
        "inputSchema": {
            "type": "object",
            "properties": {"image": {"type": "object", "format": "image"}},
            "required": ["image"]
        }
    })
}
