//! Parses the command line and dispatches.

use std::process::ExitCode;

use clap::Parser as _;
use comfyui_gateway::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    Cli::parse().run().await
}
