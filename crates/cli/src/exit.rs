//! What exit codes mean, and the error that carries one.

use std::fmt;
use std::process::ExitCode;

const UNREACHABLE: u8 = 4;

/// Why a command ended without doing what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
    told: bool,
}

impl Failure {
    fn new(code: u8, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string(), told: false }
    }

    /// It failed.
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self::new(1, message)
    }

    /// Wrong usage or configuration.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(2, message)
    }

    /// The job did not succeed.
    pub(crate) fn job(message: impl fmt::Display) -> Self {
        Self::new(3, message)
    }

    /// Something that is needed can't be reached.
    pub(crate) fn unreachable(message: impl fmt::Display) -> Self {
        Self::new(UNREACHABLE, message)
    }

    /// Whether it may be there in a moment.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.code == UNREACHABLE
    }

    /// The same with more to say.
    pub(crate) fn adding(mut self, text: impl fmt::Display) -> Self {
        self.message.push_str(&format!("\n  {text}"));
        self
    }

    /// The same, where the command has said all of it in its own way.
    #[must_use]
    pub(crate) fn told(self) -> Self {
        Self { told: true, ..self }
    }

    /// Whether nothing is left to say.
    pub(crate) fn is_told(&self) -> bool {
        self.told
    }

    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<anyhow::Error> for Failure {
    /// The whole chain, each cause once.
    fn from(error: anyhow::Error) -> Self {
        Self::failed(format!("{error:#}"))
    }
}
