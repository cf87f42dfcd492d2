//! A Postgres of the tests' own.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{PATIENCE, check, free_port, install, is_root, variable};

/// The user that Debian's package makes: Postgres does not run as root.
const POSTGRES_USER: &str = "postgres";

pub(super) struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
    url: String,
}

impl Postgres {
    pub(super) fn start() -> Result<Self> {
        let programs = match programs() {
            Some(programs) => programs,
            None => {
                install("postgresql")?;
                programs().context("the package postgresql is installed and has no `postgres`")?
            }
        };
        let folder = std::env::temp_dir().join(format!("gateway-test-postgres-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let port = free_port()?;
        let url = format!("postgres://gateway@127.0.0.1:{port}/postgres");
        let server = Self { programs, folder, url };
        server.run(port)?;
        Ok(server)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    fn run(&self, port: u16) -> Result<()> {
        if is_root()? {
            check(Command::new("chown").arg(POSTGRES_USER).arg(&self.folder))?;
        }
        let data = self.folder.join("data");
        let data = data.to_string_lossy();
        check(
            self.command("initdb")?
                .args(["--auth=trust", "--username=gateway", "--encoding=UTF8", "--no-sync"])
                .arg("-D")
                .arg(&*data),
        )?;
        // Nothing of a test has to outlive a power cut.
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c fsync=off -c max_connections=300",
            self.folder.display()
        );
        let log = self.folder.join("log");
        check(self.command("pg_ctl")?.arg("-D").arg(&*data).arg("-l").arg(log).args(["-w", "-o", &options, "start"]))?;
        let deadline = Instant::now() + PATIENCE;
        while check(self.command("pg_isready")?.args(["-h", "127.0.0.1", "-p", &port.to_string()])).is_err() {
            if Instant::now() > deadline {
                bail!("Postgres does not answer on port {port}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// One of its programs, as a user that may run it.
    fn command(&self, program: &str) -> Result<Command> {
        let program = self.programs.join(program);
        let mut command = if is_root()? {
            let mut command = Command::new("runuser");
            command.args(["-u", POSTGRES_USER, "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(&self.folder);
        Ok(command)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.folder.join("data");
        let stopped = self
            .command("pg_ctl")
            .and_then(|mut command| check(command.arg("-D").arg(data).args(["-m", "immediate", "stop"])));
        if let Err(error) = stopped {
            eprintln!("Postgres was not stopped: {error:#}");
        }
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("{} stays: {error}", self.folder.display());
        }
    }
}

/// Where Postgres' own programs lie: the newest of Debian's versions, else where `pg_ctl` is found.
fn programs() -> Option<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = debian.map(|entry| entry.path().join("bin")).collect();
    versions.sort();
    versions.retain(|folder| folder.join("initdb").is_file());
    versions.pop().or_else(|| {
        let path = variable("PATH")?;
        std::env::split_paths(&path).find(|folder| folder.join("initdb").is_file() && folder.join("pg_ctl").is_file())
    })
}
