//! Parses the command line and dispatches.

use std::process::ExitCode;

use comfyui_gateway::cli::Cli;

/// Requests and jobs are many small allocations on several threads: the system's allocator takes a seventh of their time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return comfyui_gateway::cli::no_runtime(&error),
    };
    let code = runtime.block_on(cli.run());
    // What had to be finished is finished; a thread that still waits for something must not keep the process.
    runtime.shutdown_background();
    code
}
