//! `mcp`: a running gateway for the agent that has started this process. Standard output is the agent's.

mod events;
mod remote;

use std::path::Path;

use gateway_config::Overrides;
use gateway_mcp::{Limits, Server, serve_stdio};
use secrecy::SecretString;

use crate::cli::{Mcp, Setting};
use crate::exit::Failure;
use crate::http::Remote;

use self::remote::Beyond;

/// Serves until the agent closes standard input.
pub(crate) async fn run(setting: &Setting<'_>, args: Mcp) -> Result<(), Failure> {
    let settings = setting.load(&Overrides::default())?;
    let _without_traces = gateway_telemetry::init(&settings.log, None).map_err(Failure::failed)?;
    let mut remote = match &args.gateway {
        Some(url) => Remote::new(url)?.with_key(&settings),
        None => Remote::local(&settings)?,
    };
    if let Some(file) = &args.api_key_file {
        remote = remote.with_secret(key(file)?);
    }
    tracing::info!(url = remote.base(), "an agent is served");
    let limits = Limits { wait: settings.mcp.wait, inline_bytes: settings.mcp.inline_bytes };
    serve_stdio(Server::for_stdio(Beyond::new(remote), limits)).await.map_err(Failure::failed)
}

/// The key in `file`.
fn key(file: &Path) -> Result<SecretString, Failure> {
    let wrong = |what: &str| Failure::usage(format!("--api-key-file: {} {what}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(&format!("can't be read: {error}")))?;
    let key = text.trim();
    let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    if plain { Ok(SecretString::from(key)) } else { Err(wrong("does not hold a key and nothing else")) }
}
