//! The one place that writes to standard output: results, never logs.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's result belongs on standard output")]

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
            println!("{text}");
        }
    }

    /// The result for scripts; nothing where a person reads.
    pub(crate) fn json(self, value: &Value) {
        if self.json {
            println!("{value}");
        }
    }

    /// What went wrong.
    pub(crate) fn fail(self, message: impl std::fmt::Display) {
        if self.json {
            println!("{}", serde_json::json!({"error": message.to_string()}));
        } else {
            eprintln!("error: {message}");
        }
    }

    /// A line on standard error, whoever reads.
    pub(crate) fn note(self, text: impl std::fmt::Display) {
        eprintln!("{text}");
    }
}
