//! What a family of metrics is, and how a value is recorded in it. Knows none of them.

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, SharedString, Unit, with_recorder};

const METADATA: Metadata<'static> = Metadata::new("gateway", Level::INFO, None);

/// What a family counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Something that only grows.
    Counter,
    /// Something that is what it is at the moment.
    Gauge,
    /// How values are spread: the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

/// Which process shows a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// An API, of itself.
    Api,
    /// An API, of all processes together: each API shows the same.
    Fleet,
    /// Whoever works the queue, of itself.
    Worker,
    /// Each process, of itself.
    Every,
    /// Each process that has its queue in Redis, of itself.
    Redis,
}

/// One family of metrics: a line of the table.
#[derive(Debug)]
pub struct Family {
    /// Its name, with the unit in it: seconds, bytes, or none for a number of things.
    pub name: &'static str,
    /// What it counts.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// Who shows it.
    pub shown: Shown,
    /// What it is, in a sentence.
    pub help: &'static str,
}

impl Family {
    fn unit(&self) -> Unit {
        match self.name.strip_suffix("_total").unwrap_or(self.name) {
            name if name.ends_with("_seconds") => Unit::Seconds,
            name if name.ends_with("_bytes") => Unit::Bytes,
            _ => Unit::Count,
        }
    }

    /// Tells the current recorder what it is.
    pub(crate) fn describe(&self) {
        let (name, unit, help) = (self.name.into(), Some(self.unit()), self.help.into());
        with_recorder(|recorder| match self.kind {
            Kind::Counter => recorder.describe_counter(name, unit, help),
            Kind::Gauge => recorder.describe_gauge(name, unit, help),
            Kind::Histogram(_) => recorder.describe_histogram(name, unit, help),
        });
    }

    fn key<const LABELS: usize>(&self, values: [SharedString; LABELS]) -> Key {
        let labels = self.labels.iter().zip(values);
        Key::from_parts(self.name, labels.map(|(name, value)| Label::new(*name, value)).collect::<Vec<_>>())
    }
}

/// Declares a type for the families of one kind.
macro_rules! kind {
    ($(#[doc = $doc:literal])* $kinds:ident, $handle:ident, $register:ident) => {
        $(#[doc = $doc])*
        #[derive(Debug)]
        pub struct $kinds<const LABELS: usize>(pub(crate) Family);

        impl<const LABELS: usize> $kinds<LABELS> {
            /// The line of the table.
            pub const fn family(&self) -> &Family {
                &self.0
            }

            /// The one with these values of its labels, in the order of their names. It may be kept.
            pub fn of(&self, values: [SharedString; LABELS]) -> $handle {
                let key = self.0.key(values);
                with_recorder(|recorder| recorder.$register(&key, &METADATA))
            }
        }
    };
}

kind!(
    /// A family of counters.
    Counters, Counter, register_counter
);
kind!(
    /// A family of gauges.
    Gauges, Gauge, register_gauge
);
kind!(
    /// A family of histograms.
    Histograms, Histogram, register_histogram
);
