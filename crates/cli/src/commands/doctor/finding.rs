//! What was found, how bad it is, what to do about it; and how the command ends over all of it.

use serde_json::{Value, json};

use crate::exit::Failure;

/// Where the text of a finding begins: behind its severity and its area.
const INDENT: usize = 23;

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    Configuration,
    Database,
    Redis,
    Storage,
    Comfyui,
    Workflows,
    Webhooks,
    Clock,
    Gateway,
}

impl Area {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Database => "database",
            Self::Redis => "redis",
            Self::Storage => "storage",
            Self::Comfyui => "comfyui",
            Self::Workflows => "workflows",
            Self::Webhooks => "webhooks",
            Self::Clock => "clock",
            Self::Gateway => "gateway",
        }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// It works, and may not tomorrow; or it is dangerous.
    Warning,
    /// It does not work.
    Error,
}

impl Severity {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// The number of its colour on a terminal.
    const fn colour(self) -> u8 {
        match self {
            Self::Ok => 32,
            Self::Note => 36,
            Self::Warning => 33,
            Self::Error => 31,
        }
    }
}

/// What kind of error it is: decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Wrong,
    Unreachable,
    Configuration,
}

/// Something that was found.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    area: Area,
    severity: Severity,
    kind: Kind,
    seen: String,
    remedy: Option<String>,
}

impl Finding {
    fn new(area: Area, severity: Severity, seen: impl Into<String>) -> Self {
        Self { area, severity, kind: Kind::Wrong, seen: seen.into(), remedy: None }
    }

    /// As it should be.
    pub(super) fn ok(area: Area, seen: impl Into<String>) -> Self {
        Self::new(area, Severity::Ok, seen)
    }

    /// Worth knowing.
    pub(super) fn note(area: Area, seen: impl Into<String>) -> Self {
        Self::new(area, Severity::Note, seen)
    }

    /// It works, and may not tomorrow; or it is dangerous.
    pub(super) fn warning(area: Area, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(area, Severity::Warning, seen).mended_by(remedy)
    }

    /// It does not work.
    pub(super) fn error(area: Area, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(area, Severity::Error, seen).mended_by(remedy)
    }

    /// It does not work, because it can't be reached.
    pub(super) fn unreachable(area: Area, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { kind: Kind::Unreachable, ..Self::error(area, seen, remedy) }
    }

    /// The configuration can't be used.
    pub(super) fn unusable(seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { kind: Kind::Configuration, ..Self::error(Area::Configuration, seen, remedy) }
    }

    /// The same with what to do about it.
    #[must_use]
    pub(super) fn mended_by(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    fn json(&self) -> Value {
        json!({
            "area": self.area.as_str(),
            "severity": self.severity.as_str(),
            "seen": self.seen,
            "remedy": self.remedy,
        })
    }

    fn text(&self, colour: bool) -> String {
        let mark = format!("{:<8}", self.severity.as_str());
        let mark = if colour { format!("\x1b[{}m{mark}\x1b[0m", self.severity.colour()) } else { mark };
        let indented = |text: &str| text.trim_end().replace('\n', &format!("\n{:INDENT$}", ""));
        let mut text = format!("{mark} {:<13} {}", self.area.as_str(), indented(&self.seen));
        if let Some(remedy) = &self.remedy {
            text.push_str(&format!("\n{:INDENT$}do: {}", "", indented(remedy)));
        }
        text
    }
}

/// All that was found.
#[derive(Debug)]
pub(super) struct Report {
    findings: Vec<Finding>,
    /// Whether warnings are a bad end, too.
    strict: bool,
}

impl Report {
    pub(super) fn new(findings: Vec<Finding>, strict: bool) -> Self {
        Self { findings, strict }
    }

    fn worst(&self) -> Severity {
        self.findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok)
    }

    /// For scripts.
    pub(super) fn json(&self) -> Value {
        let findings: Vec<Value> = self.findings.iter().map(Finding::json).collect();
        json!({"ok": self.end().is_ok(), "worst": self.worst().as_str(), "findings": findings})
    }

    /// For people.
    pub(super) fn text(&self, colour: bool) -> String {
        let mut lines: Vec<String> = self.findings.iter().map(|finding| finding.text(colour)).collect();
        lines.push(format!("\n{}", self.summary()));
        lines.join("\n")
    }

    fn summary(&self) -> String {
        let counted = |severity: Severity| {
            let count = self.findings.iter().filter(|finding| finding.severity == severity).count();
            let plural = if count == 1 { "" } else { "s" };
            (count > 0).then(|| format!("{count} {}{plural}", severity.as_str()))
        };
        let counts: Vec<String> =
            [Severity::Error, Severity::Warning, Severity::Note].into_iter().filter_map(counted).collect();
        if counts.is_empty() { String::from("all is well") } else { counts.join(", ") }
    }

    /// How the command ends. All that there is to say is in the report.
    pub(super) fn end(&self) -> Result<(), Failure> {
        let is = |kind: Kind| {
            self.findings.iter().any(|finding| finding.severity == Severity::Error && finding.kind == kind)
        };
        let summary = self.summary();
        let failure = match self.worst() {
            Severity::Error if is(Kind::Configuration) => Failure::usage(summary),
            Severity::Error if is(Kind::Unreachable) => Failure::unreachable(summary),
            Severity::Error => Failure::failed(summary),
            Severity::Warning if self.strict => Failure::failed(summary),
            _ => return Ok(()),
        };
        Err(failure.told())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(findings: &[Finding], strict: bool) -> String {
        format!("{:?}", Report::new(findings.to_vec(), strict).end().map_err(|failure| failure.code()))
    }

    #[test]
    fn the_end_is_as_bad_as_the_worst_of_it() {
        use std::process::ExitCode;
        let failed = |code: u8| format!("{:?}", Err::<(), ExitCode>(ExitCode::from(code)));
        let fine = format!("{:?}", Ok::<(), ExitCode>(()));
        let [ok, note] = [Finding::ok(Area::Redis, "a"), Finding::note(Area::Redis, "b")];
        let [warning, error] = [Finding::warning(Area::Redis, "c", "x"), Finding::error(Area::Redis, "d", "x")];
        let [away, unusable] = [Finding::unreachable(Area::Redis, "e", "x"), Finding::unusable("f", "x")];
        assert_eq!(ends(&[], true), fine);
        assert_eq!(ends(&[ok, note.clone()], true), fine);
        assert_eq!(ends(&[note.clone(), warning.clone()], false), fine);
        assert_eq!(ends(&[warning.clone(), note], true), failed(1));
        assert_eq!(ends(&[error.clone(), warning], false), failed(1));
        assert_eq!(ends(&[error.clone(), away.clone()], false), failed(4));
        assert_eq!(ends(&[error, away, unusable], false), failed(2));
    }

    #[test]
    fn lines_of_a_finding_stand_below_each_other_and_are_coloured_on_a_terminal_only() {
        let report = Report::new(vec![Finding::warning(Area::Storage, "one\ntwo", "this")], false);
        let expected =
            "warning  storage       one\n                       two\n                       do: this\n\n1 warning";
        assert_eq!(report.text(false), expected);
        assert_eq!(report.text(true).replace("\x1b[33m", "").replace("\x1b[0m", ""), expected);
        assert_eq!(Report::new(Vec::new(), false).text(false), "\nall is well");
    }
}
