//! `health`: what is reachable, and the likely cause where something isn't.

use comfyui_client::{CallError, ClientConfig, ComfyClient, ConfigError, ServerInfo};
use gateway_config::{ComfyBackend, Overrides, Settings};
use gateway_core::{chain, comfyui_holes};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use url::Url;

use crate::cli::Setting;
use crate::exit::Failure;
use crate::http::{Remote, is_tls_trouble};

/// Looks at ComfyUI and at the gateway; fails where ComfyUI can't be used.
pub(crate) async fn run(setting: &Setting<'_>) -> Result<(), Failure> {
    let settings = setting.load(&Overrides::default())?;
    let gateway = gateway(&settings).await?;
    let mut backends = Vec::new();
    let mut usable = 0;
    for backend in &settings.comfyui.backends {
        let (line, report, ok) = probe(&settings, backend).await;
        setting.output.say(line);
        usable += usize::from(ok);
        backends.push(report);
    }
    setting.output.say(match gateway.get("version").and_then(Value::as_str) {
        Some(version) => format!("gateway   up, version {version}"),
        None => {
            let url = gateway.get("url").and_then(Value::as_str).unwrap_or_default();
            match gateway.get("problem").and_then(Value::as_str) {
                Some(problem) => format!("gateway   {problem}"),
                None => format!("gateway   not running at {url} (start it with `comfyui-gateway run`)"),
            }
        }
    });
    setting.output.say(format!("database  {}", settings.database.shown()));
    setting.output.say(format!("outputs   {}", settings.storage.backend.shown()));
    setting.output.json(&json!({"ok": usable > 0, "comfyui": backends, "gateway": gateway}));
    if usable > 0 { Ok(()) } else { Err(Failure::unreachable("no ComfyUI server can be used")) }
}

async fn gateway(settings: &Settings) -> Result<Value, Failure> {
    let remote = Remote::local(settings)?;
    Ok(match remote.get("/health").await {
        Ok(health) => health,
        Err(failure) if failure.is_unreachable() => json!({"ok": false, "url": remote.base()}),
        Err(failure) => json!({"ok": false, "url": remote.base(), "problem": failure.to_string()}),
    })
}

/// How a server is reached.
pub(super) fn client_config(settings: &Settings, backend: &ComfyBackend) -> Result<ClientConfig, ConfigError> {
    let mut config = ClientConfig::new(backend.url.expose_secret())?;
    let headers = settings.comfyui.headers.iter();
    config.headers = headers.map(|(name, value)| (name.clone(), value.expose_secret().to_owned())).collect();
    Ok(config)
}

async fn probe(settings: &Settings, backend: &ComfyBackend) -> (String, Value, bool) {
    let url = &backend.display_url;
    let client = client_config(settings, backend).and_then(ComfyClient::new);
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            let problem = chain(&error).to_string();
            return (
                format!("ComfyUI   {url}: {problem}"),
                json!({"url": url, "reachable": false, "problem": problem}),
                false,
            );
        }
    };
    match client.probe().await {
        Ok(info) => describe(settings, &client, url, info).await,
        Err(error) => {
            let cause = likely_cause(&error, url);
            let line = format!("ComfyUI   {url}: {error}\n          likely: {cause}");
            (line, json!({"url": url, "reachable": false, "problem": error.to_string(), "likelyCause": cause}), false)
        }
    }
}

async fn describe(settings: &Settings, client: &ComfyClient, url: &str, info: ServerInfo) -> (String, Value, bool) {
    let checkpoints = client.models("checkpoints").await.unwrap_or_default();
    let version = info.version_text.unwrap_or_else(|| String::from("of unknown version"));
    let mut line = format!("ComfyUI   {url}: up, version {version}, {} checkpoints", checkpoints.len());
    let warning = comfyui_holes::warning(&version, settings.access.raw.enabled);
    if let Some(warning) = &warning {
        line.push_str(&format!("\n          warning: {warning}"));
    }
    let mut devices = Vec::new();
    for device in info.stats.devices {
        let gib = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64 / f64::from(1 << 30));
        if let (Some(free), Some(total)) = (gib(device.vram_free), gib(device.vram_total)) {
            line.push_str(&format!("\n          {}: {free:.1} of {total:.1} GiB free", device.name));
        }
        devices.push(json!({"name": device.name, "type": device.kind, "vramFree": device.vram_free, "vramTotal": device.vram_total}));
    }
    let report = json!({"url": url, "reachable": true, "version": version, "devices": devices,
        "checkpoints": checkpoints, "warning": warning});
    (line, report, true)
}

/// What is behind `error` most of the time, and what to do.
pub(super) fn likely_cause(error: &CallError, url: &str) -> &'static str {
    let local = url.contains("127.0.0.1") || url.contains("localhost");
    let text = chain(error).to_string().to_ascii_lowercase();
    let has_path = Url::parse(url).is_ok_and(|url| url.path().len() > 1);
    match error {
        CallError::Unreachable { .. } if text.contains("dns error") || text.contains("lookup") => {
            "there is no host of that name: check its spelling, DNS, or the name of the service in the compose network"
        }
        CallError::Unreachable { .. } if url.starts_with("https") && is_tls_trouble(error) => {
            "that port does not speak TLS, or its certificate is not trusted: use http://, or a certificate of a known \
             authority"
        }
        CallError::Status { status: 404 | 405, .. } if has_path => {
            "ComfyUI is not under that path: check the path in COMFYUI_URL"
        }
        CallError::Cut { .. } if text.contains("invalid http") || text.contains("parse") => {
            "what listens there is no HTTP server: check the port in COMFYUI_URL"
        }
        CallError::Unreachable { .. } if local => {
            "ComfyUI is not running, or on another port (COMFYUI_URL); from inside a container 127.0.0.1 is the \
             container itself: use http://host.docker.internal:8188 and start ComfyUI with --listen"
        }
        CallError::Unreachable { .. } => {
            "ComfyUI is not running, listens on 127.0.0.1 only (start it with --listen), or a firewall is in between"
        }
        CallError::Timeout { .. } => "it accepts connections but does not answer: it may be loading a model, or hang",
        CallError::Misconfigured { .. } => {
            "a proxy or login page answers: put credentials into COMFYUI_URL (http://user:password@host) or COMFYUI_HEADERS"
        }
        CallError::Status { .. } | CallError::Malformed { .. } => "another program answers on that port",
        _ => "see ComfyUI's own log",
    }
}
