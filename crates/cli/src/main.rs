//! Parses the command line and dispatches.

use std::process::ExitCode;

use clap::Parser as _;
use comfyui_gateway::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return comfyui_gateway::cli::no_runtime(&error),
    };
    let code = runtime.block_on(cli.run());
    // What had to be finished is finished; a thread that still waits for something must not keep the process.
    runtime.shutdown_background();
    code
}
