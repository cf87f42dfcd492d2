//! A Redis of the tests' own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{PATIENCE, check, free_port, program};

pub(super) struct Redis {
    server: Child,
    folder: PathBuf,
    url: String,
}

impl Redis {
    pub(super) fn start() -> Result<Self> {
        let binary = program("redis-server", "redis-server")?;
        let folder = std::env::temp_dir().join(format!("gateway-test-redis-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let port = free_port()?;
        let server = Command::new(binary)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
            .arg("--dir")
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("redis-server")?;
        let redis = Self { server, folder, url: format!("redis://127.0.0.1:{port}") };
        let deadline = Instant::now() + PATIENCE;
        while check(Command::new("redis-cli").args(["-p", &port.to_string(), "ping"])).is_err() {
            if Instant::now() > deadline {
                bail!("Redis does not answer on port {port}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(redis)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Err(error) = self.server.kill().and_then(|()| self.server.wait()) {
            eprintln!("Redis was not stopped: {error}");
        }
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("{} stays: {error}", self.folder.display());
        }
    }
}
