//! The API described: one OpenAPI 3.1 document and a page that shows it. It is made of the tables that the handlers use,
//! too (error codes, states, formats), and of an operation for each route, an area a file. It changes nothing about how
//! requests are answered: a test holds it against the routes, and another against a running gateway.

mod access;
mod admin;
mod batches;
mod build;
mod components;
mod examples;
mod files;
mod health;
mod images;
mod jobs;
mod mcp;
mod outputs;
mod page;
mod problems;
mod schemas;
mod serve;
#[cfg(test)]
mod tests;
mod webhooks;
mod workflows;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use self::build::{Operation, reference};

pub(crate) use self::serve::{show_document, show_page};

/// Below which all paths are served; they are at the root, too.
const PREFIX: &str = "/v1";

const ABOUT: &str = "A REST service in front of ComfyUI: workflows are templates with checked inputs, a job is one \
`POST`, and its pictures are URLs.

Errors are problems (RFC 9457, `application/problem+json`): `code` is the stable part. A path that is not there is \
answered with 404 `NOT_FOUND`, a method that a path has not with 405 `METHOD_NOT_ALLOWED` and `Allow`, a path with its \
query of more than 8 KiB with 414. Unknown fields, \
unknown parameters, and a body where none is taken are refused.

Credentials are a key in `X-API-Key`, or a key or a token after `Authorization: Bearer`. A gateway without any key and \
without tokens asks for none, and whoever reaches it is an administrator.

Every path is served without `/v1`, too. URLs in answers have no host and no `/v1`.";

const TAGS: [(&str, &str); 14] = [
    ("Health", "Whether it lives, whether it can work, what it can do. Asks for no credentials."),
    ("Workflows", "What can be asked for. Administrators change them."),
    ("Jobs", "Submitted, watched, ended."),
    ("Batches", "Many jobs of one workflow at once."),
    ("Uploads", "Files for inputs."),
    ("Outputs", "What jobs made."),
    ("Images", "OpenAI's images API, for programs that were written for it."),
    ("Webhooks", "Messages to the owners of jobs."),
    ("Agents", "The same as tools of the Model Context Protocol."),
    ("Keys", "Who may call. For administrators."),
    ("Audit", "What was done by whom. For administrators."),
    ("Workers", "Who runs jobs. For administrators."),
    ("Queue", "What waits. For administrators."),
    ("Description", "The API itself. Asks for no credentials."),
];

/// The document as text: what is served, and what `docs/openapi.json` has.
pub fn openapi() -> String {
    // Of texts and numbers alone: there is nothing that could not be written.
    serde_json::to_string_pretty(&document()).unwrap_or_default()
}

fn document() -> Value {
    let operations = operations();
    let components = components::all(&operations);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "ComfyUI Gateway",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": PREFIX}],
        "security": [{"ApiKey": []}, {"Bearer": []}],
        "tags": TAGS.map(|(name, description)| json!({"name": name, "description": description})),
        "paths": paths(operations),
        "webhooks": webhooks::sent(),
        "components": components,
    })
}

fn operations() -> Vec<Operation> {
    [
        health::operations(),
        workflows::operations(),
        jobs::operations(),
        batches::operations(),
        files::operations(),
        outputs::operations(),
        images::operations(),
        webhooks::operations(),
        mcp::operations(),
        access::operations(),
        admin::operations(),
    ]
    .concat()
}

/// The statuses of problems that `operations` may answer with.
fn statuses(operations: &[Operation]) -> BTreeSet<u16> {
    operations.iter().flat_map(|operation| operation.failures().into_keys()).collect()
}

fn paths(operations: Vec<Operation>) -> Map<String, Value> {
    let mut paths = Map::new();
    for operation in operations {
        let item = paths
            .entry(operation.path)
            .or_insert_with(|| json!({"parameters": [reference("parameters", "RequestId")]}));
        let method = operation.method.to_ascii_lowercase();
        if let Some(fields) = item.as_object_mut() {
            fields.insert(method, operation.into_value(problems::name));
        }
    }
    paths
}
