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
mod footprint;
mod gap;
mod load;
mod overhead;
mod process;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Cli {
    /// The gateway's release binary.
    #[arg(long)]
    binary: PathBuf,
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
    /// All of them.
    All,
    /// The bare handler that `accept` compares with.
    #[command(hide = true)]
    BareServer { port: u16, database: PathBuf },
}

#[tokio::main]
async fn main() {
    let cli = Cli::parse();
    let binary = &cli.binary.canonicalize().expect("the binary");
    match cli.what {
        What::Overhead => overhead::run(binary).await,
        What::Gap => gap::run(binary).await,
        What::Accept => accept::run(binary).await,
        What::Footprint => footprint::run(binary).await,
        What::All => {
            footprint::run(binary).await;
            overhead::run(binary).await;
            gap::run(binary).await;
            accept::run(binary).await;
        }
        What::BareServer { port, database } => accept::serve_bare(port, &database).await,
    }
}
