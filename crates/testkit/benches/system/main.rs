//! Benchmarks of the whole system: real processes on this machine, ratios within one run.
//!
//! Run them with `cargo xtask bench NAME`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::panic,
    reason = "a benchmark that can't measure must stop with its reason, and its figures go to standard output"
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
mod shared;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Cli {
    /// The gateway's release binary.
    #[arg(long)]
    binary: PathBuf,
    /// A Postgres server on which databases may be made.
    #[arg(long)]
    postgres: Option<String>,
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
    /// POST /jobs a second against a bare batched handler.
    Accept,
    /// Memory, idle and while a large output passes; time to the first answer.
    Footprint,
    /// Jobs a second through the whole stack with 1, 2 and 4 workers.
    Fleet,
    /// POST /jobs with Postgres and Redis, at a fixed rate and as fast as it goes.
    Shared,
    /// Lists and single jobs at 1,000 and at 1,000,000 jobs.
    Latency,
    /// POST /jobs whose result is in the cache, against one whose is not.
    Cache,
    /// A thousand watchers of running jobs.
    Watchers,
    /// Conversions of pictures, and what they do to everybody else.
    Convert,
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
    match cli.what {
        What::Overhead => overhead::run(binary).await,
        What::Gap => gap::run(binary).await,
        What::Accept => accept::run(binary).await,
        What::Footprint => footprint::run(binary).await,
        What::Fleet => fleet::run(binary, &postgres()).await,
        What::Shared => shared::run(binary, &postgres()).await,
        What::Latency => latency::run(binary, &postgres()).await,
        What::Cache => delivery::cache(binary).await,
        What::Watchers => delivery::watchers(binary).await,
        What::Convert => delivery::conversion(binary).await,
        What::All => {
            footprint::run(binary).await;
            overhead::run(binary).await;
            gap::run(binary).await;
            accept::run(binary).await;
            delivery::cache(binary).await;
            delivery::watchers(binary).await;
            delivery::conversion(binary).await;
            shared::run(binary, &postgres()).await;
            latency::run(binary, &postgres()).await;
            fleet::run(binary, &postgres()).await;
        }
        What::BareServer { port, database, redis } => bare::serve(port, &database, redis.as_deref()).await,
    }
}
