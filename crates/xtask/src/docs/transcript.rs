//! What pages show of commands and answers, and whether the real answers look like it.

use anyhow::{Result, bail};

/// A command of a `console` block, and what the page shows as its output.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    pub(super) command: String,
    pub(super) shown: String,
}

impl Exchange {
    /// The HTTP status that is shown.
    pub(super) fn status(&self) -> Option<u16> {
        status(&self.shown)
    }
}

/// The commands of a `console` block: each begins with `$ ` and goes on while a quote is open or a `\` ends the line.
pub(super) fn read(text: &str) -> Result<Vec<Exchange>> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ").filter(|_| !goes_on) {
            exchanges.push(Exchange::default());
            goes_on = push(&mut exchanges, command, true);
        } else if exchanges.is_empty() {
            bail!("a console block begins with `$ ` and a command");
        } else {
            goes_on = push(&mut exchanges, line, goes_on);
        }
    }
    Ok(exchanges)
}

/// Adds a line to the latest exchange; says whether its command goes on.
fn push(exchanges: &mut [Exchange], line: &str, to_command: bool) -> bool {
    let Some(exchange) = exchanges.last_mut() else { return false };
    let part = if to_command { &mut exchange.command } else { &mut exchange.shown };
    part.push_str(line);
    part.push('\n');
    to_command && (line.ends_with('\\') || exchange.command.matches('\'').count() % 2 == 1)
}

/// In what the answer differs from what is shown: its status, the names of its headers and of its JSON members, what its
/// members say where that is one of the texts that never change, and lines that are neither. Where `…` stands, anything may.
pub(super) fn differences(shown: &str, answer: &str) -> Vec<String> {
    let mut differences = Vec::new();
    let (shown_head, shown_body) = parts(shown);
    let (head, body) = parts(answer);
    if let Some(wanted) = status(shown).filter(|wanted| status(answer) != Some(*wanted)) {
        differences.push(format!("the status is not {wanted}"));
    }
    let name = |line: &str| line.split_once(':').map(|(name, _)| name.to_ascii_lowercase());
    let headers: Vec<String> = head.lines().filter_map(name).collect();
    for wanted in shown_head.lines().filter_map(name).filter(|wanted| !headers.contains(wanted)) {
        differences.push(format!("there is no header `{wanted}`"));
    }
    let members = members(body);
    for (wanted, value) in self::members(shown_body) {
        let same = |(name, found): &(String, String)| {
            *name == wanted && (!FIXED.contains(&wanted.as_str()) || value.contains('…') || *found == value)
        };
        if !members.iter().any(same) {
            let other = if value.is_empty() { String::new() } else { format!(" of `{value}`") };
            differences.push(format!("there is no member `{wanted}`{other}"));
        }
    }
    let plain = |line: &&str| !line.is_empty() && !line.contains('"') && !line.contains('…') && line.len() > 2;
    for wanted in shown_body.lines().map(str::trim).filter(plain) {
        if !body.lines().any(|line| line.trim() == wanted) {
            differences.push(format!("there is no line `{wanted}`"));
        }
    }
    differences
}

/// Members whose texts are part of what an answer means.
const FIXED: [&str; 4] = ["code", "title", "detail", "recommendation"];

/// The HTTP status that a text begins with.
pub(super) fn status(text: &str) -> Option<u16> {
    text.strip_prefix("HTTP/")?.split(' ').nth(1)?.trim().parse().ok()
}

/// Head and body; the head is empty where none is shown.
fn parts(text: &str) -> (&str, &str) {
    if !text.starts_with("HTTP/") {
        return ("", text);
    }
    let end = text.find("\r\n\r\n").or_else(|| text.find("\n\n")).unwrap_or(text.len());
    (text.get(..end).unwrap_or_default(), text.get(end..).unwrap_or_default())
}

/// The members of all objects in JSON, which may be shortened, with their values where these are texts.
fn members(json: &str) -> Vec<(String, String)> {
    let mut texts: Vec<(String, &str)> = Vec::new();
    let mut rest = json;
    while let Some((_, after)) = rest.split_once('"') {
        let Some(end) = end_of_text(after) else { break };
        let text = after.get(..end).unwrap_or_default();
        rest = after.get(end + 1..).unwrap_or_default();
        texts.push((text.to_owned(), rest.trim_start()));
    }
    let value = |index: usize, after: &str| {
        let is_text = after.strip_prefix(':').is_some_and(|value| value.trim_start().starts_with('"'));
        if is_text { texts.get(index + 1).map_or_else(String::new, |(text, _)| text.clone()) } else { String::new() }
    };
    let named = texts.iter().enumerate().filter(|(_, (_, after))| after.starts_with(':'));
    named.map(|(index, (name, after))| (name.clone(), value(index, after))).filter(|(name, _)| name != "…").collect()
}

/// Where the text that begins with `after` ends: at a quote that is not escaped.
fn end_of_text(after: &str) -> Option<usize> {
    let mut escaped = false;
    after.char_indices().find_map(|(at, letter)| {
        let ends = letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        ends.then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "HTTP/1.1 422 Unprocessable Entity\r\nContent-Type: application/problem+json\r\n\r\n\
                          {\"code\":\"BAD\",\"detail\":\"say \\\"a\\\": b\",\"errors\":[{\"path\":\"/x\"}],\"n\":1}";

    #[test]
    fn commands_go_on_over_lines_and_have_their_outputs() {
        let exchanges = read("$ curl -i x \\\n    -d '{\n  }'\nHTTP/1.1 201 Created\n\n{}\n$ b\nc\n").unwrap();
        let seen: Vec<_> = exchanges.iter().map(|e| (e.command.as_str(), e.shown.as_str(), e.status())).collect();
        assert_eq!(
            seen,
            [("curl -i x \\\n    -d '{\n  }'\n", "HTTP/1.1 201 Created\n\n{}\n", Some(201)), ("b\n", "c\n", None)]
        );
        assert!(read("no command\n").is_err());
    }

    #[test]
    fn an_answer_may_have_more_than_is_shown_and_other_values() {
        let shown = "HTTP/1.1 422 Unprocessable Entity\ncontent-type: x\n\n{…, \"code\": \"BAD\", \"detail\": \"say …\",\n \
                     \"errors\": [{\"path\": \"/y\"}], \"…\": \"…\"}\n";
        assert_eq!(differences(shown, ANSWER), Vec::<String>::new());
        assert_eq!(differences("event: end\nid: 17…\n", "id: 1\nevent: end\n"), Vec::<String>::new());
    }

    #[test]
    fn what_is_shown_and_not_there_is_told() {
        for (shown, told) in [
            ("HTTP/1.1 200 OK\n", "the status is not 200"),
            ("HTTP/1.1 422 X\netag: \"1\"\n", "no header `etag`"),
            ("{\"old\": 1}", "no member `old`"),
            ("{\"code\": \"WORSE\"}", "no member `code` of `WORSE`"),
            ("200 200 429\n", "no line `200 200 429`"),
        ] {
            let differences = differences(shown, ANSWER).join("; ");
            assert!(differences.contains(told), "{shown}: {differences}");
        }
    }
}
