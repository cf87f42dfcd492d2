//! Turns the blocks of a page into files and into the calls of one shell script.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::block::{Block, Note};
use super::transcript;

const DRIVER: &str = include_str!("driver.sh");

/// What becomes of a block.
#[derive(Debug)]
pub(super) enum Step {
    /// It is tried, in parts of these names; each part may have an output that is shown.
    Tried { line: usize, language: String, parts: Vec<Part> },
    /// It is not; why.
    NotRun { line: usize, language: String, reason: String },
}

/// A part of a block: a command of a transcript, or all of it.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) shown: Option<String>,
}

/// What this machine lacks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lacking {
    pub(super) python: bool,
    pub(super) node: bool,
}

/// Writes the script `driver.sh` and its blocks into `folder`; says what it will do.
pub(super) fn write(folder: &Path, blocks: &[Block], lacking: Lacking) -> Result<Vec<Step>> {
    let mut script = Script { folder, calls: String::from(DRIVER), lacking };
    let mut steps = Vec::new();
    for block in blocks {
        steps.extend(script.add(block).with_context(|| format!("line {}", block.line))?);
    }
    std::fs::write(folder.join("driver.sh"), script.calls)?;
    Ok(steps)
}

struct Script<'a> {
    folder: &'a Path,
    calls: String,
    lacking: Lacking,
}

impl Script<'_> {
    fn add(&mut self, block: &Block) -> Result<Option<Step>> {
        let extension = extension(&block.language);
        let file = format!("{}.{}", block.line, extension.unwrap_or("txt"));
        let left = |reason: &str| {
            let (line, language) = (block.line, block.language.clone());
            Ok(Some(Step::NotRun { line, language, reason: reason.to_owned() }))
        };
        if let Some(Note::NotRun(reason)) = &block.note {
            return left(reason);
        }
        if self.lacking.python && matches!(extension, Some("py" | "ts")) {
            return left("Python and its packages can't be had here");
        }
        if self.lacking.node && extension == Some("mjs") {
            return left("Node can't be had here");
        }
        let whole = |shown| vec![Part { name: block.line.to_string(), shown }];
        let parts = match (&block.note, extension) {
            (Some(Note::Background { on, instead }), _) if extension.is_some() || instead.is_some() => {
                self.file(&file, &block.text)?;
                let by = self.instead(block.line, instead.as_deref(), &file)?;
                writeln!(self.calls, "docs_background {} {by} {on} {file}", block.line)?;
                whole(None)
            }
            (Some(Note::With(command)), _) => {
                self.file(&file, &block.text)?;
                let by = self.instead(block.line, Some(command), &file)?;
                self.run(&block.line.to_string(), &by, None, &file)?;
                whole(None)
            }
            (Some(Note::AnswerOf(command)), None) if block.language != "console" => {
                let by = self.instead(block.line, Some(command), &file)?;
                self.run(&block.line.to_string(), &by, transcript::status(&block.text), &file)?;
                whole(Some(block.text.clone()))
            }
            (None, None) if block.language == "console" => self.transcript(block)?,
            (None | Some(Note::Status(_)), Some(_)) => {
                self.file(&file, &block.text)?;
                let status = if let Some(Note::Status(status)) = block.note { Some(status) } else { None };
                self.run(&block.line.to_string(), &file, status, &file)?;
                whole(None)
            }
            (None, None) if block.text.starts_with("$ ") => bail!("it has commands: its language is `console`"),
            (None, None) => return Ok(None),
            (Some(note), _) => bail!("{note:?} is not for a block in `{}`", block.language),
        };
        Ok(Some(Step::Tried { line: block.line, language: block.language.clone(), parts }))
    }

    fn transcript(&mut self, block: &Block) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        for (index, exchange) in transcript::read(&block.text)?.into_iter().enumerate() {
            let name = format!("{}-{}", block.line, index + 1);
            let file = format!("{name}.sh");
            self.file(&file, &exchange.command)?;
            self.run(&name, &file, exchange.status(), &file)?;
            parts.push(Part { name, shown: Some(exchange.shown) });
        }
        Ok(parts)
    }

    /// The file that is run for a block: its own, or one with the command that takes its place.
    fn instead(&self, line: usize, command: Option<&str>, file: &str) -> Result<String> {
        let Some(command) = command else { return Ok(file.to_owned()) };
        let by = format!("{line}.by.sh");
        self.file(&by, &format!("{command}\n"))?;
        Ok(by)
    }

    fn run(&mut self, name: &str, file: &str, status: Option<u16>, block: &str) -> Result<()> {
        let status = status.map_or_else(String::new, |status| status.to_string());
        Ok(writeln!(self.calls, "docs_run {name} {file} '{status}' {block}")?)
    }

    fn file(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())
    }
}

/// What the file of a block that can be run is called; `None` for all others.
fn extension(language: &str) -> Option<&'static str> {
    match language {
        "sh" | "bash" => Some("sh"),
        "python" => Some("py"),
        "js" | "javascript" => Some("mjs"),
        "ts" | "typescript" => Some("ts"),
        _ => None,
    }
}
