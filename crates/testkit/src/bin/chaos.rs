//! `cargo xtask chaos`: kills a gateway while it works, and counts.

#![expect(clippy::print_stdout, reason = "its result belongs on standard output")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use gateway_testkit::chaos::Chaos;

#[derive(Parser)]
struct Cli {
    /// The gateway's binary.
    #[arg(long)]
    binary: PathBuf,
    /// How often it is killed.
    #[arg(long, default_value_t = 50)]
    kills: usize,
    /// How many jobs are accepted meanwhile.
    #[arg(long, default_value_t = 200)]
    jobs: usize,
    /// Decides when it is killed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { binary, kills, jobs, seed } = Cli::parse();
    let report = Chaos { binary, kills, jobs, seed }.run().await;
    println!(
        "{kills} kills, {} jobs accepted, {} known, {} prompts run, {} promises broken",
        report.accepted,
        report.known,
        report.started,
        report.broken.len()
    );
    for broken in &report.broken {
        println!("  {broken}");
    }
    if report.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
