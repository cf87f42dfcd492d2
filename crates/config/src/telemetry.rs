//! What is told of the gateway's work, and where to: log lines and traces. Sets nothing up.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::SecretString;
use tracing::level_filters::LevelFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

/// Logging.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// Which lines are written.
    pub filter: LogFilter,
    /// How lines look.
    pub format: LogFormat,
    /// Whether it was said which lines are written.
    pub configured: bool,
}

/// Which lines are written: those of a level, and for some targets those of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter {
    /// For all targets that are not named.
    pub default: LevelFilter,
    /// By what the names of targets begin with; the longest that fits counts.
    pub targets: BTreeMap<String, LevelFilter>,
}

impl LogFilter {
    /// The same level for all.
    pub const fn all(level: LevelFilter) -> Self {
        Self { default: level, targets: BTreeMap::new() }
    }

    /// Reads a level, `target=level`, or several of these, comma-separated; the level is `info` where none is given
    /// alone. `None` for anything else, and for what is said twice.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (mut default, mut targets) = (None, BTreeMap::new());
        for part in text.split(',').map(str::trim) {
            let said_before = match part.split_once('=') {
                None => default.replace(level(part)?).is_some(),
                Some((target, name)) => {
                    let target = target.trim_end();
                    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'-');
                    let named = !target.is_empty() && target.bytes().all(plain);
                    targets.insert(named.then(|| target.to_owned())?, level(name.trim_start())?).is_some()
                }
            };
            if said_before {
                return None;
            }
        }
        Some(Self { default: default.unwrap_or(LevelFilter::INFO), targets })
    }

    /// Has other programs' libraries say no more than `info`: below that they repeat whole messages of ComfyUI.
    pub(crate) fn hush_libraries(&mut self) {
        const OURS: [&str; 2] = ["gateway", "comfyui"];
        if self.default > LevelFilter::INFO {
            for name in OURS {
                self.targets.entry(name.to_owned()).or_insert(self.default);
            }
            self.default = LevelFilter::INFO;
        }
        for (target, level) in &mut self.targets {
            if !OURS.iter().any(|name| target.starts_with(name)) {
                *level = LevelFilter::INFO.min(*level);
            }
        }
    }
}

fn level(name: &str) -> Option<LevelFilter> {
    Some(match name {
        "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "info" => LevelFilter::INFO,
        "warn" => LevelFilter::WARN,
        // Nothing is worse than an error.
        "error" | "fatal" => LevelFilter::ERROR,
        "silent" => LevelFilter::OFF,
        _ => return None,
    })
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.default.fmt(f)?;
        self.targets.iter().try_for_each(|(target, level)| write!(f, ",{target}={level}"))
    }
}

/// Where traces go, by OTLP over HTTP.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// The URL that takes them, with its path and without credentials.
    pub endpoint: String,
    /// Headers of each request there.
    pub headers: Vec<(String, SecretString)>,
    /// What this process is called in traces.
    pub service: String,
    /// Which traces are recorded.
    pub sampling: Sampling,
}

/// Which traces are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Whether those that come from elsewhere are recorded as was decided there.
    pub parent_based: bool,
    /// The share of the others, 0–1.
    pub ratio: f64,
}
