//! The ComfyUI servers: whether each answers, what it is, and what it says of its node classes.

use std::sync::Arc;
use std::time::Duration;

use comfyui_client::{CallError, ComfyClient, ComfyVersion, Device, ServerInfo};
use gateway_config::{ComfyBackend, Settings};
use gateway_core::chain;
use gateway_core::comfyui_holes::{self, known_holes};
use gateway_core::workflow::NodeCatalog;
use tokio::task::JoinSet;

use super::DEADLINE;
use super::clocks::{Skew, now};
use super::finding::{Area, Finding};
use crate::commands::health::{client_config, likely_cause};

const AREA: Area = Area::Comfyui;
/// The oldest version that is supported.
const OLDEST: ComfyVersion = ComfyVersion::new(0, 3, 40);
/// For all node classes: large, and slow on a server with many custom nodes.
const CLASSES: Duration = Duration::from_secs(15);
const CONNECT: Duration = Duration::from_secs(3);

/// What one server is like.
pub(super) struct Server {
    pub(super) url: String,
    /// Why it can't be used.
    problem: Option<Problem>,
    findings: Vec<Finding>,
    /// Its node classes; `None` where it did not say.
    pub(super) catalog: Option<NodeCatalog>,
    pub(super) skew: Option<Skew>,
}

struct Problem {
    seen: String,
    remedy: String,
    unreachable: bool,
}

/// Whether these settings are those of an API alone, whose workers know the servers.
pub(super) fn is_elsewhere(settings: &Settings) -> bool {
    settings.queue.redis.is_some() && !settings.comfyui.configured
}

/// Looks at all of them at the same time.
pub(super) async fn look(settings: &Arc<Settings>) -> Vec<Server> {
    if is_elsewhere(settings) {
        return Vec::new();
    }
    let mut looks = JoinSet::new();
    for (place, backend) in settings.comfyui.backends.iter().enumerate() {
        let (settings, backend) = (Arc::clone(settings), backend.clone());
        looks.spawn(async move { (place, one(&settings, &backend).await) });
    }
    let mut servers = Vec::new();
    while let Some(looked) = looks.join_next().await {
        servers.extend(looked.ok());
    }
    servers.sort_by_key(|(place, _)| *place);
    servers.into_iter().map(|(_, server)| server).collect()
}

async fn one(settings: &Settings, backend: &ComfyBackend) -> Server {
    let url = backend.display_url.clone();
    let mut server = Server { url, problem: None, findings: Vec::new(), catalog: None, skew: None };
    let client = client_config(settings, backend).and_then(|mut config| {
        config.connect_timeout = CONNECT;
        ComfyClient::new(config)
    });
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            let remedy = String::from("correct COMFYUI_URL and COMFYUI_HEADERS");
            server.problem = Some(Problem { seen: chain(&error).to_string(), remedy, unreachable: false });
            return server;
        }
    };
    match within(DEADLINE, client.probe()).await {
        Ok(info) => {
            server.describe(info, settings.access.raw.enabled);
            server.ask_more(&client).await;
        }
        Err(error) => {
            let remedy = likely_cause(&error, &server.url).to_owned();
            server.problem = Some(Problem { seen: error.to_string(), remedy, unreachable: error.is_transient() });
        }
    }
    server
}

async fn within<T>(time: Duration, call: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
    tokio::time::timeout(time, call).await.unwrap_or(Err(CallError::Timeout { source: None }))
}

impl Server {
    /// What it says of itself. With `raw`, callers may send graphs of their own there.
    fn describe(&mut self, info: ServerInfo, raw: bool) {
        let url = &self.url;
        let version = info.version_text.as_deref().unwrap_or("of unknown version");
        let devices: Vec<String> = info.stats.devices.iter().map(shown).collect();
        let seen = format!("{url}: ComfyUI {version}, {}", devices.join("; "));
        self.findings.push(Finding::ok(AREA, seen.trim_end_matches(", ")));
        match info.version {
            None => {
                let seen = format!("{url} does not tell its version: whether it is supported and safe is not known");
                self.findings.push(Finding::note(AREA, seen));
            }
            Some(number) if number < OLDEST => {
                let seen = format!("{url}: ComfyUI {number} is older than {OLDEST}, the oldest that is supported");
                self.findings.push(Finding::warning(AREA, seen, "update ComfyUI"));
            }
            Some(_) => {}
        }
        self.findings.extend(holes(url, version, raw));
        let slow = |device: &Device| device.kind == "cpu";
        if info.stats.devices.is_empty() || info.stats.devices.iter().all(slow) {
            let seen = format!("{url} has no device but the CPU: pictures take minutes");
            let remedy =
                "if it has a graphics card: the driver, and a PyTorch that is built for it; look at ComfyUI's log";
            self.findings.push(Finding::warning(AREA, seen, remedy));
        }
    }

    /// What takes further calls: events, node classes, the clock.
    async fn ask_more(&mut self, client: &ComfyClient) {
        let asked = now();
        let (events, classes, date) = tokio::join!(
            tokio::time::timeout(DEADLINE, client.connect_events()),
            within(CLASSES, client.object_info()),
            within(DEADLINE, async { client.date().await.map(|date| (date, now())) }),
        );
        let url = &self.url;
        let events = match events {
            Ok(Ok(_stream)) => None,
            Ok(Err(error)) => Some(chain(&error).to_string()),
            Err(_elapsed) => Some(format!("no answer within {} s", DEADLINE.as_secs())),
        };
        if let Some(reason) = events {
            let seen = format!("{url} sends no events: {reason}");
            let remedy =
                "a proxy in between must pass WebSocket upgrades on (/ws). Jobs run all the same, without progress";
            self.findings.push(Finding::warning(AREA, seen, remedy));
        }
        match classes {
            Ok(info) => self.catalog = Some(NodeCatalog::parse(&info)),
            Err(error) => {
                let seen = format!("{url} does not say which node classes it has: {error}");
                let remedy = "see ComfyUI's log: a custom node may fail or take long there (/object_info)";
                self.findings.push(Finding::warning(AREA, seen, remedy));
            }
        }
        if let Ok((Some(date), answered)) = date {
            self.skew = Skew::of_date(&self.url, &date, asked, answered);
        }
    }
}

/// What is known to be dangerous about a version.
fn holes(url: &str, version: &str, raw: bool) -> Option<Finding> {
    let holes: Vec<String> = known_holes(version).iter().map(ToString::to_string).collect();
    let seen = format!("{url}: ComfyUI {version} has known holes:\n{}", holes.join("\n"));
    let who = if raw { "set ALLOW_RAW_WORKFLOWS=false until then" } else { "let nobody but the workers reach it" };
    let remedy = format!("update it to {} or newer; {who}", comfyui_holes::FLOOR);
    (!holes.is_empty()).then(|| Finding::warning(AREA, seen, remedy))
}

/// A device with its memory.
fn shown(device: &Device) -> String {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    match (device.vram_free, device.vram_total) {
        (Some(free), Some(total)) => format!("{}: {:.1} of {:.1} GiB free", device.name, gib(free), gib(total)),
        _ => device.name.clone(),
    }
}

/// What was found of all of them. One that can't be used is an error where no other can be.
pub(super) fn findings(servers: &[Server], settings: &Settings) -> Vec<Finding> {
    if is_elsewhere(settings) {
        let seen = "not looked at: COMFYUI_URL is not set, so this is taken for an API alone";
        return vec![Finding::note(AREA, seen).mended_by("run `comfyui-gateway doctor` where the workers run, too")];
    }
    let one_is_enough = servers.iter().any(|server| server.problem.is_none());
    let mut findings = Vec::new();
    for server in servers {
        findings.extend(server.problem.as_ref().map(|problem| {
            let seen = format!("{}: {}", server.url, problem.seen);
            let remedy = problem.remedy.clone();
            match (one_is_enough, problem.unreachable) {
                (true, _) => Finding::warning(AREA, seen, remedy),
                (false, true) => Finding::unreachable(AREA, seen, remedy),
                (false, false) => Finding::error(AREA, seen, remedy),
            }
        }));
        findings.extend(server.findings.iter().cloned());
    }
    findings
}
