//! Text as HTML: escaped, with what stands in backticks as code, in paragraphs and lists.

use serde_json::Value;

/// `text` with nothing in it that HTML would take for its own.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// A sentence; each second part between backticks is code.
pub(super) fn sentence(text: &str) -> String {
    let part = |(index, part): (usize, &str)| {
        let part = escape(part);
        if index % 2 == 1 { format!("<code>{part}</code>") } else { part }
    };
    text.split('`').enumerate().map(part).collect()
}

/// Paragraphs, and lists of lines that begin with a hyphen.
pub(super) fn prose(text: &str) -> String {
    let block = |block: &str| {
        let items: Option<Vec<&str>> = block.lines().map(|line| line.strip_prefix("- ")).collect();
        match items.filter(|items| !items.is_empty()) {
            Some(items) => {
                let items: String = items.into_iter().map(|item| format!("<li>{}</li>\n", sentence(item))).collect();
                format!("<ul>\n{items}</ul>\n")
            }
            None => format!("<p>{}</p>\n", sentence(block)),
        }
    };
    text.split("\n\n").filter(|block| !block.is_empty()).map(block).collect()
}

/// JSON to be read.
pub(super) fn json(value: &Value) -> String {
    let shown = match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    };
    format!("<pre>{}</pre>\n", escape(&shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_taken_for_html() {
        assert_eq!(
            sentence("a <b> & `\"c\" <i>` 'd'"),
            "a &lt;b&gt; &amp; <code>&quot;c&quot; &lt;i&gt;</code> &#39;d&#39;"
        );
        assert_eq!(
            prose("one\n\n- two\n- `three`"),
            "<p>one</p>\n<ul>\n<li>two</li>\n<li><code>three</code></li>\n</ul>\n"
        );
    }
}
