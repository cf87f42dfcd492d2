//! Tries the documentation as a reader would: every block of every page that can run is run, in order.

mod block;
mod coverage;
mod links;
mod page;
mod script;
mod transcript;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use self::page::{Ended, Outcome, Tools};
use self::script::Lacking;
use crate::services;
use crate::shell::{cargo, root};

/// The oldest Node that the pages are written for.
const NODE: u32 = 20;

/// Tries the pages whose paths contain one of `only`, all where that is empty, with the gateway `binary`, which is built
/// where none is given.
pub(crate) fn check(only: &[String], binary: Option<PathBuf>) -> Result<()> {
    let pages = pages()?;
    coverage::check()?;
    links::check(&pages)?;
    let tools = tools(binary)?;
    let wanted = |path: &String| only.is_empty() || only.iter().any(|part| path.contains(part.as_str()));
    let (mut ran, mut left, mut failed) = (0_usize, 0_usize, Vec::new());
    for path in pages.into_iter().filter(wanted) {
        for outcome in page::attempt(&path, &tools)? {
            let place = format!("{path}:{}", outcome.line);
            let told = tell(&place, &outcome);
            match outcome.result {
                Ended::Ran(_) => ran += 1,
                Ended::NotRun(_) => left += 1,
                Ended::Failed(why) => failed.push(format!("{place}: {why}")),
            }
            eprintln!("{told}");
        }
    }
    eprintln!("{ran} blocks ran, {left} did not");
    if failed.is_empty() {
        return Ok(());
    }
    bail!("failed: {}; what they said is in {}\n{}", failed.len(), tools.folder.display(), failed.join("\n"))
}

/// A line of the table.
fn tell(place: &str, outcome: &Outcome) -> String {
    let result = match &outcome.result {
        Ended::Ran(time) => format!("ran ({:.1} s)", time.as_secs_f64()),
        Ended::NotRun(reason) => format!("not run: {reason}"),
        Ended::Failed(_) => String::from("FAILED"),
    };
    format!("{place:<32} {:<8} {result}", outcome.language)
}

/// The pages: those of the project, of its deployment and of its crates.
fn pages() -> Result<Vec<String>> {
    let mut pages: Vec<String> =
        ["README.md", "SECURITY.md", "CHANGELOG.md", "deploy/README.md"].map(str::to_owned).into();
    for folder in ["docs", "docs/adr"] {
        let names = entries(folder)?.into_iter().filter(|name| name.ends_with(".md"));
        pages.extend(names.map(|name| format!("{folder}/{name}")));
    }
    let of_crates = entries("crates")?.into_iter().map(|name| format!("crates/{name}/README.md"));
    pages.extend(of_crates.filter(|path| root().join(path).is_file()));
    pages.sort();
    Ok(pages)
}

fn entries(folder: &str) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(root().join(folder)).with_context(|| folder.to_owned())?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn tools(binary: Option<PathBuf>) -> Result<Tools> {
    let binary = match binary {
        Some(binary) => binary,
        None => built()?,
    };
    for program in ["curl", "openssl"] {
        services::program(program, program)?;
    }
    let python = services::python()?.map(PathBuf::from);
    let node = node()?;
    let lacking = Lacking { python: python.is_none(), node: node.is_none() };
    let own = [Some(binary), python, node].into_iter().flatten().filter_map(|program| folder_of(&program));
    let path = services::variable("PATH").unwrap_or_default();
    let path = std::env::join_paths(own.chain(std::env::split_paths(&path)))?;
    Ok(Tools { path, lacking, folder: root().join("target/docs-test") })
}

fn folder_of(program: &Path) -> Option<PathBuf> {
    std::path::absolute(program).ok()?.parent().map(Path::to_owned)
}

/// The gateway as it is now; it lies where this program does.
fn built() -> Result<PathBuf> {
    cargo(&["build", "-p", "comfyui-gateway"], &[])?;
    Ok(std::env::current_exe()?.with_file_name("comfyui-gateway"))
}

/// Node; `None` where it can't be had and its blocks are left out.
fn node() -> Result<Option<PathBuf>> {
    let found = services::program("node", "nodejs").and_then(|node| {
        let version = Command::new(&node).arg("--version").output().context("node --version")?;
        let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
        let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major < Some(NODE) {
            bail!("Node {version} is too old: {NODE} or newer is needed");
        }
        Ok(node)
    });
    match found {
        Ok(node) => Ok(Some(node)),
        Err(error) if services::variable("CI").is_none() => {
            eprintln!("!! Node can't be had here, so its blocks are LEFT OUT: {error:#}");
            Ok(None)
        }
        Err(error) => Err(error.context("Node for the documentation")),
    }
}
