//! Sets up logging: to standard error, text on a terminal, else one JSON object a line.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

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
    /// A filter such as `info`.
    pub filter: String,
    /// How lines look.
    pub format: LogFormat,
}

/// What the SDK of MCP says on other levels repeats whole messages, with all that callers send.
const QUIET: &str = "rmcp=error";

/// The filter that `settings` ask for.
fn filter(settings: &LogSettings) -> EnvFilter {
    match settings.filter.as_str() {
        "off" => EnvFilter::new("off"),
        filter => EnvFilter::new(format!("{filter},{QUIET}")),
    }
}

/// Installs the process-wide subscriber. A second call changes nothing.
pub fn init(settings: &LogSettings) {
    let terminal = std::io::stderr().is_terminal();
    let json = match settings.format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter(settings)).with_writer(std::io::stderr);
    let installed = if json {
        builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    } else {
        builder.with_ansi(terminal).with_target(false).try_init()
    };
    if installed.is_err() {
        tracing::debug!("logging was set up before");
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::LevelFilter;

    use super::*;

    #[test]
    fn the_sdk_of_mcp_is_heard_of_errors_alone() {
        let of = |text: &str| filter(&LogSettings { filter: text.to_owned(), format: LogFormat::Json }).to_string();
        assert!(of("trace").contains("rmcp=error"), "{}", of("trace"));
        assert!(of("info,gateway=debug,comfyui=debug").contains("rmcp=error"));
        assert_eq!(of("off"), LevelFilter::OFF.to_string());
    }
}
