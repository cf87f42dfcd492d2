//! Keeps files readable: 400 lines at most, tests apart.

use std::path::Path;

use anyhow::{Result, bail};

const LIMIT: usize = 400;

/// Fails with each file that is too long.
pub(crate) fn check() -> Result<()> {
    let mut long = Vec::new();
    walk(Path::new("crates"), &mut long)?;
    if long.is_empty() { Ok(()) } else { bail!("longer than {LIMIT} lines:\n  {}", long.join("\n  ")) }
}

fn walk(folder: &Path, long: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "tests" | "target") {
                walk(&path, long)?;
            }
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            let lines = std::fs::read_to_string(&path)?.lines().count();
            if lines > LIMIT {
                long.push(format!("{} ({lines})", path.display()));
            }
        }
    }
    Ok(())
}
