#![doc = include_str!("../README.md")]
#![expect(clippy::print_stderr, reason = "chores say what they do")]

mod arrows;
mod deny;
mod docs;
mod lengths;
mod services;
mod shell;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};

use crate::services::Services;
use crate::shell::{cargo, cargo_output, root, step};

#[derive(Debug, Parser)]
#[command(about = "The project's own chores")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Run every test.
    Test {
        /// Passed on to `cargo test`, such as a test's name.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run what must hold before a change lands.
    Ci,
    /// Measure the whole system: overhead, gap, accept, footprint, cache, watchers, convert, shared,
    /// latency, fleet, telemetry, all.
    Bench {
        /// What to measure.
        name: String,
    },
    /// Start the whole topology as processes: two APIs behind HAProxy, three workers with a simulator each, Redis,
    /// Postgres, an S3 server.
    Stack {
        /// Passed on: --workers N --once.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Break what a gateway is made of while it works, and count what was promised.
    Chaos {
        /// Passed on: --short --only 1,5 --seed N.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run the tests that take minutes.
    Soak,
    /// Run every block of the documentation that can run, as it stands.
    DocsTest {
        /// The pages whose paths contain one of these; all of them where none is given.
        pages: Vec<String>,
        /// The gateway to try them with, in place of one that is built.
        #[arg(long)]
        binary: Option<PathBuf>,
    },
    /// Write docs/CONFIGURATION.md and .env.example from the table of settings.
    Configuration,
    /// Prove who may know whom.
    Arrows,
    /// Check licences, sources and advisories of the dependencies.
    Deny,
}

fn main() -> Result<()> {
    std::env::set_current_dir(root())?;
    match Cli::parse().chore {
        Chore::Test { args } => test(&args),
        Chore::Ci => ci(),
        Chore::Bench { name } => bench(&name),
        Chore::Stack { args } => with_processes("stack", &args),
        Chore::Chaos { args } => with_processes("chaos", &args),
        Chore::Soak => test(&["--", "--ignored", "--nocapture"].map(str::to_owned)),
        Chore::DocsTest { pages, binary } => docs::check(&pages, binary),
        Chore::Configuration => configuration(),
        Chore::Arrows => arrows::check(),
        Chore::Deny => deny::check(),
    }
}

fn test(args: &[String]) -> Result<()> {
    let mut command = vec!["test", "--workspace"];
    command.extend(args.iter().map(String::as_str));
    let services = Services::start()?;
    // Most of them wait for something most of the time.
    let mut variables = vec![("RUST_TEST_THREADS", "8")];
    variables.extend(services.variables());
    cargo(&command, &variables)
}

fn ci() -> Result<()> {
    step("format", || cargo(&["fmt", "--all", "--check"], &[]))?;
    step("file lengths", lengths::check)?;
    step("lints", || cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[]))?;
    step("lints without traces", || {
        let without = ["--no-default-features", "--features", "bundled-libpq", "--lib", "--bins"];
        cargo(&[&["clippy", "-p", "comfyui-gateway"][..], &without, &["--", "-D", "warnings"]].concat(), &[])
    })?;
    step("documents", || {
        cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"], &[("RUSTDOCFLAGS", "-D warnings")])
    })?;
    step("arrows", arrows::check)?;
    step("dependencies", deny::check)?;
    step("tests", || test(&[]))?;
    step("documentation", || docs::check(&[], None))?;
    eprintln!("all of it holds");
    Ok(())
}

fn configuration() -> Result<()> {
    for (page, path) in [("page", "docs/CONFIGURATION.md"), ("env", ".env.example")] {
        let text = cargo_output(&["run", "--quiet", "-p", "gateway-config", "--example", "configuration", page])?;
        std::fs::write(path, text).with_context(|| path.to_owned())?;
    }
    Ok(())
}

fn bench(name: &str) -> Result<()> {
    cargo(&["build", "--release", "-p", "comfyui-gateway"], &[])?;
    let target = root().join("target");
    let (binary, json) = (target.join("release/comfyui-gateway"), target.join(format!("bench-{name}.json")));
    let (binary, json) = (binary.to_string_lossy(), json.to_string_lossy());
    let mut command = vec!["bench", "-p", "gateway-testkit", "--bench", "system", "--"];
    command.extend(["--binary", &*binary, "--json", &*json]);
    if matches!(name, "fleet" | "shared" | "latency" | "all") {
        let services = Services::postgres()?;
        command.extend(["--postgres", services.postgres_url()?, name]);
        return cargo(&command, &[]);
    }
    command.push(name);
    cargo(&command, &[])
}

/// Runs a program of the testkit that starts gateways as processes, beside a Postgres.
fn with_processes(program: &str, args: &[String]) -> Result<()> {
    cargo(&["build", "-p", "comfyui-gateway", "-p", "gateway-testkit"], &[])?;
    let services = Services::postgres()?;
    let binary = root().join("target/debug/comfyui-gateway");
    let status = Command::new(root().join("target/debug").join(program))
        .arg("--binary")
        .arg(binary)
        .args(["--postgres", services.postgres_url()?])
        .args(args)
        .status()
        .with_context(|| program.to_owned())?;
    // The servers end before this process does.
    drop(services);
    if !status.success() {
        bail!("{program} ended with {status}");
    }
    Ok(())
}
