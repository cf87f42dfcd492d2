//! The schemas of the page: in one line where one is used, with all members where it is named.

use serde_json::Value;

use super::words::{escape, prose, sentence};
use super::{Page, list, member, object, strings, text};

/// Every schema that has a name.
pub(super) fn all(page: &Page<'_>) -> String {
    let schemas = object(member(member(page.document, "components"), "schemas")).map(|(name, schema)| {
        let name = escape(name);
        let about = prose(text(schema, "description"));
        format!(
            "<details>\n<summary><code>{name}</code></summary>\n<div id=\"schema-{name}\">\n{about}{}</div>\n</details>\n",
            members(page, schema),
        )
    });
    format!("<section>\n<h2 id=\"schemas\">Schemas</h2>\n{}</section>\n", schemas.collect::<String>())
}

fn members(page: &Page<'_>, schema: &Value) -> String {
    let required: Vec<&str> = strings(member(schema, "required")).collect();
    let rows = object(member(schema, "properties")).map(|(name, property)| {
        let always = if required.contains(&name.as_str()) { "always" } else { "" };
        format!(
            "<tr><td><code>{}</code></td><td class=\"soft\">{always}</td><td>{}</td><td>{}</td></tr>\n",
            escape(name),
            shape(page, property),
            sentence(text(property, "description")),
        )
    });
    let rows: String = rows.collect();
    if rows.is_empty() { format!("<p>{}</p>\n", shape(page, schema)) } else { format!("<table>\n{rows}</table>\n") }
}

/// What a value may be, in one line.
pub(super) fn shape(page: &Page<'_>, schema: &Value) -> String {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|name| name.rsplit('/').next()) {
        let name = escape(name);
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    for (word, between) in [("oneOf", " or "), ("anyOf", " or "), ("allOf", " and ")] {
        if let Some(choices) = schema.get(word).filter(|_| schema.get("properties").is_none()) {
            let choices: Vec<String> = list(choices).iter().map(|choice| shape(page, choice)).collect();
            return choices.join(between);
        }
    }
    if let Some(only) = schema.get("const") {
        return format!("<code>{}</code>", escape(&only.to_string()));
    }
    if let Some(words) = schema.get("enum") {
        let words: Vec<String> = list(words)
            .iter()
            .map(|word| format!("<code>{}</code>", escape(word.as_str().unwrap_or("null"))))
            .collect();
        return words.join(" ");
    }
    let mut shape = match member(schema, "type") {
        Value::String(kind) => kind_of(page, schema, kind),
        Value::Array(kinds) => {
            let kinds: Vec<String> =
                kinds.iter().filter_map(Value::as_str).map(|kind| kind_of(page, schema, kind)).collect();
            kinds.join(" or ")
        }
        _ => String::from("anything"),
    };
    shape.push_str(&bounds(schema));
    shape
}

fn kind_of(page: &Page<'_>, schema: &Value, kind: &str) -> String {
    match kind {
        "array" => format!("list of {}", shape(page, member(schema, "items"))),
        "object" => {
            let names: Vec<String> = object(member(schema, "properties"))
                .map(|(name, property)| format!("<code>{}</code>: {}", escape(name), shape(page, property)))
                .collect();
            if names.is_empty() { String::from("object") } else { format!("object of {}", names.join(", ")) }
        }
        other => {
            let format = text(schema, "format");
            if format.is_empty() { escape(other) } else { escape(format) }
        }
    }
}

/// What bounds it, behind what it is.
fn bounds(schema: &Value) -> String {
    let words = [
        ("minimum", "from "),
        ("maximum", "to "),
        ("minLength", "characters from "),
        ("maxLength", "characters to "),
        ("minItems", "entries from "),
        ("maxItems", "entries to "),
        ("maxProperties", "members to "),
        ("default", "usually "),
    ];
    let mut bounds: Vec<String> = words
        .into_iter()
        .filter_map(|(word, lead)| schema.get(word).map(|bound| format!("{lead}{}", escape(&bound.to_string()))))
        .collect();
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        bounds.push(format!("<code>{}</code>", escape(pattern)));
    }
    if bounds.is_empty() { String::new() } else { format!(", {}", bounds.join(", ")) }
}
