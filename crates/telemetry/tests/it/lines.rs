//! Every warning and every error that a process can write is in the table of lines of docs/OPERATIONS.md, by its first
//! words.

use std::collections::BTreeMap;
use std::path::Path;

use regex::Regex;

use crate::fields::{PAGE, arguments, sources};

/// The messages of warnings and errors in `text`, each with the line it is at.
fn messages(text: &str) -> Vec<(String, usize)> {
    let call = Regex::new(r"\b(?:tracing::)?(?:error|warn)!\(").expect("a pattern");
    let folded = Regex::new(r"\\\s*\n\s*").expect("a pattern");
    let mut found = Vec::new();
    for call in call.find_iter(text) {
        let (before, _) = text.split_at(call.start());
        let (_, after) = text.split_at(call.end());
        let literals = arguments(after).into_iter().filter(|argument| argument.starts_with('"'));
        if let Some(message) = literals.map(|literal| literal.trim_matches('"').to_owned()).next() {
            found.push((folded.replace_all(&message, "").into_owned(), before.matches('\n').count() + 1));
        }
    }
    found
}

/// What of a message does not depend on what is put into it, up to the first stop.
fn first_words(message: &str) -> &str {
    message.split([';', ':', '{']).next().unwrap_or_default().trim()
}

#[test]
fn every_warning_and_every_error_is_in_the_table() {
    let (_, after) = PAGE.split_once("\n### Lines\n").expect("the section");
    let table = after.split("\n## ").next().expect("its text");
    let mut files = BTreeMap::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), &mut files);
    let mut unknown = Vec::new();
    let mut known = 0;
    for (path, text) in files.iter().filter(|(path, _)| !path.contains("comfyui-sim")) {
        for (message, line) in messages(text) {
            match first_words(&message) {
                // All of it is put in; who makes it has it tested.
                "" => {}
                words if table.contains(words) => known += 1,
                words => unknown.push(format!("{path}:{line}: {words}")),
            }
        }
    }
    assert!(known > 50, "{known}");
    assert!(unknown.is_empty(), "not in the table of lines in docs/OPERATIONS.md:\n{}", unknown.join("\n"));
}

#[test]
fn messages_are_told_from_fields() {
    let text =
        "tracing::warn!(jobId = %id, \"it failed; \\\n  again\");\nerror!(%error, \"{text}: no\");info!(\"not this\");";
    let found = messages(text);
    assert_eq!(found, [(String::from("it failed; again"), 1), (String::from("{text}: no"), 3)]);
    assert_eq!((first_words("it failed; again"), first_words("{text}: no")), ("it failed", ""));
}
