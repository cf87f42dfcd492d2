//! Decides whether a prompt is accepted, with the errors of ComfyUI, and converts values in place as it does.
//! Knows nothing of the queue; what a prompt does when it runs is not judged here.

mod check;
mod convert;
mod errors;
pub(crate) mod structure;

use serde_json::{Map, Value, json};

use crate::config::Profile;
use crate::definitions::Definitions;
use crate::files::FileStore;
use crate::sync::Random;

use check::Checker;

/// The outcome for a prompt.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// These outputs run; the errors are of those that do not.
    Accepted { outputs: Vec<String>, node_errors: Map<String, Value> },
    /// Nothing runs: the body of the 400.
    Refused { error: Value, node_errors: Map<String, Value> },
}

/// An exception nobody catches: a 500.
#[derive(Debug)]
pub(crate) struct Unhandled;

/// What a prompt is judged against.
pub(crate) struct Rules<'a> {
    pub(crate) definitions: &'a Definitions,
    pub(crate) files: &'a FileStore,
    pub(crate) profile: Profile,
}

/// Judges a prompt. `targets` limits the outputs; `random` decides the order of the outputs, which is a set in Python.
pub(crate) fn validate(
    rules: &Rules<'_>,
    prompt: &mut Value,
    targets: Option<&[Value]>,
    random: &mut Random,
) -> Result<Verdict, Unhandled> {
    let prompt = match prompt {
        Value::Object(nodes) => nodes,
        Value::Array(items) if items.is_empty() => return Ok(no_outputs()),
        _ => return Err(Unhandled),
    };
    let mut outputs = Vec::new();
    for (id, node) in prompt.iter() {
        match classify(rules, id, node)? {
            Class::Refused(error) => return Ok(Verdict::Refused { error, node_errors: Map::new() }),
            Class::Output if targets.is_none_or(|targets| targets.iter().any(|target| target == id)) => {
                outputs.push(id.clone());
            }
            Class::Output | Class::Ordinary => {}
        }
    }
    if outputs.is_empty() {
        return Ok(no_outputs());
    }
    random.shuffle(&mut outputs);
    Ok(judge_outputs(rules, prompt, outputs))
}

enum Class {
    Output,
    Ordinary,
    Refused(Value),
}

fn classify(rules: &Rules<'_>, id: &str, node: &Value) -> Result<Class, Unhandled> {
    let class = match node {
        Value::Object(node) => node.get("class_type"),
        Value::String(_) | Value::Array(_) => None,
        _ => return Err(Unhandled),
    };
    let known = match class {
        None => None,
        Some(Value::String(class)) => rules.definitions.get(class),
        Some(_) => return Err(Unhandled),
    };
    Ok(match known {
        Some(definition) if definition.is_output => Class::Output,
        Some(_) => Class::Ordinary,
        None => Class::Refused(unknown_class(rules.profile, id, node, class.and_then(Value::as_str))),
    })
}

fn unknown_class(profile: Profile, id: &str, node: &Value, class: Option<&str>) -> Value {
    let details = format!("Node ID '#{id}'");
    if profile < Profile::V0_26 {
        let message = match class {
            None => "Cannot execute because a node is missing the class_type property.".to_owned(),
            Some(class) => format!("Cannot execute because node {class} does not exist."),
        };
        return json!({"type": "invalid_prompt", "message": message, "details": details, "extra_info": {}});
    }
    let title = node.pointer("/_meta/title").and_then(Value::as_str);
    let message = match class {
        None => {
            let title = title.map_or_else(|| format!("ID #{id}"), str::to_owned);
            format!("Node '{title}' has no class_type. The workflow may be corrupted or a custom node is missing.")
        }
        Some(class) => format!("Node '{}' not found. The custom node may not be installed.", title.unwrap_or(class)),
    };
    let title = title.or(class);
    json!({"type": "missing_node_type", "message": message, "details": details,
           "extra_info": {"node_id": id, "class_type": class, "node_title": title}})
}

fn no_outputs() -> Verdict {
    let error =
        json!({"type": "prompt_no_outputs", "message": "Prompt has no outputs", "details": "", "extra_info": {}});
    Verdict::Refused { error, node_errors: Map::new() }
}

fn judge_outputs(rules: &Rules<'_>, prompt: &mut Map<String, Value>, outputs: Vec<String>) -> Verdict {
    let mut checker = Checker::new(rules, prompt);
    let mut good = Vec::new();
    let mut node_errors = Map::new();
    let mut details = Vec::new();
    for output in outputs {
        let (valid, reasons) = checker.check_output(&output);
        if valid {
            good.push(output);
            continue;
        }
        details.extend(reasons.iter().map(|reason| {
            let text = |field: &str| reason.get(field).and_then(Value::as_str).unwrap_or_default();
            format!("{}: {}", text("message"), text("details"))
        }));
        // As in ComfyUI every bad node found so far is noted for this output, whether it leads to it or not.
        for (id, errors) in checker.bad_nodes() {
            let class = checker.class_of(id);
            let entry = node_errors
                .entry(id)
                .or_insert_with(|| json!({"errors": errors, "dependent_outputs": [], "class_type": class}));
            if let Some(Value::Array(dependent)) = entry.get_mut("dependent_outputs") {
                dependent.push(Value::from(output.as_str()));
            }
        }
    }
    if good.is_empty() {
        let error = json!({"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation",
                           "details": details.join("\n"), "extra_info": {}});
        return Verdict::Refused { error, node_errors };
    }
    Verdict::Accepted { outputs: good, node_errors }
}
