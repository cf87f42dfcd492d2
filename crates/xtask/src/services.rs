//! The servers that tests need: found on this machine or installed, started on free ports with folders of their own,
//! stopped after. What the environment names is used in their place.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// The user that Debian's package makes: Postgres does not run as root.
const POSTGRES_USER: &str = "postgres";

/// Servers that run as long as this lives.
pub(crate) struct Services {
    postgres: Option<Postgres>,
    given: Option<String>,
}

struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
    url: String,
}

impl Services {
    /// Starts what is not given.
    pub(crate) fn start() -> Result<Self> {
        let given = variable("DATABASE_URL").filter(|url| url.starts_with("postgres"));
        let postgres = match &given {
            Some(_) => None,
            None => match Postgres::start() {
                Ok(postgres) => Some(postgres),
                Err(error) if variable("CI").is_none() => {
                    eprintln!("!! Postgres can't be had here, so its tests are LEFT OUT: {error:#}");
                    None
                }
                Err(error) => return Err(error.context("Postgres for the tests")),
            },
        };
        Ok(Self { postgres, given })
    }

    /// What tests are told.
    pub(crate) fn variables(&self) -> Vec<(&'static str, &str)> {
        match self.given.as_deref().or_else(|| self.postgres.as_ref().map(|postgres| postgres.url.as_str())) {
            Some(url) => vec![("TEST_POSTGRES_URL", url)],
            None => vec![("TEST_WITHOUT_POSTGRES", "1")],
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the chores read what a developer or CI sets; no setting of the gateway")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Postgres {
    fn start() -> Result<Self> {
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

fn install(package: &str) -> Result<()> {
    if !is_root()? || !Path::new("/usr/bin/apt-get").exists() {
        bail!("{package} is not installed; install it, or name a server in DATABASE_URL");
    }
    eprintln!("== {package} is installed for the tests");
    check(Command::new("apt-get").args(["update", "-qq"]))?;
    check(
        Command::new("apt-get")
            .args(["install", "-y", "-qq", "--no-install-recommends", package])
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

fn is_root() -> Result<bool> {
    let output = Command::new("id").arg("-u").output().context("id -u")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim() == "0")
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Runs a program in silence; its words stand in the error where it fails.
fn check(command: &mut Command) -> Result<()> {
    let name = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().with_context(|| name.clone())?;
    if !output.status.success() {
        bail!("{name} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
