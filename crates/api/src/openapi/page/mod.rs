//! The document as one page of HTML, made on the server: no script, nothing from elsewhere. Shows what the document says
//! and knows nothing of the API itself.

mod operation;
mod schema;
mod words;

use gateway_core::ErrorCode;
use serde_json::{Map, Value};

use self::words::{escape, prose};

/// How the page looks. Its hash is what the page's policy lets in.
pub(super) const STYLE: &str = include_str!("style.css");

/// The methods of a path in the order in which they are shown.
const METHODS: [&str; 5] = ["get", "head", "post", "put", "delete"];

/// The page of `document`.
pub(super) fn render(document: &Value) -> String {
    let page = Page { document };
    let info = member(document, "info");
    let (title, version) = (escape(text(info, "title")), escape(text(info, "version")));
    let about = prose(text(info, "description"));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title} <small>{version}</small></h1>\n{about}\
         <p>For programs: <a href=\"openapi.json\">openapi.json</a> (OpenAPI 3.1).</p>\n\
         {}{}{}{}</body>\n</html>\n",
        page.contents(),
        page.operations(),
        schema::all(&page),
        codes(),
    )
}

/// What is shown.
struct Page<'a> {
    document: &'a Value,
}

/// One method at one path.
struct Place<'a> {
    path: &'a str,
    method: &'a str,
    /// What all methods of the path take.
    shared: &'a Value,
    operation: &'a Value,
}

impl<'a> Page<'a> {
    /// `value`, or what it refers to.
    fn resolve(&self, value: &'a Value) -> &'a Value {
        let target = value.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix('#'));
        target.and_then(|pointer| self.document.pointer(pointer)).unwrap_or(value)
    }

    /// Every operation of `tag`.
    fn places(&self, tag: &str) -> Vec<Place<'a>> {
        let mut places = Vec::new();
        for (path, item) in object(member(self.document, "paths")) {
            for method in METHODS {
                let Some(operation) = item.get(method) else { continue };
                if strings(member(operation, "tags")).any(|each| each == tag) {
                    places.push(Place { path, method, shared: member(item, "parameters"), operation });
                }
            }
        }
        places
    }

    fn tags(&self) -> impl Iterator<Item = &'a Value> {
        list(member(self.document, "tags")).iter()
    }

    /// What is where.
    fn contents(&self) -> String {
        let tags = self.tags().map(|tag| {
            let name = escape(text(tag, "name"));
            format!("<li><a href=\"#{name}\">{name}</a></li>\n")
        });
        let rest = "<li><a href=\"#schemas\">Schemas</a></li>\n<li><a href=\"#codes\">Error codes</a></li>\n";
        format!("<nav><ul>\n{}{rest}</ul></nav>\n", tags.collect::<String>())
    }

    fn operations(&self) -> String {
        let section = |tag: &'a Value| {
            let name = text(tag, "name");
            let places: String = self.places(name).iter().map(|place| operation::render(self, place)).collect();
            let about = prose(text(tag, "description"));
            format!("<section>\n<h2 id=\"{0}\">{0}</h2>\n{about}{places}</section>\n", escape(name))
        };
        self.tags().map(section).collect()
    }
}

/// The table of error codes.
fn codes() -> String {
    let rows = ErrorCode::ALL.iter().map(|code| {
        let again = if code.is_retryable() { "yes" } else { "no" };
        let (status, meaning) = (code.status(), escape(code.meaning()));
        format!("<tr><td><code>{code}</code></td><td>{status}</td><td>{again}</td><td>{meaning}</td></tr>\n")
    });
    format!(
        "<section>\n<h2 id=\"codes\">Error codes</h2>\n<table>\n\
         <tr><th>Code</th><th>Status</th><th>Worth another try</th><th>Meaning</th></tr>\n{}</table>\n</section>\n",
        rows.collect::<String>()
    )
}

static NOTHING: Value = Value::Null;

fn member<'v>(value: &'v Value, name: &str) -> &'v Value {
    value.get(name).unwrap_or(&NOTHING)
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    list(value).iter().filter_map(Value::as_str)
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}
