//! Benchmarks of the whole system: real processes on this machine, ratios within one run.
//!
//! Run them with `cargo xtask bench NAME`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::panic,
    reason = "a benchmark that can't measure must stop with its reason, and its figures go to standard output, how far it is to standard error"
)]
#![allow(missing_docs, reason = "a program, not a library")]

mod accept;
mod bare;
mod delivery;
mod fleet;
mod footprint;
mod gap;
mod latency;
mod load;
mod overhead;
mod process;
mod report;
mod shared;
mod telemetry;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use crate::report::Report;

#[derive(Parser)]
struct Cli {
    /// The gateway's release binary.
    #[arg(long)]
    binary: PathBuf,
    /// A Postgres server on which databases may be made.
    #[arg(long)]
    postgres: Option<String>,
    /// Also write the table to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Passed by cargo.
    #[arg(long, hide = true, global = true)]
    bench: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// POST to seen succeeded, with a ComfyUI that needs no time.
    Overhead,
    /// How long ComfyUI stands idle between two queued jobs.
    Gap,
    /// POST /jobs and GET /jobs/{id} a second against bare handlers.
    Accept,
    /// Memory, idle and while a large output passes; time to the first answer.
    Footprint,
    /// Jobs a second through the whole stack with 1, 2 and 4 workers.
    Fleet,
    /// POST /jobs and whole jobs with Postgres and Redis.
    Shared,
    /// Lists and single jobs at 1,000 and at 1,000,000 jobs.
    Latency,
    /// POST /jobs whose result is in the cache, against one whose is not.
    Cache,
    /// A thousand watchers of running jobs.
    Watchers,
    /// Conversions of pictures, and what they do to everybody else.
    Convert,
    /// What log lines, metrics and traces cost each `POST /jobs`.
    Telemetry,
    /// All of them.
    All,
    /// The bare handler that `accept` and `shared` compare with.
    #[command(hide = true)]
    BareServer { port: u16, database: String, redis: Option<String> },
}

#[tokio::main]
async fn main() {
    let cli = Cli::parse();
    let binary = &cli.binary.canonicalize().expect("the binary");
    let postgres = || cli.postgres.clone().expect("--postgres");
    let report = &mut Report::default();
    match cli.what {
        What::Overhead => overhead::run(binary, report).await,
        What::Gap => gap::run(binary, report).await,
        What::Accept => accept::run(binary, report).await,
        What::Footprint => footprint::run(binary, report).await,
        What::Fleet => fleet::run(binary, &postgres(), report).await,
        What::Shared => {
            shared::run(binary, &postgres(), report).await;
            overhead::shared(binary, &postgres(), report).await;
        }
        What::Latency => latency::run(binary, &postgres(), report).await,
        What::Cache => delivery::cache(binary, report).await,
        What::Watchers => delivery::watchers(binary, report).await,
        What::Convert => delivery::conversion(binary, report).await,
        What::Telemetry => telemetry::run(binary, report).await,
        What::All => all(binary, &postgres(), report).await,
        What::BareServer { port, database, redis } => return bare::serve(port, &database, redis.as_deref()).await,
    }
    println!("{}", report.table());
    if let Some(path) = &cli.json {
        report.write(path);
        eprintln!("the same as JSON: {}", path.display());
    }
}

async fn all(binary: &Path, postgres: &str, report: &mut Report) {
    footprint::run(binary, report).await;
    accept::run(binary, report).await;
    telemetry::run(binary, report).await;
    shared::run(binary, postgres, report).await;
    overhead::run(binary, report).await;
    overhead::shared(binary, postgres, report).await;
    gap::run(binary, report).await;
    fleet::run(binary, postgres, report).await;
    latency::run(binary, postgres, report).await;
    delivery::cache(binary, report).await;
    delivery::watchers(binary, report).await;
    delivery::conversion(binary, report).await;
}
