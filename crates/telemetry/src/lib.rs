#![doc = include_str!("../README.md")]

mod context;
mod gathered;
mod jobs;
mod json;
#[cfg(feature = "otel")]
mod otel;
#[cfg(not(feature = "otel"))]
#[path = "without_otel.rs"]
mod otel;
mod text;
mod trace;
#[cfg(test)]
mod written;

use std::io::IsTerminal as _;
use std::time::Duration;

use gateway_config::{LogFilter, LogFormat, LogSettings, TraceSettings};
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

pub use context::{LogContext, carried};
pub use jobs::job_changed;
pub use trace::{Kind, TraceSpan, current_trace, traced};

use crate::gathered::Gathered;
use crate::json::JsonLines;
use crate::text::TextLines;

/// The SDK of MCP. What it says on other levels than that of errors repeats whole messages, with all that callers send.
const SDK: &str = "rmcp";
/// Its part to which a client that has gone before its answer is an error.
const SDK_SERVICE: &str = "rmcp::service";

/// Why telemetry can't be set up as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// This program was built without traces.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT is set, and this program was built without traces (the cargo feature `otel`)")]
    NoTraces,
    /// No thread can be had for the lines.
    #[error("lines can't be written: {0}")]
    Lines(std::io::Error),
    /// Nothing can be sent to the collector.
    #[error("traces can't be sent (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS): {reason}")]
    Exporter {
        /// Why.
        reason: String,
    },
}

/// What must be done with telemetry before the process ends.
#[must_use = "spans of the last seconds are lost unless it is flushed, and lines of the last milliseconds when it is dropped early"]
pub struct Telemetry {
    export: Option<otel::Export>,
    /// Lines that wait to be written.
    lines: Option<Gathered>,
}

impl Telemetry {
    /// Sends the spans that have ended, as far as the collector takes them within two seconds; none are sent after that.
    pub async fn flush(mut self) {
        if let Some(export) = self.export.take() {
            export.flush().await;
        }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(lines) = &self.lines {
            lines.write_out();
        }
    }
}

/// Sets up what the process tells. A second call changes nothing of that. With `traces` it must be called within a
/// runtime, which sends them.
///
/// # Errors
/// [`InitError`] where traces are wanted and can't be sent.
pub fn init(log: &LogSettings, traces: Option<&TraceSettings>) -> Result<Telemetry, InitError> {
    let terminal = std::io::stderr().is_terminal();
    let gathered = is_json(log).then(|| Gathered::start(std::io::stderr())).transpose().map_err(InitError::Lines)?;
    let lines = if let Some(gathered) = gathered.clone() {
        JsonLines::new(gathered).boxed()
    } else {
        let layer = tracing_subscriber::fmt::layer().event_format(TextLines::new(terminal)).with_ansi(terminal);
        layer.with_writer(std::io::stderr).boxed()
    };
    let export = traces.map(otel::start).transpose()?;
    let subscriber = tracing_subscriber::registry().with(targets(&log.filter)).with(lines);
    if subscriber.try_init().is_err() {
        tracing::debug!("telemetry was set up before");
    }
    Ok(Telemetry { export, lines: gathered })
}

/// Whether lines are JSON with these settings.
pub fn is_json(log: &LogSettings) -> bool {
    match log.format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    }
}

fn targets(filter: &LogFilter) -> Targets {
    let cap = |target: &str| match target {
        _ if target.starts_with(SDK_SERVICE) => LevelFilter::OFF,
        _ if target.starts_with(SDK) => LevelFilter::ERROR,
        _ => LevelFilter::TRACE,
    };
    let named = filter.targets.iter().map(|(target, level)| (target.as_str(), (*level).min(cap(target))));
    let asked = Targets::new().with_default(filter.default).with_targets(named);
    let sdk = if asked.would_enable(SDK, &Level::ERROR) { LevelFilter::ERROR } else { LevelFilter::OFF };
    asked.with_target(SDK, sdk).with_target(SDK_SERVICE, LevelFilter::OFF)
}

/// `duration` as lines have it: in milliseconds, exact to the microsecond.
pub fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn asked(default: LevelFilter, named: &[(&str, LevelFilter)]) -> Targets {
        let named: BTreeMap<_, _> = named.iter().map(|(target, level)| ((*target).to_owned(), *level)).collect();
        targets(&LogFilter { default, targets: named })
    }

    #[test]
    fn the_sdk_of_mcp_is_heard_of_errors_alone_and_not_of_clients_that_have_gone() {
        let trace = LevelFilter::TRACE;
        for asked in [asked(trace, &[]), asked(LevelFilter::OFF, &[("rmcp", trace), ("rmcp::service", trace)])] {
            for target in ["rmcp", "rmcp::transport", "rmcp::transport::io"] {
                assert!(asked.would_enable(target, &Level::ERROR), "{target}");
                assert!(!asked.would_enable(target, &Level::WARN), "{target}");
            }
            for target in ["rmcp::service", "rmcp::service::server"] {
                assert!(!asked.would_enable(target, &Level::ERROR), "{target}");
            }
        }
        assert!(asked(trace, &[]).would_enable("gateway_mcp", &Level::TRACE));
        assert!(!asked(LevelFilter::OFF, &[]).would_enable("rmcp::transport", &Level::ERROR));
        assert!(!asked(trace, &[("rmcp", LevelFilter::OFF)]).would_enable("rmcp::transport", &Level::ERROR));
    }
}
