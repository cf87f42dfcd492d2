//! Runs programs, and says what runs.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).map_or_else(|| manifest.clone(), PathBuf::from)
}

/// Runs one step of a chore, with its name and time around it.
pub(crate) fn step(name: &str, run: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("== {name}");
    let began = Instant::now();
    run().with_context(|| format!("{name} does not hold"))?;
    eprintln!("== {name}: holds ({} s)", began.elapsed().as_secs());
    Ok(())
}

/// Runs cargo with `args` and further variables.
pub(crate) fn cargo(args: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    let status = Command::new(env!("CARGO"))
        .args(args)
        .envs(variables.iter().copied())
        .status()
        .with_context(|| format!("cargo {}", args.join(" ")))?;
    if !status.success() {
        bail!("cargo {} ended with {status}", args.join(" "));
    }
    Ok(())
}

/// What cargo writes to standard output.
pub(crate) fn cargo_output(args: &[&str]) -> Result<String> {
    let output = Command::new(env!("CARGO")).args(args).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cargo {}", args.join(" ")))?;
    if !output.status.success() {
        bail!("cargo {} ended with {}", args.join(" "), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
