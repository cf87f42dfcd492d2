//! References inside a schema: only to its own definitions, never in a circle, never to anywhere else.
//! This is what keeps a schema from making the gateway fetch, or loop.

use std::collections::HashSet;

use serde_json::Value;

use crate::Fault;

use super::value::shorten;

/// How many references may lead on from one to the next.
const MAX_REFERENCES: usize = 16;

/// Notes every reference that is not allowed.
pub(super) fn check(schema: &Value, faults: &mut Vec<Fault>) {
    let mut walk = Walk { root: schema, active: Vec::new(), done: HashSet::new(), faults };
    walk.schema(schema, "/inputSchema");
}

/// The schema that `schema` stands for, its references followed.
pub(super) fn follow<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    let mut current = schema;
    for _ in 0..MAX_REFERENCES {
        match current.get("$ref").and_then(Value::as_str).and_then(|reference| target(root, reference)) {
            Some(next) => current = next,
            None => break,
        }
    }
    current
}

fn target<'s>(root: &'s Value, reference: &str) -> Option<&'s Value> {
    let path = reference.strip_prefix('#')?;
    (path.starts_with("/$defs/") || path.starts_with("/definitions/")).then(|| root.pointer(path)).flatten()
}

struct Walk<'s, 'f> {
    root: &'s Value,
    /// The references that led to where the walk is.
    active: Vec<&'s str>,
    /// References whose targets were walked already.
    done: HashSet<&'s str>,
    faults: &'f mut Vec<Fault>,
}

impl<'s> Walk<'s, '_> {
    fn schema(&mut self, schema: &'s Value, path: &str) {
        for (key, value) in schema.as_object().into_iter().flatten() {
            match key.as_str() {
                "$ref" => self.reference(value, path),
                "$dynamicRef" | "$recursiveRef" | "$anchor" | "$dynamicAnchor" => {
                    self.fault(path, format!("uses `{key}`, which is not supported"));
                }
                "$id" if path != "/inputSchema" => self.fault(path, "has an `$id` of its own".to_owned()),
                "enum" | "const" | "default" | "examples" => {}
                "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" => {
                    for (name, each) in value.as_object().into_iter().flatten() {
                        self.schema(each, &format!("{path}/{key}/{name}"));
                    }
                }
                _ => match value {
                    Value::Object(_) => self.schema(value, &format!("{path}/{key}")),
                    Value::Array(items) => {
                        for (at, each) in items.iter().enumerate() {
                            self.schema(each, &format!("{path}/{key}/{at}"));
                        }
                    }
                    _ => {}
                },
            }
        }
    }

    fn reference(&mut self, value: &'s Value, path: &str) {
        let Some(reference) = value.as_str() else {
            return self.fault(path, "has a `$ref` that is no string".to_owned());
        };
        let shown = shorten(reference, 100);
        let Some(found) = target(self.root, reference) else {
            let message = format!("refers to `{shown}`; a reference leads to `#/$defs/…` in the same schema");
            return self.fault(path, message);
        };
        if self.active.contains(&reference) {
            return self.fault(path, format!("refers to `{shown}` in a circle"));
        }
        if self.active.len() >= MAX_REFERENCES {
            return self.fault(path, format!("is more than {MAX_REFERENCES} references away"));
        }
        if self.done.contains(reference) {
            return;
        }
        self.active.push(reference);
        self.schema(found, path);
        self.active.pop();
        self.done.insert(reference);
    }

    fn fault(&mut self, path: &str, message: String) {
        self.faults.push(Fault::new(path, message));
    }
}
