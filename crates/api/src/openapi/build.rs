//! The words that the document is written with: operations, parameters, answers. Knows no route and no schema.

use std::collections::{BTreeMap, BTreeSet};

use gateway_core::ErrorCode;
use serde_json::{Map, Value, json};

/// A fault that an operation may answer with. The status is the code's own but for 408, which has no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: u16,
    pub(super) code: ErrorCode,
}

impl Failure {
    fn of(code: ErrorCode) -> Self {
        Self { status: code.status(), code }
    }
}

/// What every request may meet that is looked at at all.
const ALWAYS: [ErrorCode; 6] = [
    ErrorCode::BadRequest,
    ErrorCode::AuthFailed,
    ErrorCode::ValidationError,
    ErrorCode::RateLimited,
    ErrorCode::Internal,
    ErrorCode::DatabaseUnavailable,
];
/// What a body may be refused with before anybody looks at what it says.
const UNREAD: [ErrorCode; 2] = [ErrorCode::PayloadTooLarge, ErrorCode::UnsupportedMediaType];

/// One method at one path.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    fields: Map<String, Value>,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: BTreeMap<u16, Answer>,
    failures: Vec<Failure>,
    open: bool,
}

impl Operation {
    pub(super) fn new(method: &'static str, path: &'static str, id: &str, tag: &str) -> Self {
        let fields = [("operationId", json!(id)), ("tags", json!([tag]))];
        Self {
            method,
            path,
            fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            parameters: Vec::new(),
            body: None,
            answers: BTreeMap::new(),
            failures: ALWAYS.map(Failure::of).to_vec(),
            open: false,
        }
    }

    /// In one line, and in full.
    pub(super) fn about(mut self, summary: &str, description: &str) -> Self {
        self.fields.insert(String::from("summary"), json!(summary));
        self.fields.insert(String::from("description"), json!(description));
        self
    }

    /// Needs no credentials.
    pub(super) fn open(mut self) -> Self {
        self.open = true;
        self.without(&[ErrorCode::AuthFailed])
    }

    /// For administrators alone.
    pub(super) fn admin(self) -> Self {
        self.fails(&[ErrorCode::Forbidden])
    }

    pub(super) fn with(mut self, parameter: Value) -> Self {
        self.parameters.push(parameter);
        self
    }

    pub(super) fn fails(mut self, codes: &[ErrorCode]) -> Self {
        for failure in codes.iter().copied().map(Failure::of) {
            if !self.failures.contains(&failure) {
                self.failures.push(failure);
            }
        }
        self
    }

    /// Never answers with these.
    pub(super) fn without(mut self, codes: &[ErrorCode]) -> Self {
        self.failures.retain(|failure| !codes.contains(&failure.code));
        self
    }

    /// Answers none of the problems that others do.
    pub(super) fn without_failures(mut self) -> Self {
        self.failures.clear();
        self
    }

    /// Reads its body to the end and refuses what should not be in it; also where that is all of it.
    pub(super) fn reads(mut self) -> Self {
        let late = Failure { status: 408, code: ErrorCode::BadRequest };
        self.failures.push(late);
        self.fails(&UNREAD)
    }

    /// Takes a JSON object of the schema `schema`, with examples by their names.
    pub(super) fn takes(self, schema: &str, examples: &[(&str, &str, Value)]) -> Self {
        let content = json!({"schema": reference("schemas", schema), "examples": named(examples)});
        self.takes_content("application/json", content)
    }

    /// Takes a body of the media type `media`, beside those that were named before.
    pub(super) fn takes_content(mut self, media: &str, content: Value) -> Self {
        let body = self.body.get_or_insert_with(|| json!({"required": true, "content": {}}));
        if let Some(Value::Object(contents)) = body.get_mut("content") {
            contents.insert(media.to_owned(), content);
        }
        self.reads()
    }

    pub(super) fn answers(mut self, status: u16, answer: Answer) -> Self {
        self.answers.insert(status, answer);
        self
    }

    /// What it may fail with, a status at a time.
    pub(super) fn failures(&self) -> BTreeMap<u16, Vec<ErrorCode>> {
        let mut by_status: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
        for Failure { status, code } in self.failures.iter().copied() {
            let codes = by_status.entry(status).or_default();
            if !codes.contains(&code) {
                codes.push(code);
            }
        }
        // In the order of the table, so that the same faults have the same name.
        let place = |code: &ErrorCode| ErrorCode::ALL.iter().position(|each| each == code);
        by_status.values_mut().for_each(|codes| codes.sort_by_key(place));
        by_status
    }

    /// It as the document has it; the answers of failures are named by `name`.
    pub(super) fn into_value(self, name: impl Fn(u16, &[ErrorCode]) -> String) -> Value {
        let failures = self.failures();
        let Self { method, mut fields, parameters, body, answers, open, .. } = self;
        let bare = method == "HEAD";
        let mut responses = Map::new();
        let statuses: BTreeSet<u16> = answers.keys().chain(failures.keys()).copied().collect();
        for status in statuses {
            let response = match (answers.get(&status), failures.get(&status)) {
                (Some(answer), _) => answer.value(bare),
                (None, Some(codes)) if bare => reference("responses", &format!("{}{}", name(status, codes), BARE)),
                (None, Some(codes)) => reference("responses", &name(status, codes)),
                (None, None) => continue,
            };
            responses.insert(status.to_string(), response);
        }
        if !parameters.is_empty() {
            fields.insert(String::from("parameters"), Value::Array(parameters));
        }
        if let Some(body) = body {
            fields.insert(String::from("requestBody"), body);
        }
        fields.insert(String::from("responses"), Value::Object(responses));
        if open {
            fields.insert(String::from("security"), json!([]));
        }
        Value::Object(fields)
    }
}

/// What the name of an answer without a body ends with.
pub(super) const BARE: &str = "WithoutBody";

/// What an operation answers where it does what was asked for.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    description: String,
    contents: Map<String, Value>,
    headers: Map<String, Value>,
    links: Map<String, Value>,
}

impl Answer {
    /// Without a body.
    pub(super) fn empty(description: &str) -> Self {
        let bare =
            Self { description: description.to_owned(), contents: Map::new(), headers: Map::new(), links: Map::new() };
        LIMITS.into_iter().fold(bare.header("X-Request-Id"), Self::header)
    }

    /// JSON of the schema `schema`.
    pub(super) fn json(description: &str, schema: &str, example: Value) -> Self {
        let content = json!({"schema": reference("schemas", schema), "examples": {"usual": {"value": example}}});
        Self::empty(description).content("application/json", content)
    }

    /// A body of the media type `media`, beside those that were named before.
    pub(super) fn content(mut self, media: &str, content: Value) -> Self {
        self.contents.insert(media.to_owned(), content);
        self
    }

    /// To a request that is not counted: its headers tell of no limit.
    pub(super) fn uncounted(mut self) -> Self {
        self.headers.retain(|name, _| !LIMITS.contains(&name.as_str()));
        self
    }

    pub(super) fn header(mut self, name: &str) -> Self {
        self.headers.insert(name.to_owned(), reference("headers", name));
        self
    }

    /// The operation `operation` with these parameters, taken from this answer.
    pub(super) fn link(mut self, operation: &str, parameters: &Value) -> Self {
        self.links.insert(operation.to_owned(), json!({"operationId": operation, "parameters": parameters}));
        self
    }

    /// The same for an operation that takes a body.
    pub(super) fn link_with_body(mut self, operation: &str, body: &Value) -> Self {
        self.links.insert(operation.to_owned(), json!({"operationId": operation, "requestBody": body}));
        self
    }

    fn value(&self, bare: bool) -> Value {
        let mut value = Map::new();
        value.insert(String::from("description"), json!(self.description));
        value.insert(String::from("headers"), Value::Object(self.headers.clone()));
        if !self.contents.is_empty() && !bare {
            value.insert(String::from("content"), Value::Object(self.contents.clone()));
        }
        if !self.links.is_empty() {
            value.insert(String::from("links"), Value::Object(self.links.clone()));
        }
        Value::Object(value)
    }
}

/// The headers that tell of the limit of requests.
pub(super) const LIMITS: [&str; 5] =
    ["RateLimit-Policy", "RateLimit", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"];

/// A reference to a component.
pub(super) fn reference(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}

/// Examples by their names, each with a line about it.
pub(super) fn named(examples: &[(&str, &str, Value)]) -> Value {
    let of = |(name, summary, value): &(&str, &str, Value)| {
        ((*name).to_owned(), json!({"summary": summary, "value": value}))
    };
    Value::Object(examples.iter().map(of).collect())
}

/// A part of the path.
pub(super) fn in_path(name: &str, description: &str, schema: Value, example: &str) -> Value {
    json!({"name": name, "in": "path", "required": true, "description": description, "schema": schema, "example": example})
}

/// A parameter of the query. Empty ones and those that stand twice are refused.
pub(super) fn in_query(name: &str, description: &str, schema: Value) -> Value {
    json!({"name": name, "in": "query", "description": description, "schema": schema})
}

/// A header of the request.
pub(super) fn in_header(name: &str, description: &str, schema: Value, example: &str) -> Value {
    json!({"name": name, "in": "header", "description": description, "schema": schema, "example": example})
}
