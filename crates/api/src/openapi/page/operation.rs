//! One operation of the page: what it takes, what it answers, and how to call it.

use serde_json::Value;

use super::words::{escape, json, prose, sentence};
use super::{Page, Place, list, member, object, schema, text};

/// Where a gateway listens that nobody has told otherwise.
const BASE: &str = "http://127.0.0.1:3000";

pub(super) fn render(page: &Page<'_>, place: &Place<'_>) -> String {
    let operation = place.operation;
    let (method, path) = (place.method.to_ascii_uppercase(), escape(place.path));
    let (id, summary) = (escape(text(operation, "operationId")), sentence(text(operation, "summary")));
    // The id lies inside: a browser that is led to it opens what is closed around it.
    format!(
        "<details>\n<summary><code><span class=\"method\">{method}</span>{path}</code> {summary}</summary>\n\
         <div id=\"{id}\">\n{}{}{}<h3>Try it</h3>\n<pre>{}</pre>\n{}</div>\n</details>\n",
        prose(text(operation, "description")),
        parameters(page, place),
        body(page, operation),
        escape(&curl(page, place)),
        answers(page, operation),
    )
}

fn all_parameters<'a>(page: &Page<'a>, place: &Place<'a>) -> Vec<&'a Value> {
    let own = list(member(place.operation, "parameters"));
    own.iter().chain(list(place.shared)).map(|parameter| page.resolve(parameter)).collect()
}

fn parameters(page: &Page<'_>, place: &Place<'_>) -> String {
    let rows = all_parameters(page, place).into_iter().map(|parameter| {
        format!(
            "<tr><td><code>{}</code> <span class=\"soft\">{}</span></td><td>{}</td><td>{}</td></tr>\n",
            escape(text(parameter, "name")),
            escape(text(parameter, "in")),
            schema::shape(page, member(parameter, "schema")),
            sentence(text(parameter, "description")),
        )
    });
    format!("<h3>Parameters</h3>\n<table>\n{}</table>\n", rows.collect::<String>())
}

fn body(page: &Page<'_>, operation: &Value) -> String {
    let body = member(operation, "requestBody");
    let contents = object(member(body, "content")).map(|(media, content)| of_media(page, media, content));
    let contents: String = contents.collect();
    if contents.is_empty() { contents } else { format!("<h3>Body</h3>\n{contents}") }
}

/// What a body of the type `media` is.
fn of_media(page: &Page<'_>, media: &str, content: &Value) -> String {
    let examples = object(member(content, "examples")).map(|(name, example)| {
        let summary = Some(text(example, "summary")).filter(|summary| !summary.is_empty()).unwrap_or(name);
        format!("<details><summary>{}</summary>{}</details>\n", sentence(summary), json(member(example, "value")))
    });
    let shape = schema::shape(page, member(content, "schema"));
    format!("<p><code>{}</code>: {shape}</p>\n{}", escape(media), examples.collect::<String>())
}

fn answers(page: &Page<'_>, operation: &Value) -> String {
    let rows = object(member(operation, "responses")).map(|(status, response)| {
        let response = page.resolve(response);
        let contents: String =
            object(member(response, "content")).map(|(media, content)| of_media(page, media, content)).collect();
        let names: Vec<String> =
            object(member(response, "headers")).map(|(name, _)| format!("<code>{}</code>", escape(name))).collect();
        format!(
            "<tr><td>{status}</td><td>{}{contents}<p class=\"soft\">{}</p></td></tr>\n",
            prose(text(response, "description")),
            names.join(" "),
        )
    });
    format!("<h3>Answers</h3>\n<table>\n{}</table>\n", rows.collect::<String>())
}

/// A command that calls it.
fn curl(page: &Page<'_>, place: &Place<'_>) -> String {
    let operation = place.operation;
    let mut path = place.path.to_owned();
    for parameter in all_parameters(page, place).into_iter().filter(|parameter| text(parameter, "in") == "path") {
        path = path.replace(&format!("{{{}}}", text(parameter, "name")), text(parameter, "example"));
    }
    let server = list(member(page.document, "servers")).first().map(|server| text(server, "url")).unwrap_or_default();
    let mut command = String::from("curl");
    match place.method {
        "get" | "post" => {}
        "head" => command.push_str(" -I"),
        method => command.push_str(&format!(" -X {}", method.to_ascii_uppercase())),
    }
    command.push_str(&format!(" {BASE}{server}{path}"));
    let open = operation.get("security").is_some_and(|security| list(security).is_empty());
    if !open {
        command.push_str(" -H 'X-API-Key: …'");
    }
    let content = member(member(operation, "requestBody"), "content");
    let example = content.get("application/json").and_then(|json| object(member(json, "examples")).next());
    if let Some((_, example)) = example {
        let quoted = member(example, "value").to_string().replace('\'', "'\\''");
        command.push_str(&format!(" \\\n  -H 'Content-Type: application/json' -d '{quoted}'"));
    } else if content.get("multipart/form-data").is_some() {
        command.push_str(" -F file=@picture.png");
    } else if place.method == "post" {
        command.push_str(" -X POST");
    }
    command
}
