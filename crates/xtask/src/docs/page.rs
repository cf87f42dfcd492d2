//! Tries one page: a folder, a port and a shell of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::script::{Lacking, Part, Step};
use super::{block, script, transcript};
use crate::services::free_port;
use crate::shell::root;

/// How long a page may take: long, since a busy machine is no fault of the page's.
const DEADLINE: Duration = Duration::from_secs(900);

/// What pages are tried with.
pub(super) struct Tools {
    /// Where programs are looked for, the gateway's first.
    pub(super) path: OsString,
    pub(super) lacking: Lacking,
    /// Below it each page has a folder.
    pub(super) folder: PathBuf,
}

/// What became of a block.
pub(super) struct Outcome {
    pub(super) line: usize,
    pub(super) language: String,
    pub(super) result: Ended,
}

pub(super) enum Ended {
    Ran(Duration),
    NotRun(String),
    Failed(String),
}

/// Tries all blocks of the page at `path`, below the root of the workspace.
pub(super) fn attempt(path: &str, tools: &Tools) -> Result<Vec<Outcome>> {
    let text = std::fs::read_to_string(root().join(path)).with_context(|| path.to_owned())?;
    let blocks = block::read(&text).with_context(|| path.to_owned())?;
    let page = Page::prepare(path, tools)?;
    let steps = script::write(&page.folder.join("blocks"), &blocks, tools.lacking).with_context(|| path.to_owned())?;
    let tried = steps.iter().any(|step| matches!(step, Step::Tried { .. }));
    let ended = if tried { page.run(tools)? } else { None };
    Ok(page.outcomes(steps, ended))
}

struct Page {
    folder: PathBuf,
}

impl Page {
    fn prepare(path: &str, tools: &Tools) -> Result<Self> {
        let folder = tools.folder.join(path.replace('/', "-"));
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
        for part in ["blocks", "logs", "work", "home"] {
            std::fs::create_dir_all(folder.join(part)).with_context(|| folder.display().to_string())?;
        }
        Ok(Self { folder })
    }

    /// Runs the script to its end, at most as long as a page may take; `None` where that was too short.
    fn run(&self, tools: &Tools) -> Result<Option<ExitStatus>> {
        let port = free_port()?;
        let part = |name: &str| self.folder.join(name);
        let mut shell = Command::new("bash")
            .arg(part("blocks/driver.sh"))
            .current_dir(part("work"))
            // A reader's shell has none of the machine's settings for the gateway.
            .env_clear()
            .env("PATH", &tools.path)
            .env("HOME", part("home"))
            .env("LANG", "C.UTF-8")
            .env("PORT", port.to_string())
            .env("GATEWAY_URL", format!("http://127.0.0.1:{port}"))
            // Nobody types as fast as this goes.
            .env("RATE_LIMIT_MAX", "100000")
            .env("DENO_NO_UPDATE_CHECK", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("DOCS_BLOCKS", part("blocks"))
            .env("DOCS_LOGS", part("logs"))
            .env("DOCS_STATE", part("state"))
            .env("DOCS_TOOLS", root().join("crates/xtask/docs-tools"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(part("logs/driver"))?)
            .process_group(0)
            .spawn()
            .context("bash")?;
        let ended = wait(&mut shell)?;
        let groups = std::fs::read_to_string(part("logs/groups")).unwrap_or_default();
        for group in groups.lines().map(str::to_owned).chain([shell.id().to_string()]) {
            // Most have ended before.
            Command::new("bash").args(["-c", &format!("kill -KILL -- -{group} 2> /dev/null || true")]).status()?;
        }
        shell.wait()?;
        Ok(ended)
    }

    fn outcomes(&self, steps: Vec<Step>, ended: Option<ExitStatus>) -> Vec<Outcome> {
        let times = Times::read(&self.folder.join("state"));
        let mut stopped = false;
        let mut outcomes = Vec::new();
        for step in steps {
            outcomes.push(match step {
                Step::NotRun { line, language, reason } => Outcome { line, language, result: Ended::NotRun(reason) },
                Step::Tried { line, language, parts } => {
                    let result = if stopped {
                        Ended::Failed(String::from("what stands before it failed"))
                    } else {
                        self.result(&parts, &times, ended)
                    };
                    // A page goes on where an answer only looks other than it is shown.
                    stopped |= parts.iter().any(|part| times.taken(&part.name).is_none());
                    Outcome { line, language, result }
                }
            });
        }
        outcomes
    }

    fn result(&self, parts: &[Part], times: &Times, ended: Option<ExitStatus>) -> Ended {
        let mut all = Duration::ZERO;
        for part in parts {
            let said = |kind: &str| {
                let path = self.folder.join("logs").join(format!("{}.{kind}", part.name));
                String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
            };
            let Some(taken) = times.taken(&part.name) else {
                let how = ended.map_or_else(|| String::from("not in time"), |status| status.to_string());
                return Ended::Failed(format!("{how}\n{}{}", end_of(&said("out")), end_of(&said("err"))));
            };
            let differences = part.shown.as_deref().map(|shown| transcript::differences(shown, &said("out")));
            let differences = differences.unwrap_or_default();
            if !differences.is_empty() {
                return Ended::Failed(format!("{}\n{}", differences.join("\n"), end_of(&said("out"))));
            }
            all += taken;
        }
        Ended::Ran(all)
    }
}

fn wait(shell: &mut Child) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        if let Some(status) = shell.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(None)
}

/// When the parts of a page began and ended, in seconds.
struct Times(BTreeMap<String, (Option<f64>, Option<f64>)>);

impl Times {
    fn read(path: &Path) -> Self {
        let mut times: BTreeMap<String, (Option<f64>, Option<f64>)> = BTreeMap::new();
        for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
            if let [what, name, time] = line.split(' ').collect::<Vec<_>>().as_slice() {
                let entry = times.entry((*name).to_owned()).or_default();
                let time = time.parse().ok();
                if *what == "begin" { entry.0 = time } else { entry.1 = time }
            }
        }
        Self(times)
    }

    /// How long a part took; `None` where it did not end well.
    fn taken(&self, name: &str) -> Option<Duration> {
        let (began, ended) = self.0.get(name)?;
        Duration::try_from_secs_f64((*ended)? - (*began)?).ok()
    }
}

/// The last lines of what was said.
fn end_of(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(40);
    lines.get(from..).unwrap_or_default().iter().map(|line| format!("    {line}\n")).collect()
}
