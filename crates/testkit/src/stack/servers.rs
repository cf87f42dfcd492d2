//! The servers beside the gateway: Redis, a database of its own in Postgres, HAProxy.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{Process, free_port};
use crate::wait::until;

/// A Redis that can be killed.
pub struct Redis {
    port: u16,
    folder: PathBuf,
    arguments: Vec<String>,
    process: Option<Process>,
}

impl Redis {
    /// Starts one; `appends`: with an append-only file.
    pub async fn start(folder: &Path, appends: bool) -> Self {
        Self::with(folder, &["--appendonly", if appends { "yes" } else { "no" }]).await
    }

    /// Starts one with these arguments.
    pub async fn with(folder: &Path, arguments: &[&str]) -> Self {
        let folder = folder.join("redis");
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut redis = Self {
            port: free_port(),
            folder,
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            process: None,
        };
        redis.restart().await;
        redis
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it again on the same port and waits until it answers.
    pub async fn restart(&mut self) {
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(&self.arguments)
            .arg("--dir")
            .arg(&self.folder);
        self.process = Some(Process::start("redis", command, &self.folder));
        until("Redis answers", || async { (self.ask(&["ping"]) == "PONG").then_some(()) }).await;
    }

    /// Ends it without a warning.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// What it answers to a command.
    pub fn ask(&self, command: &[&str]) -> String {
        let output = Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(command).output();
        String::from_utf8_lossy(&output.expect("the program redis-cli").stdout).trim().to_owned()
    }
}

/// A database of its own on the tests' Postgres.
pub struct Postgres {
    server: String,
    name: String,
}

impl Postgres {
    /// Makes one on `server`.
    pub fn new(server: &str, name: &str) -> Self {
        let database = Self { server: server.to_owned(), name: name.to_owned() };
        database.execute(&format!("CREATE DATABASE {name}"));
        database
    }

    /// Its URL.
    pub fn url(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').expect("a database in the URL");
        format!("{server}/{}", self.name)
    }

    /// Runs a statement beside it; gives what it answers.
    pub fn execute(&self, sql: &str) -> String {
        let output = Command::new("psql").args([&self.server, "-v", "ON_ERROR_STOP=1", "-qtAc", sql]).output();
        let output = output.expect("the program psql");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Ends every session on it; tells how many.
    pub fn end_sessions(&self) -> usize {
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname";
        self.execute(&format!("{end} = '{}'", self.name)).parse().unwrap_or_default()
    }

    /// How many sessions there are on it.
    pub fn sessions(&self) -> usize {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE datname";
        self.execute(&format!("{count} = '{}'", self.name)).parse().unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // What is left of it goes with the server.
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        let _ = Command::new("psql").args([&self.server, "-qc", &drop]).output();
    }
}

/// HAProxy with the project's own configuration in front of two APIs.
pub struct HaProxy {
    port: u16,
    stats: u16,
    _process: Process,
}

impl HaProxy {
    /// Starts it.
    pub fn start(folder: &Path, apis: [u16; 2]) -> Self {
        let configuration = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/haproxy.cfg");
        let (port, stats) = (free_port(), free_port());
        let program = if Path::new("/usr/sbin/haproxy").exists() { "/usr/sbin/haproxy" } else { "haproxy" };
        let mut command = Command::new(program);
        command
            .args(["-f", configuration])
            .env("BIND_HOST", "127.0.0.1")
            .env("BIND_PORT", port.to_string())
            .env("STATS_PORT", stats.to_string())
            .env("API_1", format!("127.0.0.1:{}", apis[0]))
            .env("API_2", format!("127.0.0.1:{}", apis[1]));
        Self { port, stats, _process: Process::start("haproxy", command, folder) }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The URL of its statistics, comma-separated.
    pub fn statistics(&self) -> String {
        format!("http://127.0.0.1:{}/stats;csv", self.stats)
    }
}
