//! The body of `POST /batches`: what all jobs share, and what each has of its own.

use gateway_core::{Fault, Timestamp};
use serde_json::{Map, Value};

use crate::jobs::request::{self, JobRequest};

/// Jobs that one batch may have.
const MAX_JOBS: usize = 1_000;

/// What one job has of its own.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Item {
    pub(super) inputs: Map<String, Value>,
    pub(super) params: Map<String, Value>,
}

/// What a caller asks for.
#[derive(Debug)]
pub(crate) struct BatchRequest {
    /// What all jobs share.
    pub(super) shared: JobRequest,
    pub(super) items: Vec<Item>,
    /// Whether the items are named one by one: faults are told by their place then.
    pub(super) listed: bool,
}

/// Reads `body`; gives what could be read, and every fault.
pub(super) fn read(mut body: Map<String, Value>, now: Timestamp) -> (BatchRequest, Vec<Fault>) {
    let (items, sweep) = (body.shift_remove("items"), body.shift_remove("sweep"));
    let mut faults = Vec::new();
    let listed = items.is_some();
    let items = match (items, sweep) {
        (Some(items), None) => read_items(items, &mut faults),
        (None, Some(sweep)) => read_sweep(sweep, &mut faults),
        (Some(_), Some(_)) => {
            faults.push(Fault::new("/sweep", "can't be given beside items"));
            Vec::new()
        }
        (None, None) => {
            faults.push(Fault::new("/items", "is missing; give items (a list), or sweep (values of parameters)"));
            Vec::new()
        }
    };
    if body.shift_remove("webhookEvents").is_some() {
        faults.push(Fault::new("/webhookEvents", "a batch tells once, when its last job has ended"));
    }
    let (shared, more) = request::read(body, now);
    faults.extend(more);
    if shared.graph.is_some() {
        faults.push(Fault::new("/workflow", "a batch is of a registered workflow; send a graph to POST /jobs"));
    }
    (BatchRequest { shared, items, listed }, faults)
}

fn read_items(value: Value, faults: &mut Vec<Fault>) -> Vec<Item> {
    let Value::Array(list) = value else {
        faults.push(Fault::new("/items", "must be a list of {\"inputs\", \"params\"}"));
        return Vec::new();
    };
    if list.is_empty() || list.len() > MAX_JOBS {
        faults.push(Fault::new("/items", format!("must have 1 to {MAX_JOBS} entries")));
        return Vec::new();
    }
    list.into_iter().enumerate().map(|(index, value)| read_item(index, value, faults)).collect()
}

fn read_item(index: usize, value: Value, faults: &mut Vec<Fault>) -> Item {
    let mut item = Item::default();
    let Value::Object(fields) = value else {
        faults.push(Fault::new(format!("/items/{index}"), "must be {\"inputs\", \"params\"}"));
        return item;
    };
    for (field, value) in fields {
        match (field.as_str(), value) {
            ("inputs", Value::Object(inputs)) => item.inputs = inputs,
            ("params", Value::Object(params)) => item.params = params,
            ("inputs" | "params", _) => {
                faults.push(Fault::new(format!("/items/{index}/{field}"), "must be an object"));
            }
            _ => faults.push(Fault::new(format!("/items/{index}/{field}"), "unknown field; there are: inputs, params")),
        }
    }
    item
}

/// Every combination of the values, the last name's changing fastest.
fn read_sweep(value: Value, faults: &mut Vec<Fault>) -> Vec<Item> {
    let Value::Object(names) = value else {
        faults.push(Fault::new("/sweep", "must be an object of lists"));
        return Vec::new();
    };
    if names.is_empty() {
        faults.push(Fault::new("/sweep", "must name at least one parameter"));
    }
    let mut items = vec![Item::default()];
    for (name, values) in names {
        let values = match values {
            Value::Array(values) if !values.is_empty() => values,
            _ => {
                faults.push(Fault::new(format!("/sweep/{name}"), "must be a list that is not empty"));
                continue;
            }
        };
        if items.len().saturating_mul(values.len()) > MAX_JOBS {
            faults.push(Fault::new("/sweep", format!("has more than {MAX_JOBS} combinations")));
            return Vec::new();
        }
        let with = |item: &Item, value: &Value| {
            let mut item = item.clone();
            item.params.insert(name.clone(), value.clone());
            item
        };
        items = items.iter().flat_map(|item| values.iter().map(move |value| with(item, value))).collect();
    }
    items
}

impl BatchRequest {
    /// `count` jobs that differ in nothing but what is drawn for each.
    pub(crate) fn equal(shared: JobRequest, count: usize) -> Self {
        Self { shared, items: vec![Item::default(); count], listed: false }
    }

    /// The request of one job: what all share, with what is the item's own in its place.
    pub(super) fn of(&self, item: &Item) -> JobRequest {
        let mut request = self.shared.clone();
        // The batch tells for all.
        request.callback = None;
        request.request_id = None;
        for (name, value) in &item.inputs {
            request.params.remove(name);
            request.inputs.insert(name.clone(), value.clone());
        }
        for (name, value) in &item.params {
            request.inputs.remove(name);
            request.params.insert(name.clone(), value.clone());
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(body: Value) -> (BatchRequest, Vec<String>) {
        let (request, faults) = read(body.as_object().unwrap().clone(), Timestamp::from_millis(0));
        (request, faults.into_iter().map(|fault| fault.path).collect())
    }

    #[test]
    fn a_sweep_is_every_combination() {
        let body = json!({"workflowId": "w", "inputs": {"prompt": "x", "steps": 9},
            "sweep": {"steps": [1, 2], "cfg": [3, 4, 5]}});
        let (request, faults) = parsed(body);
        assert_eq!(faults, [""; 0]);
        let of = |item: &Item| (item.params["steps"].as_i64().unwrap(), item.params["cfg"].as_i64().unwrap());
        let all: Vec<_> = request.items.iter().map(of).collect();
        assert_eq!(all, [(1, 3), (1, 4), (1, 5), (2, 3), (2, 4), (2, 5)]);
        let first = request.of(&request.items[0]);
        assert_eq!((json!(first.inputs), json!(first.params)), (json!({"prompt": "x"}), json!({"steps": 1, "cfg": 3})));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_place() {
        let many = vec![json!({}); MAX_JOBS + 1];
        for (body, path) in [
            (json!({"workflowId": "w"}), "/items"),
            (json!({"workflowId": "w", "items": []}), "/items"),
            (json!({"workflowId": "w", "items": many}), "/items"),
            (json!({"workflowId": "w", "items": [{}], "sweep": {}}), "/sweep"),
            (json!({"workflowId": "w", "sweep": {}}), "/sweep"),
            (json!({"workflowId": "w", "sweep": {"a": []}}), "/sweep/a"),
            (json!({"workflowId": "w", "sweep": {"a": vec![0; 100], "b": vec![0; 11]}}), "/sweep"),
            (json!({"workflowId": "w", "items": [{}, {"inputs": 7}]}), "/items/1/inputs"),
            (json!({"workflowId": "w", "items": [{"priority": 9}]}), "/items/0/priority"),
            (json!({"workflowId": "w", "items": [7]}), "/items/0"),
            (json!({"workflowId": "w", "items": [{}], "state": 1}), "/state"),
            (json!({"items": [{}]}), "/workflowId"),
            (json!({"items": [{}], "workflow": {}}), "/workflow"),
        ] {
            assert_eq!(parsed(body.clone()).1, [path], "{body}");
        }
    }
}
