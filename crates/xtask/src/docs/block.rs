//! The code blocks of a page, and what the page says of each to whoever tries it.

use anyhow::{Context as _, Result, bail};
use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

/// A block between fences.
#[derive(Debug)]
pub(super) struct Block {
    /// The line of its first fence.
    pub(super) line: usize,
    pub(super) language: String,
    pub(super) text: String,
    pub(super) note: Option<Note>,
}

/// What stands before a block, in a comment that readers don't see: `<!-- docs-test: … -->`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// `not run: REASON`.
    NotRun(String),
    /// `background: gateway` or `background: port N`, with `; as: COMMAND` where something else is run in its place: it
    /// goes on while the next blocks run, and takes the place of what listened there.
    Background { on: String, instead: Option<String> },
    /// `status: N`: each answer in it has this status.
    Status(u16),
    /// `with: COMMAND`: this is run, with the block as the file `$BLOCK`.
    With(String),
    /// `answer of: COMMAND`: what this answers looks like the block.
    AnswerOf(String),
}

impl Note {
    /// The note in a comment; `None` where the comment is for somebody else.
    fn read(html: &str) -> Result<Option<Self>> {
        let inside = html.trim().strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->"));
        let Some(text) = inside.and_then(|inside| inside.trim().strip_prefix("docs-test:")) else {
            return Ok(None);
        };
        let (kind, value) = text.split_once(':').with_context(|| format!("`{text}` has no value"))?;
        let value = value.trim();
        if value.is_empty() {
            bail!("`{text}` has no value");
        }
        Ok(Some(match kind.trim() {
            "not run" => Self::NotRun(value.to_owned()),
            "background" => {
                let (on, instead) = match value.split_once("; as:") {
                    Some((on, command)) => (on, Some(command.trim().to_owned())),
                    None => (value, None),
                };
                let on = on.strip_prefix("port ").unwrap_or(on).trim();
                if on != "gateway" && on.parse::<u16>().is_err() {
                    bail!("`{on}` is neither `gateway` nor `port` and its number");
                }
                Self::Background { on: on.to_owned(), instead }
            }
            "status" => Self::Status(value.parse().with_context(|| format!("`{value}` is no status"))?),
            "with" => Self::With(value.to_owned()),
            "answer of" => Self::AnswerOf(value.to_owned()),
            other => bail!("`{other}` means nothing here"),
        }))
    }
}

/// All blocks of a page, in order.
pub(super) fn read(markdown: &str) -> Result<Vec<Block>> {
    let (mut blocks, mut note, mut html) = (Vec::new(), None, String::new());
    let mut open: Option<Block> = None;
    for (event, range) in Parser::new(markdown).into_offset_iter() {
        let line = 1 + markdown.get(..range.start).map_or(0, |before| before.matches('\n').count());
        let at_line = || format!("line {line}");
        match event {
            Event::Html(text) => html.push_str(&text),
            Event::End(TagEnd::HtmlBlock) => {
                note = Note::read(&std::mem::take(&mut html)).with_context(at_line)?;
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                let (language, note) = (language.into_string(), note.take());
                open = Some(Block { line, language, text: String::new(), note });
            }
            Event::Text(text) if open.is_some() => {
                open.iter_mut().for_each(|block| block.text.push_str(&text));
            }
            Event::End(TagEnd::CodeBlock) => blocks.extend(open.take()),
            Event::Start(Tag::HtmlBlock) => {}
            _ if note.is_some() => bail!("{}: there is no block right after the comment", at_line()),
            _ => {}
        }
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_their_lines_languages_and_notes_also_in_lists() {
        let page = "# A\n\n<!-- docs-test: not run: no GPU -->\n```sh\na\n```\n\n- one:\n\n  <!-- docs-test: status: 404 -->\n  \
                    ```console\n  $ b\n  ```\n\n```\nc\n```\n";
        let blocks = read(page).unwrap();
        let seen: Vec<_> = blocks.iter().map(|b| (b.line, b.language.as_str(), b.text.as_str())).collect();
        assert_eq!(seen, [(4, "sh", "a\n"), (11, "console", "$ b\n"), (15, "", "c\n")]);
        assert_eq!(blocks[0].note, Some(Note::NotRun(String::from("no GPU"))));
        assert_eq!(blocks[1].note, Some(Note::Status(404)));
        assert_eq!(blocks[2].note, None);
    }

    #[test]
    fn notes_are_understood_or_refused() {
        let read = |text: &str| Note::read(&format!("<!-- {text} -->\n"));
        assert_eq!(read("somebody else's").unwrap(), None);
        let (on, instead) = (String::from("9000"), Some(String::from("b --c")));
        assert_eq!(
            read("docs-test: background: port 9000; as: b --c").unwrap(),
            Some(Note::Background { on, instead })
        );
        let gateway = Note::Background { on: String::from("gateway"), instead: None };
        assert_eq!(read("docs-test: background: gateway").unwrap(), Some(gateway));
        for wrong in ["not run", "not run:", "skip: it", "background: here", "status: many"] {
            assert!(read(&format!("docs-test: {wrong}")).is_err(), "{wrong}");
        }
        assert!(super::read("<!-- docs-test: not run: x -->\n\ntext\n").is_err(), "a note that is of no block");
    }
}
