//! Log lines for eyes: as `tracing-subscriber` writes them, with the fields of the request that they belong to at their end.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::context::LogContext;

/// Forms them.
pub(crate) struct TextLines(Format);

impl TextLines {
    /// With colours, or without.
    pub(crate) fn new(colours: bool) -> Self {
        Self(Format::default().with_ansi(colours))
    }
}

impl<S, N> FormatEvent<S, N> for TextLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        line.truncate(line.trim_end_matches('\n').len());
        LogContext::fields(event, |name, value| {
            line.push_str(&format!(" {name}={value:?}"));
        });
        writeln!(writer, "{line}")
    }
}

#[cfg(test)]
mod tests {
    use gateway_core::TraceParent;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::written::Written;

    fn text(tell: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let layer = tracing_subscriber::fmt::layer().event_format(TextLines::new(false)).with_ansi(false);
        let subscriber = tracing_subscriber::registry().with(layer.with_writer(move || writer.clone()));
        tracing::subscriber::with_default(subscriber, tell);
        written.text()
    }

    #[test]
    fn a_line_ends_with_the_fields_of_its_request() {
        let lines = text(|| {
            let context = LogContext::new(String::from("c"), TraceParent::new(7, 8, 1));
            context.within(|| tracing::info!(target: "a", status = 202, "request"));
            tracing::warn!("two\nlines\n");
        });
        let (first, second) = lines.split_once('\n').expect("lines");
        let trace = "00000000000000000000000000000007";
        assert!(
            first.ends_with(&format!(" INFO a: request status=202 correlationId=\"c\" traceId=\"{trace}\"")),
            "{lines}"
        );
        assert!(second.contains(" two") && !second.contains("correlationId"), "{lines}");
    }
}
