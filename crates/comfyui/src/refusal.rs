//! ComfyUI's refusal of a prompt as data and as a sentence for its author.
//! Owns the reading of both error shapes and the words where ComfyUI gives none.

use std::fmt;

use serde_json::{Map, Value};

use crate::{failure::id_text, redact};

/// Longest text that is kept of one fault; lists of choices can be long.
const MAX_TEXT_CHARS: usize = 400;
/// Faults that the sentence names.
const SHOWN_FAULTS: usize = 5;

/// Why ComfyUI does not run a prompt, or not all of it. `Display` gives a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The prompt **was queued**, but only with those outputs that are valid.
    pub partial: bool,
    /// Id of the queued remainder, which the caller has to cancel if it does not want it.
    pub prompt_id: Option<String>,
    /// ComfyUI's `error.type`, such as `prompt_outputs_failed_validation`; `node_errors` for a partial one.
    pub kind: String,
    /// ComfyUI's message.
    pub message: String,
    /// ComfyUI's details; often empty.
    pub details: String,
    /// Faults by node; often empty.
    pub node_errors: Vec<NodeError>,
}

/// The faults of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeError {
    /// Id of the node.
    pub node_id: String,
    /// Class of the node; empty if not given.
    pub class_type: String,
    /// What is wrong with it.
    pub errors: Vec<InputFault>,
}

/// One fault of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFault {
    /// ComfyUI's type, such as `value_not_in_list`.
    pub kind: String,
    /// ComfyUI's message.
    pub message: String,
    /// ComfyUI's details, shortened.
    pub details: String,
    /// The input at fault, if it is one.
    pub input_name: Option<String>,
}

/// What a refusal means for what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// A node class is not installed on this server.
    MissingNodeType,
    /// Every fault is a value that this server does not offer: usually a model file it lacks.
    ValueNotOffered,
    /// Every fault is an input file that this server does not have.
    MissingInputFile,
    /// The prompt has no output node.
    NoOutputs,
    /// Inputs are wrong on any server.
    InvalidInputs,
    /// ComfyUI gives no reason, as it does for loops.
    Unexplained,
    /// Anything else.
    Other,
}

impl Refusal {
    /// Reads the body of a 400; `None` if it is not of ComfyUI's form.
    pub(crate) fn from_error_body(body: &Value) -> Option<Self> {
        let error = body.get("error")?;
        let text = |key: &str| error.get(key).and_then(Value::as_str).map(shorten).unwrap_or_default();
        let (kind, message) = match error {
            Value::String(message) => ("error".to_owned(), shorten(message)),
            Value::Object(_) => (text("type"), text("message")),
            _ => return None,
        };
        let node_errors = read_node_errors(body);
        Some(Self { partial: false, prompt_id: None, kind, message, details: text("details"), node_errors })
    }

    /// Reads the body of a 200; `None` if it has no node errors.
    pub(crate) fn from_accepted_body(body: &Value, prompt_id: &str) -> Option<Self> {
        body.get("node_errors").and_then(Value::as_object).filter(|errors| !errors.is_empty())?;
        Some(Self {
            partial: true,
            prompt_id: Some(prompt_id.to_owned()),
            kind: "node_errors".to_owned(),
            message: "Some outputs are invalid and would be left out".to_owned(),
            details: String::new(),
            node_errors: read_node_errors(body),
        })
    }

    /// What the refusal means for what to do next. Old and new names of the same error give the same answer.
    pub fn reason(&self) -> RefusalReason {
        let missing_class = self.kind == "missing_node_type" || self.message.contains("does not exist");
        match self.kind.as_str() {
            "invalid_prompt" | "missing_node_type" if missing_class => RefusalReason::MissingNodeType,
            "prompt_no_outputs" => RefusalReason::NoOutputs,
            "prompt_outputs_failed_validation" | "node_errors" => self.reason_of_nodes(),
            "dependency_cycle" | "invalid_prompt" => RefusalReason::InvalidInputs,
            _ => RefusalReason::Other,
        }
    }

    fn reason_of_nodes(&self) -> RefusalReason {
        let faults = || self.node_errors.iter().flat_map(|node| &node.errors);
        if faults().next().is_none() {
            return if self.details.is_empty() { RefusalReason::Unexplained } else { RefusalReason::InvalidInputs };
        }
        if faults().any(|fault| !fault.is_not_offered() && !fault.is_missing_file()) {
            RefusalReason::InvalidInputs
        } else if faults().any(InputFault::is_not_offered) {
            RefusalReason::ValueNotOffered
        } else {
            RefusalReason::MissingInputFile
        }
    }

    fn faults_text(&self) -> Option<String> {
        let all = self.node_errors.iter().flat_map(|node| node.errors.iter().map(move |fault| (node, fault)));
        let total = all.clone().count();
        let mut parts: Vec<String> = all.take(SHOWN_FAULTS).map(|(node, fault)| fault.sentence(node)).collect();
        if total > SHOWN_FAULTS {
            parts.push(format!("and {} more", total - SHOWN_FAULTS));
        }
        (total > 0).then(|| parts.join("; "))
    }
}

impl InputFault {
    fn is_not_offered(&self) -> bool {
        self.kind == "value_not_in_list"
    }

    /// Such as `image - Invalid image file: nope.png`.
    fn is_missing_file(&self) -> bool {
        let details = self.details.to_lowercase();
        self.kind == "custom_validation_failed" && details.contains("invalid") && details.contains(" file: ")
    }

    fn sentence(&self, node: &NodeError) -> String {
        let mut text = format!("node {}", node.node_id);
        if !node.class_type.is_empty() {
            text.push_str(&format!(" ({})", node.class_type));
        }
        if let Some(input) = &self.input_name {
            text.push_str(&format!(", input {input}"));
        }
        text.push_str(": ");
        text.push_str(if self.message.is_empty() { &self.kind } else { &self.message });
        if !self.details.is_empty() && Some(&self.details) != self.input_name.as_ref() {
            text.push_str(&format!(" ({})", self.details));
        }
        text
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head =
            if self.partial { "ComfyUI would run only a part of the workflow" } else { "ComfyUI refused the workflow" };
        write!(formatter, "{head}: ")?;
        if let Some(faults) = self.faults_text() {
            return formatter.write_str(&faults);
        }
        match (self.reason(), self.message.as_str(), self.details.as_str()) {
            (RefusalReason::Unexplained, ..) => formatter.write_str(
                "no output can be computed and no reason is given; most often nodes feed each other in a loop",
            ),
            (_, "", "") => write!(formatter, "it gives no reason but {:?}", self.kind),
            (_, "", only) | (_, only, "") => formatter.write_str(only),
            (_, message, details) if message == details => formatter.write_str(message),
            (_, message, details) => write!(formatter, "{message} ({details})"),
        }
    }
}

fn read_node_errors(body: &Value) -> Vec<NodeError> {
    let nodes = body.get("node_errors").and_then(Value::as_object);
    nodes.into_iter().flatten().map(|(id, node)| read_node_error(id, node)).collect()
}

fn read_node_error(id: &str, node: &Value) -> NodeError {
    let errors = node.get("errors").and_then(Value::as_array);
    NodeError {
        node_id: id.to_owned(),
        class_type: node.get("class_type").and_then(Value::as_str).unwrap_or_default().to_owned(),
        errors: errors.into_iter().flatten().filter_map(Value::as_object).map(read_fault).collect(),
    }
}

fn read_fault(fault: &Map<String, Value>) -> InputFault {
    let text = |key: &str| fault.get(key).and_then(Value::as_str).map(shorten).unwrap_or_default();
    InputFault {
        kind: text("type"),
        message: text("message"),
        details: text("details"),
        input_name: fault.get("extra_info").and_then(|info| info.get("input_name")).and_then(id_text),
    }
}

fn shorten(text: &str) -> String {
    let clean = redact::clean(text.trim());
    let mut short: String = clean.chars().take(MAX_TEXT_CHARS).collect();
    if short.len() < clean.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(body: Value) -> Refusal {
        Refusal::from_error_body(&body).unwrap()
    }

    fn one_fault(fault: Value) -> Refusal {
        refused(json!({
            "error": {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation", "details": ""},
            "node_errors": {"1": {"errors": [fault], "class_type": "Loader"}},
        }))
    }

    #[test]
    fn a_missing_class_is_the_same_under_its_old_and_new_name() {
        let old = refused(
            json!({"error": {"type": "invalid_prompt", "message": "Cannot execute because node Nope does not exist.",
            "details": "Node ID '#1'", "extra_info": {}}, "node_errors": {}}),
        );
        let new = refused(
            json!({"error": {"type": "missing_node_type", "message": "Node 'Nope' not found.", "details": "Node ID '#1'",
            "extra_info": {"node_id": "1", "class_type": "Nope", "node_title": "Nope"}}, "node_errors": {}}),
        );
        assert_eq!((old.reason(), new.reason()), (RefusalReason::MissingNodeType, RefusalReason::MissingNodeType));
        assert_eq!(
            old.to_string(),
            "ComfyUI refused the workflow: Cannot execute because node Nope does not exist. (Node ID '#1')"
        );
    }

    #[test]
    fn faults_of_nodes_are_told_with_node_class_and_input() {
        let missing = one_fault(json!({"type": "value_not_in_list", "message": "Value not in list",
            "details": "ckpt_name: 'nope.safetensors' not in []", "extra_info": {"input_name": "ckpt_name"}}));
        assert_eq!(missing.reason(), RefusalReason::ValueNotOffered);
        assert_eq!(
            missing.to_string(),
            "ComfyUI refused the workflow: node 1 (Loader), input ckpt_name: Value not in list (ckpt_name: 'nope.safetensors' not in [])"
        );
        let upload =
            one_fault(json!({"type": "custom_validation_failed", "message": "Custom validation failed for node",
            "details": "image - Invalid image file: nope.png", "extra_info": {"input_name": "image"}}));
        assert_eq!(upload.reason(), RefusalReason::MissingInputFile);
        let wrong = one_fault(
            json!({"type": "required_input_missing", "message": "Required input is missing", "details": "images",
            "extra_info": {"input_name": "images"}}),
        );
        assert_eq!(wrong.reason(), RefusalReason::InvalidInputs);
        assert_eq!(
            wrong.to_string(),
            "ComfyUI refused the workflow: node 1 (Loader), input images: Required input is missing"
        );
    }

    #[test]
    fn a_refusal_without_any_reason_gets_words_of_our_own() {
        let cycle = refused(json!({"error": {"type": "prompt_outputs_failed_validation",
            "message": "Prompt outputs failed validation", "details": "", "extra_info": {}}, "node_errors": {}}));
        assert_eq!(cycle.reason(), RefusalReason::Unexplained);
        assert!(cycle.to_string().contains("loop"), "{cycle}");
        let empty = refused(json!({"error": {}}));
        assert_eq!(empty.reason(), RefusalReason::Other);
        assert!(!empty.to_string().is_empty());
    }

    #[test]
    fn many_faults_are_counted_and_long_lists_are_cut() {
        let fault = json!({"type": "value_not_in_list", "message": "Value not in list", "details": "x".repeat(5_000)});
        let body = json!({"error": {"type": "prompt_outputs_failed_validation"},
            "node_errors": {"1": {"errors": vec![fault; 9]}}});
        let text = refused(body).to_string();
        assert!(text.ends_with("and 4 more") && text.chars().count() < 2_700, "{text}");
    }

    #[test]
    fn bodies_of_other_programs_are_not_taken_for_refusals() {
        for body in [json!({}), json!({"error": null}), json!([]), json!({"message": "x"}), json!({"error": 5})] {
            assert_eq!(Refusal::from_error_body(&body), None, "{body}");
        }
        assert_eq!(refused(json!({"error": "text only"})).message, "text only");
    }

    #[test]
    fn only_node_errors_that_are_not_empty_make_an_acceptance_partial() {
        assert_eq!(Refusal::from_accepted_body(&json!({"node_errors": {}}), "p"), None);
        assert_eq!(Refusal::from_accepted_body(&json!({"node_errors": []}), "p"), None);
        let partial = Refusal::from_accepted_body(&json!({"node_errors": {"4": {"errors": []}}}), "p").unwrap();
        assert!(partial.partial && partial.prompt_id.as_deref() == Some("p"));
    }
}
