//! Every field of every `tracing` macro of the workspace, and every attribute of its traces, is in the table of
//! docs/OPERATIONS.md: lines that are hardly ever written, too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use regex::Regex;

pub(crate) const PAGE: &str = include_str!("../../../../docs/OPERATIONS.md");
/// What OpenTelemetry's conventions name, for spans of traces alone.
const CONVENTIONS: [&str; 2] = ["http.", "server."];

/// The names in the table of fields.
fn documented() -> BTreeSet<&'static str> {
    let (_, after) = PAGE.split_once("\n### Fields\n").expect("the section");
    let section = after.split("\n#").next().expect("its text");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.flat_map(|row| row.split(" |").next().expect("a cell").split("`, `"))
        .map(|name| name.trim_end_matches('`'))
        .collect()
}

/// The attributes of traces that `text` sets, each with the line it is at.
fn attributes(text: &str) -> Vec<(String, usize)> {
    let call = Regex::new(r#"\.\s*set_(?:text|number)\(\s*"([^"]+)"\s*,"#).expect("a pattern");
    let line = |at: usize| text.split_at(at).0.matches('\n').count() + 1;
    call.captures_iter(text).map(|call| (call[1].to_owned(), line(call.get(0).expect("a call").start()))).collect()
}

/// The fields that the macros in `text` name, each with the line it is at.
fn fields(text: &str) -> Vec<(String, usize)> {
    let call = Regex::new(r"\b(?:tracing::)?(?:\$level|error|warn|info|debug|trace)(_span)?!\(").expect("a pattern");
    let field = Regex::new(r"^[%?]?([A-Za-z_][A-Za-z0-9_.]*)\s*(?:=[^=]|$)").expect("a pattern");
    let mut found = Vec::new();
    for call in call.captures_iter(text) {
        let whole = call.get(0).expect("a call");
        let (before, _) = text.split_at(whole.start());
        let (_, after) = text.split_at(whole.end());
        let line = before.matches('\n').count() + 1;
        for argument in arguments(after) {
            let literal = argument.starts_with('"') || argument.starts_with("$text");
            match (literal, call.get(1).is_some()) {
                // The name of a span; its fields follow.
                (true, true) => continue,
                // The message; what follows is put into it.
                (true, false) => break,
                (false, _) if argument.starts_with("target:") => continue,
                (false, _) => {
                    let name = field.captures(&argument).unwrap_or_else(|| panic!("line {line}: `{argument}`"));
                    found.push((name[1].to_owned(), line));
                }
            }
        }
    }
    found
}

/// The arguments of a call, after whose bracket `text` begins.
pub(crate) fn arguments(text: &str) -> Vec<String> {
    let (mut depth, mut quoted, mut escaped) = (1, false, false);
    let mut arguments = vec![String::new()];
    for character in text.chars() {
        match (quoted, character) {
            (true, '"') if !escaped => quoted = false,
            (true, _) => escaped = character == '\\' && !escaped,
            (false, '"') => quoted = true,
            (false, '(' | '[' | '{') => depth += 1,
            (false, ')' | ']' | '}') => depth -= 1,
            (false, ',') if depth == 1 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
        arguments.last_mut().expect("one").push(character);
    }
    arguments.into_iter().map(|argument| argument.trim().to_owned()).filter(|argument| !argument.is_empty()).collect()
}

/// The sources of all crates, without tests.
pub(crate) fn sources(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "tests" | "benches" | "xtask" | "testkit" | "target") {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path).expect("a text");
            let code = text.split("#[cfg(test)]\nmod tests {").next().expect("code").to_owned();
            found.insert(path.display().to_string(), code);
        }
    }
}

#[test]
fn every_field_is_in_the_table_and_the_table_has_no_other() {
    let mut files = BTreeMap::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), &mut files);
    let documented = documented();
    assert!(documented.contains("correlationId") && documented.contains("jobId"), "{documented:?}");
    assert!(files.values().any(|text| !attributes(text).is_empty()), "no trace has attributes");
    let mut unknown = Vec::new();
    let mut used = BTreeSet::from(["timestamp", "level", "target", "message"].map(str::to_owned));
    for (path, text) in &files {
        for (name, line) in fields(text).into_iter().chain(attributes(text)) {
            if !documented.contains(name.as_str()) && !CONVENTIONS.iter().any(|prefix| name.starts_with(prefix)) {
                unknown.push(format!("{path}:{line}: {name}"));
            }
            used.insert(name);
        }
    }
    assert!(unknown.is_empty(), "not in the table of fields in docs/OPERATIONS.md:\n{}", unknown.join("\n"));
    let unused: Vec<&&str> = documented.iter().filter(|name| !used.contains(**name)).collect();
    assert!(unused.is_empty(), "no line has: {unused:?}");
}

#[test]
fn fields_are_told_from_messages_and_from_what_is_put_into_them() {
    let text = r#"
        tracing::info!(target: "a", jobId = %job.id, %error, state, code = None::<&str>, "job {}, {}", given, more);
        warn!("plain = {x}", x = 1);
        let span = tracing::error_span!("run", attempt = 1, worker);
    "#;
    let names: Vec<(String, usize)> = fields(text);
    let names: Vec<(&str, usize)> = names.iter().map(|(name, line)| (name.as_str(), *line)).collect();
    assert_eq!(names, [("jobId", 2), ("error", 2), ("state", 2), ("code", 2), ("attempt", 4), ("worker", 4)]);
}

#[test]
fn attributes_of_traces_are_found() {
    let text = "trace.set_text(\"event\", event);\nself.span.set_number(\n\"attempt\", 1);\nother.text(\"x\", 1);";
    assert_eq!(attributes(text), [(String::from("event"), 1), (String::from("attempt"), 2)]);
}
