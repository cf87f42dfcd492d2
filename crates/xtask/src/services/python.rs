//! A Python of the tests' own, with the packages that users of the gateway would use.

use std::process::Command;

use anyhow::Result;

use super::{check, install, program};
use crate::shell::root;

/// Packages with their versions: what is tested against does not change by itself.
const PACKAGES: &[&str] = &[
    "standardwebhooks==1.1.0",
    "schemathesis==4.32.5",
    "openapi-spec-validator==0.9.0",
    "openapi-python-client==0.29.1",
    "requests==2.34.2",
    "deno==2.9.8",
    "mcp==2.3.0",
    "openai==3.57.0",
];

/// The path of the interpreter.
pub(super) struct Python(String);

impl Python {
    /// Makes it, unless it is there with the same packages.
    pub(super) fn prepare() -> Result<Self> {
        let folder = root().join("target/tools/python");
        let (python, marker) = (folder.join("bin/python"), folder.join("packages"));
        let (made, wanted) = (Self(python.display().to_string()), PACKAGES.join("\n"));
        if python.is_file() && std::fs::read_to_string(&marker).is_ok_and(|there| there == wanted) {
            return Ok(made);
        }
        let system = program("python3", "python3")?;
        let make = || check(Command::new(&system).args(["-m", "venv", "--clear"]).arg(&folder));
        if make().is_err() {
            // Debian has this part of Python in a package of its own.
            install("python3-venv")?;
            make()?;
        }
        eprintln!("== Python packages for the tests");
        check(
            Command::new(&python)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                .args(PACKAGES),
        )?;
        std::fs::write(&marker, wanted)?;
        Ok(made)
    }

    pub(super) fn path(&self) -> &str {
        &self.0
    }
}
