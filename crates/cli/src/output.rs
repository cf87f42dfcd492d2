//! The one place that writes to standard output: results, never logs.

use std::io::Write as _;

use serde_json::Value;

/// How results are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// A line for people; nothing where a script reads.
    pub(crate) fn say(self, text: impl std::fmt::Display) {
        if !self.json {
            result(&text);
        }
    }

    /// The result for scripts; nothing where a person reads.
    pub(crate) fn json(self, value: &Value) {
        if self.json {
            result(&value);
        }
    }

    /// What went wrong.
    pub(crate) fn fail(self, message: impl std::fmt::Display) {
        if self.json {
            result(&serde_json::json!({"error": message.to_string()}));
        } else {
            self.note(format!("error: {message}"));
        }
    }

    /// A line on standard error, whoever reads.
    pub(crate) fn note(self, text: impl std::fmt::Display) {
        // Whoever listened has gone; there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

/// A reader that has seen enough, such as `head`, is no reason to stop or to panic.
fn result(text: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
