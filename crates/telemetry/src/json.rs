//! Log lines as JSON: one flat object a line. First what every line has, then its own fields, then those of the spans
//! around it, from the inside out, and those of the request that it belongs to; of several of one name the first stays.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::io::Write as _;

use gateway_core::chain;
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::context::LogContext;

/// Room for a line that a thread keeps for the next one.
const KEPT: usize = 64 << 10;

thread_local! {
    static LINE: RefCell<Line> = RefCell::default();
}

/// Writes them.
pub(crate) struct JsonLines<W> {
    writer: W,
}

impl<W> JsonLines<W> {
    /// To what `writer` gives.
    pub(crate) const fn new(writer: W) -> Self {
        Self { writer }
    }
}

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = SpanFields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<SpanFields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let write = |line: &mut Line| {
            line.fill(event, &context);
            // There is nowhere to tell of a line that can't be written.
            let _ = self.writer.make_writer_for(event.metadata()).write_all(&line.text);
            line.clear();
        };
        // A value that is being written may have something to say itself.
        let kept = LINE.try_with(|line| line.try_borrow_mut().map(|mut line| write(&mut line)).is_ok());
        if !kept.unwrap_or(false) {
            write(&mut Line::default());
        }
    }
}

/// A line that is being made.
#[derive(Default)]
struct Line {
    text: Vec<u8>,
    /// Of the fields that it has.
    names: Vec<&'static str>,
    time: String,
}

impl Line {
    fn fill<S>(&mut self, event: &Event<'_>, context: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        // Lines of libraries that use `log` have their metadata among the fields.
        let normal = event.normalized_metadata();
        self.head(normal.as_ref().unwrap_or_else(|| event.metadata()));
        event.record(self);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(SpanFields(fields)) = span.extensions().get::<SpanFields>() {
                for (name, value) in fields {
                    if self.name(name) {
                        self.text.extend_from_slice(value.as_bytes());
                    }
                }
            }
        }
        LogContext::fields(event, |name, value| self.take(name, value));
        self.text.extend_from_slice(b"}\n");
    }

    fn head(&mut self, metadata: &Metadata<'_>) {
        self.text.extend_from_slice(b"{\"timestamp\":\"");
        // A clock before 1970 is the only thing that could go wrong.
        let _ = SystemTime.format_time(&mut Writer::new(&mut self.time));
        self.text.extend_from_slice(self.time.as_bytes());
        self.text.extend_from_slice(b"\",\"level\":\"");
        self.text.extend_from_slice(metadata.level().as_str().as_bytes());
        self.text.extend_from_slice(b"\",\"target\":");
        self.value(metadata.target());
        self.names.extend(["timestamp", "level", "target"]);
    }

    /// Begins a field; `false` where there is one of that name.
    fn name(&mut self, name: &'static str) -> bool {
        if self.names.contains(&name) {
            return false;
        }
        self.names.push(name);
        self.text.push(b',');
        self.value(name);
        self.text.push(b':');
        true
    }

    fn value(&mut self, value: &(impl Serialize + ?Sized)) {
        let before = self.text.len();
        if serde_json::to_writer(&mut self.text, value).is_err() {
            self.text.truncate(before);
            self.text.extend_from_slice(b"null");
        }
    }

    fn clear(&mut self) {
        self.names.clear();
        self.time.clear();
        self.text.clear();
        self.text.shrink_to(KEPT);
    }
}

/// The fields of a span, each as JSON.
#[derive(Default)]
struct SpanFields(Vec<(&'static str, String)>);

/// Takes fields, whatever they are for.
trait Take {
    fn take(&mut self, name: &'static str, value: &(impl Serialize + ?Sized));
}

impl Take for Line {
    fn take(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) {
        if !name.starts_with("log.") && self.name(name) {
            self.value(value);
        }
    }
}

impl Take for SpanFields {
    fn take(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) {
        let json = serde_json::to_string(value).unwrap_or_else(|_error| String::from("null"));
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = json,
            None => self.0.push((name, json)),
        }
    }
}

/// Gives each kind of value on as what it is.
macro_rules! visit {
    ($taker:ty) => {
        impl Visit for $taker {
            fn record_f64(&mut self, field: &Field, value: f64) {
                self.take(field.name(), &value);
            }

            fn record_i64(&mut self, field: &Field, value: i64) {
                self.take(field.name(), &value);
            }

            fn record_u64(&mut self, field: &Field, value: u64) {
                self.take(field.name(), &value);
            }

            fn record_i128(&mut self, field: &Field, value: i128) {
                self.take(field.name(), &value);
            }

            fn record_u128(&mut self, field: &Field, value: u128) {
                self.take(field.name(), &value);
            }

            fn record_bool(&mut self, field: &Field, value: bool) {
                self.take(field.name(), &value);
            }

            fn record_str(&mut self, field: &Field, value: &str) {
                self.take(field.name(), value);
            }

            fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
                self.take(field.name(), &format_args!("{}", chain(value)));
            }

            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                self.take(field.name(), &format_args!("{value:?}"));
            }
        }
    };
}

visit!(Line);
visit!(SpanFields);

#[cfg(test)]
mod tests {
    use gateway_core::TraceParent;
    use serde_json::{Value, json};
    use tracing::Instrument as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::context::carried;
    use crate::written::Written;

    /// What `tell` writes.
    fn text(tell: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::registry().with(JsonLines::new(move || writer.clone()));
        tracing::subscriber::with_default(subscriber, tell);
        written.text()
    }

    /// The lines that `tell` writes, without their times.
    fn lines(tell: impl FnOnce()) -> Vec<Value> {
        let parse = |line: &str| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let time = line.as_object_mut().unwrap().remove("timestamp").unwrap();
            assert!(time.as_str().is_some_and(|time| time.len() == 27 && time.ends_with('Z')), "{time}");
            line
        };
        text(tell).lines().map(parse).collect()
    }

    #[test]
    fn fields_of_a_line_and_of_the_spans_around_it_stand_side_by_side() {
        let [line] = lines(|| {
            let _outer = tracing::error_span!("outer", correlationId = "c", jobId = "of the span").entered();
            let _inner = tracing::error_span!("inner", attempt = 2).entered();
            tracing::info!(target: "a", jobId = "of the line", durationMs = 1.5, "said \"so\"\n");
        })
        .try_into()
        .unwrap();
        assert_eq!(
            line,
            json!({"level": "INFO", "target": "a", "message": "said \"so\"\n", "jobId": "of the line", "durationMs": 1.5,
                   "attempt": 2, "correlationId": "c"})
        );
    }

    #[test]
    fn of_two_spans_the_inner_one_counts_and_what_is_recorded_later_replaces_what_was() {
        let [line] = lines(|| {
            let outer = tracing::error_span!("outer", attempt = 1, backend = "a", worker = tracing::field::Empty);
            let _entered = outer.enter();
            let _inner = tracing::error_span!("inner", backend = "b").entered();
            outer.record("attempt", 2);
            outer.record("worker", "w");
            tracing::warn!("x");
        })
        .try_into()
        .unwrap();
        assert_eq!((&line["attempt"], &line["backend"], &line["worker"]), (&json!(2), &json!("b"), &json!("w")));
    }

    #[tokio::test]
    async fn what_a_request_is_known_by_stands_in_its_lines_and_in_those_of_what_it_spawns() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::registry().with(JsonLines::new(move || writer.clone()));
        let _set = tracing::subscriber::set_default(subscriber);
        let context = LogContext::new(String::from("c"), TraceParent::new(7, 8, 1));
        let work = async {
            tracing::info!("inside");
            let spawned = tokio::spawn(carried(async {
                tracing::info!("carried");
                tracing::info!(correlationId = "another", "of another");
            }));
            spawned.await.unwrap();
            tokio::spawn(async { tracing::info!("spawned") }).await.unwrap();
        };
        context.clone().around(work).await;
        tokio::spawn(carried(async { tracing::info!("outside") })).await.unwrap();
        let of_a_library = async { tokio::spawn(carried(async { tracing::info!("by a span") })).await.unwrap() };
        of_a_library.instrument(context.span()).await;

        let lines: Vec<Value> = written.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let told = |line: &Value| {
            ["message", "correlationId", "traceId"].map(|name| line[name].as_str().unwrap_or("").to_owned())
        };
        let trace = format!("{:032x}", 7);
        assert_eq!(
            lines.iter().map(told).collect::<Vec<_>>(),
            [
                ["inside", "c", &trace],
                ["carried", "c", &trace],
                ["of another", "another", ""],
                ["spawned", "", ""],
                ["outside", "", ""],
                ["by a span", "c", &trace]
            ]
        );
    }

    #[test]
    fn each_name_stands_once() {
        let text = text(|| {
            let _outer = tracing::error_span!("outer", jobId = 1).entered();
            let _inner = tracing::error_span!("inner", jobId = 2).entered();
            tracing::info!(jobId = 3, "x");
        });
        assert_eq!(text.matches("\"jobId\"").count(), 1, "{text}");
        assert!(text.contains("\"jobId\":3") && text.ends_with("}\n"), "{text}");
    }

    #[test]
    fn an_error_is_told_with_its_causes_and_what_is_not_there_is_left_out() {
        #[derive(Debug, thiserror::Error)]
        #[error("it can't be stored")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("no space"));
        let [line] = lines(|| {
            let error: &(dyn Error + 'static) = &error;
            tracing::error!(error, code = None::<&str>, number = f64::NAN, "x");
        })
        .try_into()
        .unwrap();
        assert_eq!((&line["error"], &line["number"]), (&json!("it can't be stored: no space"), &Value::Null));
        assert!(line.get("code").is_none(), "{line}");
    }
}
