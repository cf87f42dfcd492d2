//! What the server says about itself: machine, features, classes and models.

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::{Shared, reply};
use crate::config::Profile;
use crate::life::Life;

const DEFAULT_LIMIT: u64 = 104_857_600;
const GIB: u64 = 1 << 30;

/// What `/features` and the reply to `feature_flags` say.
pub(super) fn server_features(life: &Life) -> Value {
    let limit = life.switches().max_upload_bytes;
    // A limit from the command line is a product with a float.
    #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^52")]
    let limit = if limit == DEFAULT_LIMIT { Value::from(limit) } else { Value::from(limit as f64) };
    let mut features = json!({"supports_preview_metadata": true, "max_upload_size": limit});
    if life.profile >= Profile::V0_40
        && let Value::Object(features) = &mut features
    {
        features.insert("supports_model_type_tags".to_owned(), Value::from(true));
        features.insert("extension".to_owned(), json!({"manager": {"supports_v4": true}}));
        features.insert("node_replacements".to_owned(), Value::from(true));
        features.insert("assets".to_owned(), Value::from(true));
    }
    features
}

pub(super) async fn features(State(life): State<Shared>) -> Response {
    reply::ok_json(&server_features(&life))
}

pub(super) async fn system_stats(State(life): State<Shared>) -> Response {
    let profile = life.profile;
    let newer = profile >= Profile::V0_26;
    let mut system = json!({
        "os": if newer { "linux" } else { "posix" }, "ram_total": 32 * GIB, "ram_free": 24 * GIB,
        "comfyui_version": profile.comfyui_version(), "required_frontend_version": "1.27.10",
        "installed_templates_version": "0.1.95", "required_templates_version": "0.1.95",
        "python_version": "3.11.7 (main) [GCC 12.2.0]", "pytorch_version": "2.5.1+cu124", "embedded_python": false,
        "argv": ["main.py", "--listen", "127.0.0.1"],
    });
    if newer && let Value::Object(system) = &mut system {
        system.insert("comfy_package_versions".to_owned(), json!({}));
        system.insert("deploy_environment".to_owned(), json!("local"));
    }
    let device = json!({
        "name": "cuda:0 Simulated GPU : cudaMallocAsync", "type": "cuda", "index": 0, "vram_total": 16 * GIB,
        "vram_free": 12 * GIB, "torch_vram_total": 4 * GIB, "torch_vram_free": 2 * GIB,
    });
    reply::ok_json(&json!({"system": system, "devices": [device]}))
}

pub(super) async fn all_classes(State(life): State<Shared>) -> Response {
    reply::ok_json(&life.app.definitions.describe_all(&life.app.files))
}

pub(super) async fn one_class(State(life): State<Shared>, Path(class): Path<String>) -> Response {
    let described = life.app.definitions.describe(&class, &life.app.files);
    let answer: Map<String, Value> = described.map(|info| (class, info)).into_iter().collect();
    reply::ok_json(&Value::Object(answer))
}

const MODEL_FOLDERS: [&str; 20] = [
    "checkpoints",
    "configs",
    "loras",
    "vae",
    "text_encoders",
    "diffusion_models",
    "clip_vision",
    "style_models",
    "embeddings",
    "diffusers",
    "vae_approx",
    "controlnet",
    "gligen",
    "upscale_models",
    "custom_nodes",
    "hypernetworks",
    "photomaker",
    "classifiers",
    "model_patches",
    "audio_encoders",
];

pub(super) async fn model_folders() -> Response {
    reply::ok_json(&json!(MODEL_FOLDERS))
}

pub(super) async fn models(State(life): State<Shared>, Path(folder): Path<String>) -> Response {
    match folder.as_str() {
        "checkpoints" => reply::ok_json(&json!(life.app.config.checkpoints)),
        known if MODEL_FOLDERS.contains(&known) => reply::ok_json(&json!([])),
        _ => reply::empty(axum::http::StatusCode::NOT_FOUND),
    }
}

pub(super) async fn embeddings() -> Response {
    reply::ok_json(&json!([]))
}

pub(super) async fn extensions() -> Response {
    let names = [
        "groupNode",
        "maskEditorOld",
        "clipspace",
        "maskEditorLayerFilenames",
        "widgetInputs",
        "groupNodeManage",
        "load3d/NodeStorage",
        "load3d/ViewHelperManager",
        "load3d/ControlsManager",
        "load3d/RecordingManager",
        "load3d/ModelExporter",
        "load3d/AnimationManager",
        "load3d/LoaderManager",
        "load3d/LightingManager",
        "load3d/CameraManager",
        "load3d/SceneModelManager",
        "load3d/SceneManager",
        "load3d/PreviewManager",
        "load3d/EventManager",
    ];
    reply::ok_json(&json!(names.map(|name| format!("/extensions/core/{name}.js"))))
}
