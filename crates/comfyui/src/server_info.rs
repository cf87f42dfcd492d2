//! What a ComfyUI server is and can do, read from `/system_stats`, `/features` and the presence of newer routes.
//! Owns the types and their parsing; sending the requests is `probe`'s work.

use serde_json::Value;

use crate::version::ComfyVersion;

/// What one probe of a server found.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerInfo {
    /// The server's version as it writes it.
    pub version_text: Option<String>,
    /// The parsed version; `None` if the server gives none that can be read.
    pub version: Option<ComfyVersion>,
    /// Devices and memory.
    pub stats: SystemStats,
    /// What the server can do.
    pub capabilities: Capabilities,
}

/// The parts of `GET /system_stats` that describe the machine. Paths and arguments of the process are left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SystemStats {
    /// The server's version as it writes it.
    pub comfyui_version: Option<String>,
    /// Operating system as Python names it, such as `posix` or `linux`.
    pub os: Option<String>,
    /// Python's version text.
    pub python_version: Option<String>,
    /// PyTorch's version text.
    pub pytorch_version: Option<String>,
    /// Main memory in bytes.
    pub ram_total: Option<u64>,
    /// Free main memory in bytes.
    pub ram_free: Option<u64>,
    /// Compute devices, the primary one first.
    pub devices: Vec<Device>,
}

/// One compute device.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Device {
    /// Name, such as `cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync`.
    pub name: String,
    /// Kind, such as `cuda`, `mps` or `cpu`.
    pub kind: String,
    /// Number of the device; `None` for the CPU.
    pub index: Option<i64>,
    /// Memory in bytes.
    pub vram_total: Option<u64>,
    /// Free memory in bytes.
    pub vram_free: Option<u64>,
    /// Memory in bytes that PyTorch has reserved.
    pub torch_vram_total: Option<u64>,
    /// Free bytes within PyTorch's reservation.
    pub torch_vram_free: Option<u64>,
}

/// The answer of `GET /features`, and the payload of a `feature_flags` event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Features {
    /// Whether previews can carry the ids of their prompt and node.
    pub preview_metadata: bool,
    /// Largest request body in bytes.
    pub max_upload_size: Option<u64>,
    /// All flags as sent.
    pub raw: Value,
}

/// What a server can do, as far as a client has to act differently.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// The server keeps the `prompt_id` that the caller sends.
    pub own_prompt_ids: bool,
    /// `POST /interrupt` can name its prompt; without this it stops whatever is running.
    pub targeted_interrupt: bool,
    /// `/api/jobs` exists.
    pub jobs_api: bool,
    /// `POST /api/jobs/{id}/cancel` exists, as far as known.
    pub jobs_cancel: bool,
    /// Previews can carry the ids of their prompt and node.
    pub preview_metadata: bool,
    /// Largest request body in bytes, if the server tells.
    pub max_upload_size: Option<u64>,
}

impl Capabilities {
    /// Decides by version where there is one, and by the presence of routes where there is none.
    pub(crate) fn decide(version: Option<ComfyVersion>, features: Option<&Features>, jobs_api: bool) -> Self {
        let since = |first: ComfyVersion, otherwise: bool| version.map_or(otherwise, |version| version >= first);
        Self {
            own_prompt_ids: since(ComfyVersion::OWN_PROMPT_IDS, features.is_some() || jobs_api),
            targeted_interrupt: since(ComfyVersion::TARGETED_INTERRUPT, jobs_api),
            jobs_api,
            jobs_cancel: jobs_api && since(ComfyVersion::JOBS_CANCEL, true),
            preview_metadata: features.is_some_and(|features| features.preview_metadata),
            max_upload_size: features.and_then(|features| features.max_upload_size),
        }
    }
}

impl Features {
    pub(crate) fn from_value(raw: Value) -> Self {
        Self {
            preview_metadata: raw.get("supports_preview_metadata").and_then(Value::as_bool).unwrap_or(false),
            max_upload_size: raw.get("max_upload_size").and_then(as_bytes),
            raw,
        }
    }
}

impl SystemStats {
    pub(crate) fn from_value(value: &Value) -> Self {
        let system = value.get("system").unwrap_or(&Value::Null);
        let devices = value.get("devices").and_then(Value::as_array);
        Self {
            comfyui_version: text(system, "comfyui_version"),
            os: text(system, "os"),
            python_version: text(system, "python_version"),
            pytorch_version: text(system, "pytorch_version"),
            ram_total: system.get("ram_total").and_then(as_bytes),
            ram_free: system.get("ram_free").and_then(as_bytes),
            devices: devices.into_iter().flatten().map(Device::from_value).collect(),
        }
    }
}

impl Device {
    fn from_value(value: &Value) -> Self {
        let bytes = |key: &str| value.get(key).and_then(as_bytes);
        Self {
            name: text(value, "name").unwrap_or_default(),
            kind: text(value, "type").unwrap_or_default(),
            index: value.get("index").and_then(Value::as_i64),
            vram_total: bytes("vram_total"),
            vram_free: bytes("vram_free"),
            torch_vram_total: bytes("torch_vram_total"),
            torch_vram_free: bytes("torch_vram_free"),
        }
    }
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).map(str::to_owned)
}

/// Sizes come as integers, and as floats such as `1048576.0` when set on ComfyUI's command line.
fn as_bytes(value: &Value) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float that is no size saturates, which is what a limit should do"
    )]
    let from_float = |float: f64| (float >= 0.0).then_some(float as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(from_float))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(version: &str, features: bool, jobs_api: bool) -> Capabilities {
        let features = features.then(|| Features::from_value(json!({"supports_preview_metadata": true})));
        Capabilities::decide(ComfyVersion::parse(version), features.as_ref(), jobs_api)
    }

    #[test]
    fn capabilities_follow_the_version_and_the_presence_of_routes() {
        let old = at("0.3.40", false, false);
        assert_eq!(old, Capabilities::default());
        let measured = at("0.3.64", true, false);
        assert!(measured.own_prompt_ids && measured.targeted_interrupt && measured.preview_metadata);
        assert!(!measured.jobs_api && !measured.jobs_cancel);
        assert!(!at("0.3.56", true, false).targeted_interrupt);
        assert!(at("0.9.0", true, true).jobs_api && !at("0.9.0", true, true).jobs_cancel);
        assert!(at("0.26.0", true, true).jobs_cancel);
        assert!(!at("0.26.0", true, false).jobs_cancel, "a proxy that hides /api/jobs hides the cancel route too");
    }

    #[test]
    fn a_server_without_a_readable_version_is_judged_by_its_routes() {
        assert_eq!(at("unknown", false, false), Capabilities::default());
        assert!(at("unknown", true, false).own_prompt_ids && !at("unknown", true, false).targeted_interrupt);
        assert!(at("unknown", true, true).targeted_interrupt && at("unknown", true, true).jobs_cancel);
    }

    #[test]
    fn upload_limits_given_as_floats_are_read() {
        let features = Features::from_value(json!({"max_upload_size": 1_048_576.0, "assets": true}));
        assert_eq!(features.max_upload_size, Some(1_048_576));
        assert_eq!(Features::from_value(json!({"max_upload_size": -1})).max_upload_size, None);
        assert_eq!(Features::from_value(json!(null)).max_upload_size, None);
    }

    #[test]
    fn system_stats_with_missing_parts_are_read_as_far_as_they_go() {
        let stats = SystemStats::from_value(
            &json!({"system": {"os": "nt", "ram_total": 5}, "devices": [{"type": "cpu", "index": null}]}),
        );
        assert_eq!((stats.os.as_deref(), stats.ram_total, stats.ram_free), (Some("nt"), Some(5), None));
        assert_eq!(stats.devices.len(), 1);
        assert_eq!(stats.devices[0].kind, "cpu");
        assert_eq!(SystemStats::from_value(&json!([])), SystemStats::default());
    }
}
