//! `cargo xtask stack`: the whole topology as processes on this machine, until Ctrl-C.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its result belongs on standard output")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use comfyui_sim::Switches;
use gateway_testkit::stack::{Audit, Stack, StackConfig, Watch};

/// Jobs of a run that ends by itself.
const JOBS: usize = 100;

#[derive(Parser)]
struct Cli {
    /// The gateway's binary.
    #[arg(long)]
    binary: PathBuf,
    /// A Postgres server on which databases may be made.
    #[arg(long)]
    postgres: String,
    /// How many workers, each with a simulated ComfyUI.
    #[arg(long, default_value_t = 3)]
    workers: usize,
    /// Milliseconds that a node takes in the simulators.
    #[arg(long, default_value_t = 50)]
    node_ms: u64,
    /// Run some jobs through it, count, and end.
    #[arg(long)]
    once: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let Ok(binary) = std::fs::canonicalize(&cli.binary) else {
        eprintln!("there is no {}", cli.binary.display());
        return ExitCode::FAILURE;
    };
    let mut config = StackConfig::new(binary, cli.postgres);
    config.workers = cli.workers;
    config.switches = Switches { node_ms: cli.node_ms, ..Switches::default() };
    let stack = Stack::start(config).await;
    say(&stack);
    if cli.once {
        return once(stack).await;
    }
    println!("\nCtrl-C ends it all.");
    if let Err(error) = tokio::signal::ctrl_c().await {
        eprintln!("Ctrl-C can't be heard: {error}");
    }
    ExitCode::SUCCESS
}

fn say(stack: &Stack) {
    println!("gateway   {} (HAProxy, deploy/haproxy.cfg)", stack.url(""));
    for (number, api) in stack.apis.iter().enumerate() {
        println!("api-{number}     {} (process {})", stack.api_url(number), api.pid());
    }
    for (number, (worker, sim)) in stack.workers.iter().zip(&stack.sims).enumerate() {
        println!("worker-{number}  {} (process {}), simulated ComfyUI {}", worker.id, worker.process.pid(), sim.url());
    }
    println!("Redis     {}", stack.redis.url());
    println!("Postgres  {}", stack.postgres.url());
    println!("S3        {} (objects in {})", stack.s3.endpoint(), stack.s3.folder().display());
    println!("logs      {}", stack.folder().display());
    println!("\ncurl -s {}/jobs -H 'Content-Type: application/json' \\", stack.url(""));
    println!("  -d '{{\"workflowId\":\"tiny\",\"inputs\":{{\"color\":255}}}}'");
}

async fn once(stack: Stack) -> ExitCode {
    let watch = Watch::start(stack.database().await);
    let load = stack.load("once", JOBS, None);
    let submitted = load.run(stack.client().clone()).await;
    let audit = Audit::of(&stack, &submitted, watch, Duration::from_secs(120)).await;
    println!("\n{JOBS} jobs: {:?}, {} prompts, {} promises broken", audit.states, audit.prompts, audit.broken.len());
    for broken in &audit.broken {
        println!("  {broken}");
    }
    if audit.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
