//! A folder to run commands in, and processes that end with the test.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything in a test may take.
const DEADLINE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);

/// Polls `check` until it gives something; panics with what `what` says after [`DEADLINE`].
pub(crate) fn until<T>(what: impl Fn() -> String, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not happen in time: {}", what());
        std::thread::sleep(LOOK);
    }
}

/// The URL of the server that the test command has, `name` being POSTGRES or REDIS; `None` where it has left that out.
#[expect(clippy::disallowed_methods, reason = "the test command tells where its servers are")]
pub(crate) fn server(name: &str) -> Option<String> {
    if std::env::var(format!("TEST_WITHOUT_{name}")).is_ok() {
        return None;
    }
    let url = std::env::var(format!("TEST_{name}_URL"));
    Some(url.unwrap_or_else(|_| panic!("no TEST_{name}_URL: run the tests by `cargo xtask test`")))
}

/// An empty folder and the variables that commands run there see. Those of the machine are hidden from them.
pub(crate) struct Place {
    folder: TempDir,
    variables: BTreeMap<String, String>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().expect("a folder"), variables: BTreeMap::new() }
    }

    /// With a simulated ComfyUI as COMFYUI_URL, which takes no time where `flags` don't say otherwise.
    pub(crate) fn with_comfyui(flags: &[&str]) -> (Self, Process) {
        let mut place = Self::new();
        let mut arguments = vec!["--json", "sim", "--port", "0"];
        for quick in ["--node-ms", "--step-ms", "--load-ms"] {
            if !flags.contains(&quick) {
                arguments.extend([quick, "0"]);
            }
        }
        arguments.extend(flags);
        let simulator = place.start(&arguments);
        let url = simulator.out.find("the simulator's URL", url_of);
        place.set("COMFYUI_URL", &url);
        (place, simulator)
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        self.variables.get(name).unwrap_or_else(|| panic!("{name} is not set"))
    }

    /// All that is set.
    pub(crate) fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a file");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("a text file")
    }

    /// Starts `comfyui-gateway` with these arguments.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_comfyui-gateway"));
        for variable in gateway_config::VARIABLES {
            command.env_remove(variable.name);
        }
        let mut child = command
            .args(arguments)
            .envs(&self.variables)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let out = Lines::of(child.stdout.take().expect("its standard output"));
        let err = Lines::of(child.stderr.take().expect("its standard error"));
        Process { child, out, err }
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).end()
    }

    /// Starts the gateway on a free port, which PORT has from then on.
    pub(crate) fn start_gateway(&mut self) -> Process {
        self.set("HOST", "127.0.0.1");
        self.set("PORT", "0");
        self.set("LOG_FORMAT", "json");
        let gateway = self.start(&["run"]);
        let serves = |line: &str| line.contains("\"the gateway serves\"").then(|| url_of(line)).flatten();
        let url = gateway.err.find("the gateway serves", serves);
        self.set("PORT", url.rsplit(':').next().expect("a port"));
        gateway
    }
}

/// The `url` of a line that is JSON.
pub(crate) fn url_of(line: &str) -> Option<String> {
    serde_json::from_str::<Value>(line).ok()?.get("url")?.as_str().map(str::to_owned)
}

/// The lines that a process has written so far.
#[derive(Clone)]
pub(crate) struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                kept.lock().expect("the lines").push(line);
            }
        });
        Self { lines, reader: Arc::new(Mutex::new(Some(reader))) }
    }

    pub(crate) fn text(&self) -> String {
        self.lines.lock().expect("the lines").join("\n")
    }

    /// Waits for a line from which `find` gets something; panics where none comes any more.
    pub(crate) fn find<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let look = || {
            let over = self.reader.lock().expect("the reader").as_ref().is_none_or(JoinHandle::is_finished);
            let found = self.lines.lock().expect("the lines").iter().find_map(|line| find(line));
            assert!(found.is_some() || !over, "it ended without {what}:\n{}", self.text());
            found
        };
        until(|| format!("{what}; so far:\n{}", self.text()), look)
    }

    /// All of it, once the process has ended.
    fn whole(&self) -> String {
        if let Some(reader) = self.reader.lock().expect("the reader").take() {
            reader.join().expect("the reader");
        }
        self.text()
    }
}

/// A process; killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) out: Lines,
    pub(crate) err: Lines,
}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop, as a service manager does.
    #[cfg(unix)]
    pub(crate) fn terminate(&self) {
        let kill = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.id())]).status();
        assert!(kill.expect("a shell").success(), "the process {} is gone", self.id());
    }

    /// Ends it by a signal that it can't hear; gives all that it wrote until then.
    pub(crate) fn kill(mut self) -> String {
        self.child.kill().expect("it runs");
        self.child.wait().expect("its end");
        format!("{}\n{}", self.out.whole(), self.err.whole())
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let (out, err) = (self.out.clone(), self.err.clone());
        let what = || format!("the process ends; so far:\n{}\n{}", out.text(), err.text());
        let status = until(what, || self.child.try_wait().expect("its state"));
        let code = status.code().unwrap_or_else(|| panic!("a signal ended it: {status}"));
        Ended { code, out: self.out.whole(), err: self.err.whole() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Itself, where it ended with `code`.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "standard output:\n{}\nstandard error:\n{}", self.out, self.err);
        self
    }

    /// Its standard output, which must be one JSON value.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in:\n{}", self.out))
    }

    /// Asserts that standard error holds each of `parts`.
    #[track_caller]
    pub(crate) fn says(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.err.contains(part), "no `{part}` in:\n{}", self.err);
        }
    }
}
