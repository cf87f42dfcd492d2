//! Checks the dependencies with cargo-deny, which is installed below `target` where it is not there.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::shell::{cargo, root};

const VERSION: &str = "0.20.2";

/// Licences, sources and bans always; advisories where their database can be fetched.
pub(crate) fn check() -> Result<()> {
    let program = find()?;
    run(&program, &["check", "bans", "licenses", "sources"])?;
    if run(&program, &["fetch", "db"]).is_err() {
        eprintln!("advisories are not checked: their database can't be fetched from here");
        return Ok(());
    }
    run(&program, &["check", "advisories"])
}

fn find() -> Result<PathBuf> {
    let own = root().join("target/tools");
    let installed = own.join("bin/cargo-deny");
    let candidates = [PathBuf::from("cargo-deny"), installed.clone()];
    for candidate in candidates {
        let answer = Command::new(&candidate).arg("--version").stderr(Stdio::null()).output();
        if answer.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(VERSION)) {
            return Ok(candidate);
        }
    }
    let folder = own.to_string_lossy();
    cargo(&["install", "cargo-deny", "--locked", "--version", VERSION, "--root", &folder], &[])?;
    Ok(installed)
}

fn run(program: &PathBuf, args: &[&str]) -> Result<()> {
    let status = Command::new(program).args(args).status().with_context(|| program.display().to_string())?;
    if !status.success() {
        bail!("cargo-deny {} ended with {status}", args.join(" "));
    }
    Ok(())
}
