//! Processes that end with whoever started them, and what can be done to them meanwhile.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::wait::until;

/// Lines of a log that are shown where something went wrong.
const TAIL: usize = 30;

/// A process.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    out: PathBuf,
}

impl Process {
    /// Starts `command`; its output goes to files in `folder`.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Self {
        let (log, out) = (folder.join(format!("{name}.log")), folder.join(format!("{name}.out")));
        let append = |path: &Path| File::options().create(true).append(true).open(path).expect("a log file");
        // What it says itself is read from its beginning.
        let fresh = File::create(&out).expect("an output file");
        let child = command.stdin(Stdio::null()).stdout(fresh).stderr(append(&log)).spawn().expect(name);
        Self { name: name.to_owned(), child, log, out }
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it without a warning.
    pub fn kill(&mut self) {
        // Already gone where it ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal such as `TERM`, `STOP` or `CONT`.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.pid().to_string()).status();
        assert!(sent.expect("the program kill").success(), "{} can't be sent {signal}", self.name);
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_none()
    }

    /// Waits for its end.
    pub async fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                return Some(status);
            }
            if tokio::time::Instant::now() > deadline {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for the first line that it writes to its standard output.
    pub async fn first_line(&mut self) -> String {
        let out = self.out.clone();
        until(&format!("{} says something: {}", self.name, self.log_tail()), || async {
            let text = std::fs::read_to_string(&out).ok()?;
            Some(text.split_once('\n')?.0.to_owned())
        })
        .await
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that is free now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port()
}
