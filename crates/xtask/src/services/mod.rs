//! The servers that tests need: found on this machine or installed, started on free ports with folders of their own,
//! stopped after. What the environment names is used in their place.

mod postgres;
mod python;
mod redis;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use self::postgres::Postgres;
use self::python::Python;
use self::redis::Redis;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Servers that run as long as this lives.
pub(crate) struct Services {
    postgres: Server<Postgres>,
    redis: Server<Redis>,
    s3: Vec<(&'static str, String)>,
    python: Server<Python>,
    promtool: Server<String>,
}

/// One server, where there is one.
enum Server<S> {
    /// Named by the environment.
    Given(String),
    Started(S),
    /// Its tests are left out.
    None,
}

impl Services {
    /// Starts what is not given, and finds or installs the programs that tests start themselves.
    pub(crate) fn start() -> Result<Self> {
        let postgres = variable("DATABASE_URL").filter(|url| url.starts_with("postgres"));
        let services = Self {
            postgres: server("Postgres", postgres, Postgres::start)?,
            redis: server("Redis", variable("REDIS_URL"), Redis::start)?,
            s3: given_s3(),
            python: server("Python with its packages", variable("TEST_PYTHON"), Python::prepare)?,
            promtool: server("promtool", variable("TEST_PROMTOOL"), promtool)?,
        };
        // Tests start their own; without one, those of the whole stack are left out like those of Redis.
        if let Err(error) = program("haproxy", "haproxy") {
            if variable("CI").is_some() {
                return Err(error.context("HAProxy for the tests"));
            }
            eprintln!("!! HAProxy can't be had here, so the tests of the whole stack are LEFT OUT: {error:#}");
        }
        Ok(services)
    }

    /// Postgres alone, and the programs of the servers that are started beside it.
    pub(crate) fn postgres() -> Result<Self> {
        let postgres = variable("DATABASE_URL").filter(|url| url.starts_with("postgres"));
        for (name, package) in [("redis-server", "redis-server"), ("haproxy", "haproxy")] {
            program(name, package)?;
        }
        Ok(Self {
            postgres: server("Postgres", postgres, Postgres::start)?,
            redis: Server::None,
            s3: Vec::new(),
            python: Server::None,
            promtool: Server::None,
        })
    }

    /// The URL of Postgres.
    pub(crate) fn postgres_url(&self) -> Result<&str> {
        match &self.postgres {
            Server::Given(url) => Ok(url),
            Server::Started(server) => Ok(server.url()),
            Server::None => bail!("there is no Postgres"),
        }
    }

    /// What tests are told.
    pub(crate) fn variables(&self) -> Vec<(&'static str, &str)> {
        let postgres = match &self.postgres {
            Server::Given(url) => ("TEST_POSTGRES_URL", url.as_str()),
            Server::Started(server) => ("TEST_POSTGRES_URL", server.url()),
            Server::None => ("TEST_WITHOUT_POSTGRES", "1"),
        };
        let redis = match &self.redis {
            Server::Given(url) => ("TEST_REDIS_URL", url.as_str()),
            Server::Started(server) => ("TEST_REDIS_URL", server.url()),
            Server::None => ("TEST_WITHOUT_REDIS", "1"),
        };
        let s3 = self.s3.iter().map(|(name, value)| (*name, value.as_str()));
        let python = match &self.python {
            Server::Given(path) => ("TEST_PYTHON", path.as_str()),
            Server::Started(python) => ("TEST_PYTHON", python.path()),
            Server::None => ("TEST_WITHOUT_PYTHON", "1"),
        };
        let promtool = match &self.promtool {
            Server::Given(path) | Server::Started(path) => ("TEST_PROMTOOL", path.as_str()),
            Server::None => ("TEST_WITHOUT_PROMTOOL", "1"),
        };
        [postgres, redis, python, promtool].into_iter().chain(s3).collect()
    }
}

/// The S3 server that the environment names, as its tests are told of it; without one they start their own.
fn given_s3() -> Vec<(&'static str, String)> {
    let names = [
        ("S3_ENDPOINT", "S3_TEST_ENDPOINT"),
        ("S3_BUCKET", "S3_TEST_BUCKET"),
        ("S3_ACCESS_KEY", "S3_TEST_ACCESS_KEY"),
        ("S3_SECRET_KEY", "S3_TEST_SECRET_KEY"),
        ("S3_REGION", "S3_TEST_REGION"),
        ("S3_PATH_STYLE", "S3_TEST_PATH_STYLE"),
    ];
    if variable("S3_ENDPOINT").is_none() {
        return Vec::new();
    }
    names.into_iter().filter_map(|(name, told)| Some((told, variable(name)?))).collect()
}

fn server<S>(name: &str, given: Option<String>, start: impl FnOnce() -> Result<S>) -> Result<Server<S>> {
    if let Some(url) = given {
        return Ok(Server::Given(url));
    }
    match start() {
        Ok(server) => Ok(Server::Started(server)),
        Err(error) if variable("CI").is_none() => {
            eprintln!("!! {name} can't be had here, so its tests are LEFT OUT: {error:#}");
            Ok(Server::None)
        }
        Err(error) => Err(error.context(format!("{name} for the tests"))),
    }
}

/// The interpreter of the tests that use what users have.
pub(crate) fn python() -> Result<Option<String>> {
    Ok(match server("Python with its packages", variable("TEST_PYTHON"), Python::prepare)? {
        Server::Given(path) => Some(path),
        Server::Started(python) => Some(python.path().to_owned()),
        Server::None => None,
    })
}

/// What checks alert rules, queries and the text of metrics: a part of Prometheus.
fn promtool() -> Result<String> {
    Ok(program("promtool", "prometheus")?.display().to_string())
}

/// Where `program` lies: found, else installed with Debian's `package`.
pub(crate) fn program(program: &str, package: &str) -> Result<PathBuf> {
    if let Some(path) = find(program) {
        return Ok(path);
    }
    install(package)?;
    find(program).with_context(|| format!("the package {package} is installed and has no `{program}`"))
}

fn find(program: &str) -> Option<PathBuf> {
    let path = variable("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

#[expect(clippy::disallowed_methods, reason = "the chores read what a developer or CI sets; no setting of the gateway")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn install(package: &str) -> Result<()> {
    if !is_root()? || !Path::new("/usr/bin/apt-get").exists() {
        bail!("{package} is not installed; install it, or name a server in the environment");
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

pub(crate) fn free_port() -> Result<u16> {
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
