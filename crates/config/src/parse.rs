//! Turns texts into values and gathers what is wrong with them, so that one start shows every fault.

use crate::secrets::{is_key, without_credentials};
use crate::source::Source;
use crate::variables::VARIABLES;

pub(crate) struct Reader<'a> {
    source: &'a Source,
    pub(crate) faults: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(source: &'a Source) -> Self {
        Self { source, faults: Vec::new() }
    }

    /// The text of `name`, or its default; empty where neither is there.
    pub(crate) fn text(&self, name: &str) -> String {
        self.source.get(name).map_or_else(|| default_of(name).to_owned(), |(text, _)| text)
    }

    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.source.get(name).is_some()
    }

    /// Parses `name` with `parse`; where that fails notes a fault that says what is `allowed`.
    pub(crate) fn parse<T>(&mut self, name: &str, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name);
        let parsed = parse(&text);
        if parsed.is_none() {
            self.fault(name, &format!("allowed: {allowed}"));
        }
        parsed
    }

    /// A whole number between `low` and `high`.
    pub(crate) fn number(&mut self, name: &str, low: u64, high: u64) -> u64 {
        let allowed = format!("a whole number from {low} to {high}");
        self.parse(name, &allowed, |text| text.parse::<u64>().ok().filter(|n| (low..=high).contains(n))).unwrap_or(low)
    }

    /// `true` or `false`, with the usual other spellings.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        self.parse(name, "true or false", |text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        })
        .unwrap_or(false)
    }

    /// Notes that the value of `name` is wrong, because of `reason`. A secret's value is not shown.
    pub(crate) fn fault(&mut self, name: &str, reason: &str) {
        let (text, origin) =
            self.source.get(name).unwrap_or_else(|| (default_of(name).to_owned(), String::from("its default")));
        let secret = VARIABLES.iter().any(|v| v.name == name && v.secret) || is_key(&text);
        let shown = if secret { String::from("(secret)") } else { format!("`{}`", without_credentials(&text)) };
        self.faults.push(format!("{name} is {shown} (from {origin}): {reason}"));
    }
}

fn default_of(name: &str) -> &'static str {
    VARIABLES.iter().find(|variable| variable.name == name).map_or("", |variable| variable.default)
}
