//! Whether the documentation calls every operation of the API once.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::block;
use crate::shell::root;

const DOCUMENT: &str = "docs/openapi.json";
const PAGE: &str = "docs/integration.md";
const METHODS: [&str; 5] = ["get", "head", "post", "put", "delete"];

/// Fails with each operation of the OpenAPI document that no curl command of the page calls.
pub(super) fn check() -> Result<()> {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).with_context(|| path.to_owned());
    let document: Value = serde_json::from_str(&read(DOCUMENT)?).context(DOCUMENT)?;
    let commands = commands(&read(PAGE)?)?;
    let missing: Vec<String> = operations(&document)
        .into_iter()
        .filter(|(method, path)| !commands.iter().any(|command| command.calls(method, path)))
        .map(|(method, path)| format!("{method} {path}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!("{PAGE} has no curl command for:\n  {}", missing.join("\n  "))
}

fn operations(document: &Value) -> Vec<(String, String)> {
    let paths = document.get("paths").and_then(Value::as_object);
    let of_path = |(path, item): (&String, &Value)| {
        let named = METHODS.into_iter().filter(|method| item.get(method).is_some());
        named.map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
    };
    paths.into_iter().flatten().flat_map(of_path).collect()
}

/// A request that curl sends.
#[derive(Debug)]
struct Call {
    method: &'static str,
    path: String,
}

impl Call {
    /// A command, from right after the word `curl`; `None` where it calls something else.
    fn read(command: &str) -> Option<Self> {
        let (_, target) = command.split_once("$GATEWAY_URL")?;
        let end = target.find(|letter: char| letter.is_whitespace() || "\"')?|;".contains(letter));
        let path = target.get(..end.unwrap_or(target.len()))?.to_owned();
        let words: Vec<&str> = command.split_whitespace().collect();
        let has = |flags: &[&str]| words.iter().any(|word| flags.contains(word));
        let after = words.windows(2).find_map(|pair| match pair {
            ["-X", method] => Some(*method),
            _ => None,
        });
        let method = match after {
            Some("PUT") => "PUT",
            Some("DELETE") => "DELETE",
            Some("POST") => "POST",
            Some(_) => return None,
            None if has(&["-d", "-F", "--data-binary"]) => "POST",
            None if has(&["-I", "-sI", "-sIK"]) => "HEAD",
            None => "GET",
        };
        Some(Self { method, path })
    }

    fn calls(&self, method: &str, template: &str) -> bool {
        let (mine, its): (Vec<&str>, Vec<&str>) = (self.path.split('/').collect(), template.split('/').collect());
        let fits = |(mine, its): (&&str, &&str)| {
            // An id is a variable of the shell, but for names such as a workflow's.
            if its.starts_with('{') { !mine.is_empty() && !RESERVED.contains(mine) } else { mine == its }
        };
        self.method == method && mine.len() == its.len() && mine.iter().zip(&its).all(fits)
    }
}

/// What stands where an id may stand, and is none.
const RESERVED: [&str; 1] = ["stats"];

/// All that curl is asked for in the shell blocks of a page.
fn commands(markdown: &str) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    for block in block::read(markdown)?.into_iter().filter(|block| block.language == "sh") {
        let lines = block.text.replace("\\\n", " ");
        let without_comments = lines.lines().filter(|line| !line.trim_start().starts_with('#'));
        for line in without_comments {
            calls.extend(requests(line).filter_map(Call::read));
        }
    }
    Ok(calls)
}

/// The curl commands of a line, from right after their first word.
fn requests(line: &str) -> impl Iterator<Item = &str> {
    let is_command = |start: &usize| {
        let before = line.get(..*start).and_then(|before| before.chars().next_back());
        before.is_none_or(|letter| letter.is_whitespace() || letter == '(')
    };
    let starts: Vec<usize> = line.match_indices("curl ").map(|(start, _)| start).filter(is_command).collect();
    let ends = starts.iter().skip(1).copied().chain([line.len()]).collect::<Vec<_>>();
    starts.into_iter().zip(ends).filter_map(|(start, end)| line.get(start + "curl ".len()..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_of_the_api_has_a_curl_command() {
        check().unwrap();
    }

    #[test]
    fn commands_are_told_apart_by_method_and_path() {
        let page = "```sh\n# curl $GATEWAY_URL/no\nA=$(curl -sK key.curl $GATEWAY_URL/jobs/$ID/logs | sed x)\n\
                    curl -s -X PUT \"$GATEWAY_URL/workflows/a?x=1\" -d @f; curl -sIK key.curl $GATEWAY_URL/health\n\
                    curl -s \\\n  -d '{}' $GATEWAY_URL/jobs\ncurl -s $GATEWAY_URL/jobs/stats\n```\n";
        let calls = commands(page).unwrap();
        let called = |method: &str, path: &str| calls.iter().any(|call| call.calls(method, path));
        assert_eq!(calls.len(), 5);
        for (method, path) in [
            ("GET", "/jobs/{id}/logs"),
            ("PUT", "/workflows/{id}"),
            ("HEAD", "/health"),
            ("POST", "/jobs"),
            ("GET", "/jobs/stats"),
        ] {
            assert!(called(method, path), "{method} {path}");
        }
        for (method, path) in [("GET", "/no"), ("GET", "/jobs"), ("GET", "/jobs/{id}"), ("GET", "/health")] {
            assert!(!called(method, path), "{method} {path}");
        }
    }
}
