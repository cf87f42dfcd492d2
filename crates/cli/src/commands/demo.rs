//! `demo`: one picture from nothing, then a gateway to try.

use std::path::Path;
use std::time::Duration;

use comfyui_sim::{PreviewMethod, SimConfig, Simulator, Switches};
use gateway_config::{DatabaseTarget, LogFilter, LogSettings, Overrides, Settings, StorageBackend};
use gateway_db::Database;
use gateway_storage::Storage;
use reqwest::Method;
use serde_json::{Value, json};
use tracing::level_filters::LevelFilter;

use crate::cli::{Demo, Setting};
use crate::commands::run::wait_for_stop;
use crate::commands::submit::{conclude, follow, text};
use crate::exit::Failure;
use crate::gateway::{Gateway, asks};
use crate::http::Remote;
use crate::output::Output;

/// How long ComfyUI may take until it can be used.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long it may take without a word.
const SILENCE: Duration = Duration::from_secs(1);
const WORKFLOW: &str = "sdxl_realism_v1";

/// Starts a gateway (and where no ComfyUI is configured a simulated one), makes a picture, keeps serving.
pub(crate) async fn run(setting: &Setting<'_>, args: Demo) -> Result<(), Failure> {
    let settings = setting.load(&Overrides::default().with("PORT", args.port))?;
    let telemetry = gateway_telemetry::init(&log(&settings), settings.traces.as_ref()).map_err(Failure::usage)?;
    let ended = serve(setting, args, settings).await;
    telemetry.flush().await;
    ended
}

/// Its own words are what a person reads here: of the log they see what they ask for, else what is wrong.
fn log(settings: &Settings) -> LogSettings {
    let asked = settings.log.clone();
    if asked.configured { asked } else { LogSettings { filter: LogFilter::all(LevelFilter::WARN), ..asked } }
}

async fn serve(setting: &Setting<'_>, args: Demo, mut settings: Settings) -> Result<(), Failure> {
    let output = setting.output;
    let simulator = if settings.comfyui.configured { None } else { Some(simulate().await?) };
    if let Some(simulator) = &simulator {
        let backend = Overrides::default().with("PORT", args.port).with("COMFYUI_URL", Some(simulator.url()));
        settings = setting.load(&backend)?;
        keep_apart(&mut settings);
    }
    // What a demo makes is for whoever runs it, not for workers elsewhere.
    settings.queue.redis = None;
    // Its own client, and who copies its commands, need not trust the certificate.
    if settings.access.tls.take().is_some() {
        output.note("note: a demo serves without TLS; TLS_CERT and TLS_KEY are for `comfyui-gateway run`");
    }
    for warning in settings.warnings(true) {
        output.note(format!("warning: {warning}"));
    }
    say_which(output, &settings, simulator.is_some());
    let client = settings.clone();
    let gateway = Gateway::start_with_bundled(settings).await?;
    let remote = Remote::new(&gateway.url())?.with_key(&client);
    output.say(format!("gateway   {}", gateway.url()));
    let asks = asks(&client, gateway.database()).await.map_err(Failure::failed)?;
    if asks && client.access.client_key.is_none() {
        let database = gateway.database().shown();
        output.note(format!("note: there are keys in {database} or the settings: set GATEWAY_API_KEY to one of them"));
    }
    let made = make_picture(&remote, &gateway, &args.prompt, simulator.is_some(), output).await;
    if args.once {
        stop(gateway, simulator).await;
        return made;
    }
    made?;
    say_what_next(output, &gateway.url(), asks);
    wait_for_stop().await;
    output.say("stopping");
    stop(gateway, simulator).await;
    Ok(())
}

/// What waits for a real ComfyUI must not get a simulated picture: a database and outputs of the demo's own.
fn keep_apart(settings: &mut Settings) {
    let folder = settings.database.file().and_then(Path::parent).unwrap_or(Path::new("data")).join("demo");
    settings.database.target = DatabaseTarget::Sqlite { path: folder.join("gateway.db") };
    settings.storage.backend = StorageBackend::Local { root: folder.join("outputs") };
}

async fn simulate() -> Result<Simulator, Failure> {
    let switches =
        Switches { node_ms: 30, step_ms: 60, load_ms: 300, preview_method: PreviewMethod::Jpeg, ..Switches::default() };
    Simulator::start(SimConfig { switches, ..SimConfig::default() })
        .await
        .map_err(|error| Failure::failed(format!("the simulated ComfyUI can't start: {error}")))
}

fn say_which(output: Output, settings: &Settings, simulated: bool) {
    let urls: Vec<&str> = settings.comfyui.backends.iter().map(|backend| backend.display_url.as_str()).collect();
    let urls = urls.join(", ");
    if simulated {
        output.say(format!("ComfyUI   SIMULATED at {urls}: no GPU, no models; its pictures only show prompt and seed"));
        output.say("          (set COMFYUI_URL to use a real one)");
    } else {
        output.say(format!("ComfyUI   REAL at {urls} (COMFYUI_URL)"));
    }
}

/// `own`: the simulator is the demo's own, and was told of.
async fn make_picture(
    remote: &Remote,
    gateway: &Gateway,
    prompt: &str,
    own: bool,
    output: Output,
) -> Result<(), Failure> {
    let health = wait_for_comfyui(remote, output).await?;
    if !own && is_simulator(&health) {
        output.say("note      what answers there is a simulated ComfyUI, too: its pictures only show prompt and seed");
    }
    let mut inputs = json!({"prompt": prompt, "seed": 42});
    if let (Some(checkpoint), Some(object)) = (other_checkpoint(&health), inputs.as_object_mut()) {
        output.say(format!("note      this ComfyUI lacks the workflow's own checkpoint; {checkpoint} is used instead"));
        object.insert(String::from("checkpoint"), json!(checkpoint));
    }
    let job = json!({"workflowId": WORKFLOW, "inputs": inputs});
    let answer = remote.send(Method::POST, "/jobs", Some(&job)).await?;
    let id = text(&answer, "jobId");
    output.say(format!("job       {id} ({WORKFLOW}: {prompt})"));
    let job = follow(remote, id, output).await?;
    conclude(remote, &job, &[], output)?;
    let place = first_file(gateway.database(), gateway.storage().as_ref(), id).await;
    if let Some(place) = &place {
        output.say(format!("  lies at {place}"));
    }
    output.json(&json!({"job": job, "file": place, "gateway": remote.base()}));
    Ok(())
}

/// Waits until the gateway can use ComfyUI; else says what is wrong with it.
async fn wait_for_comfyui(remote: &Remote, output: Output) -> Result<Value, Failure> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let tell = tokio::time::Instant::now() + SILENCE;
    let mut told = false;
    loop {
        let ready = remote.request(Method::GET, "/health/ready", None).await?;
        if ready.status().is_success() {
            return remote.get("/health").await;
        }
        let problem: Value = ready.json().await.unwrap_or_default();
        if tokio::time::Instant::now() > deadline {
            return Err(Failure::unreachable(text(&problem, "detail")));
        }
        if !told && tokio::time::Instant::now() > tell {
            told = true;
            output.note(format!("waiting for ComfyUI, {} s at most: {}", PATIENCE.as_secs(), text(&problem, "detail")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether the server says of itself that it only simulates.
fn is_simulator(health: &Value) -> bool {
    let devices = health.pointer("/comfyui/devices").and_then(Value::as_array);
    let mut names = devices.into_iter().flatten().filter_map(Value::as_str);
    health.pointer("/comfyui/url").is_some() && names.any(|name| name.contains("Simulated"))
}

/// A checkpoint to use in place of the workflow's own, where that is not there.
fn other_checkpoint(health: &Value) -> Option<String> {
    let checkpoints = health.pointer("/comfyui/models/checkpoints")?.as_array()?;
    let names = || checkpoints.iter().filter_map(Value::as_str);
    if names().any(|name| name == "sd_xl_base_1.0.safetensors") {
        return None;
    }
    names().find(|name| name.ends_with(".safetensors")).map(str::to_owned)
}

async fn first_file(database: &Database, storage: &dyn Storage, id: &str) -> Option<String> {
    let outputs = database.outputs_of(id.parse().ok()?).await.ok()?;
    storage.locate(&outputs.first()?.storage_key)
}

fn say_what_next(output: Output, url: &str, asks: bool) {
    let key = if asks { " -H \"X-API-Key: $GATEWAY_API_KEY\"" } else { "" };
    output.say(format!(
        "\nIt keeps serving; Ctrl-C ends it. Three things to try:\n\n\
         curl -s {url}/jobs{key} -H 'Content-Type: application/json' \\\n  \
         -d '{{\"workflowId\":\"icon_512\",\"inputs\":{{\"prompt\":\"a paper plane\"}}}}'\n\n\
         curl -s '{url}/jobs?limit=1'{key}\n\n\
         curl -s {url}/capabilities"
    ));
}

async fn stop(gateway: Gateway, simulator: Option<Simulator>) {
    gateway.stop().await;
    if let Some(simulator) = simulator {
        simulator.stop().await;
    }
}
