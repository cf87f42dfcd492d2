//! `sim`: a simulated ComfyUI as a program of its own.

use std::net::SocketAddr;

use comfyui_sim::{SimConfig, Simulator, Switches};
use gateway_config::{LogFilter, LogFormat, LogSettings};
use serde_json::{Map, Value, json};
use tracing::level_filters::LevelFilter;

use crate::cli::{Setting, Sim};
use crate::commands::run::wait_for_stop;
use crate::exit::Failure;

/// Listens until it is told to stop.
pub(crate) async fn run(setting: &Setting<'_>, args: Sim) -> Result<(), Failure> {
    let log = LogSettings { filter: LogFilter::all(LevelFilter::INFO), format: LogFormat::Auto, configured: false };
    let _without_traces = gateway_telemetry::init(&log, None).map_err(Failure::failed)?;
    let config = SimConfig {
        listen: SocketAddr::new(args.host, args.port),
        profile: args.profile,
        switches: switches(&args)?,
        ..SimConfig::default()
    };
    let listen = config.listen;
    let simulator =
        Simulator::start(config).await.map_err(|error| Failure::failed(format!("{listen} can't be bound: {error}")))?;
    setting.output.say(format!("a simulated ComfyUI ({}) listens on {}", args.profile, simulator.url()));
    setting.output.say("no GPU, no models: its pictures show the prompt and the seed");
    setting.output.json(&json!({"url": simulator.url(), "profile": args.profile.to_string()}));
    wait_for_stop().await;
    simulator.stop().await;
    Ok(())
}

fn switches(args: &Sim) -> Result<Switches, Failure> {
    let mut given: Map<String, Value> = match &args.switches {
        Some(text) => serde_json::from_str(text).map_err(|error| Failure::usage(format!("--switches: {error}")))?,
        None => Map::new(),
    };
    for (name, value) in [
        ("nodeMs", json!(args.node_ms)),
        ("stepMs", json!(args.step_ms)),
        ("loadMs", json!(args.load_ms)),
        ("memoryLimitPixels", json!(args.memory_limit)),
    ] {
        given.entry(name).or_insert(value);
    }
    serde_json::from_value(Value::Object(given)).map_err(|error| Failure::usage(format!("--switches: {error}")))
}
