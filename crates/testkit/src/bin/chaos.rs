//! `cargo xtask chaos`: breaks what a gateway is made of while it works, and counts.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its result belongs on standard output")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use gateway_testkit::chaos::{EXPERIMENTS, Place, Scale, run, table};

#[derive(Parser)]
struct Cli {
    /// The gateway's binary.
    #[arg(long)]
    binary: PathBuf,
    /// A Postgres server on which databases may be made.
    #[arg(long)]
    postgres: String,
    /// Seconds in place of hours.
    #[arg(long)]
    short: bool,
    /// Only these experiments, comma-separated.
    #[arg(long, value_delimiter = ',')]
    only: Vec<u32>,
    /// Decides what is random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { binary, postgres, short, only, seed } = Cli::parse();
    let scale = if short { Scale::Short } else { Scale::Full };
    // Processes are started in folders of their own.
    let Ok(binary) = std::fs::canonicalize(&binary) else {
        eprintln!("there is no {}", binary.display());
        return ExitCode::FAILURE;
    };
    let place = Place { binary, postgres, scale, seed };
    let mut outcomes = Vec::new();
    for (number, name) in EXPERIMENTS.iter().filter(|(number, _)| only.is_empty() || only.contains(number)) {
        eprintln!("== {number}: {name}");
        let outcome = run(*number, &place).await;
        eprint!("{}", table(std::slice::from_ref(&outcome)));
        outcomes.push(outcome);
    }
    println!("{}", table(&outcomes));
    let broken = outcomes.iter().filter(|outcome| !outcome.broken.is_empty()).count();
    println!("{} experiments, {broken} with a broken promise", outcomes.len());
    if broken == 0 && !outcomes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
