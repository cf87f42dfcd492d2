//! Walks from an output upwards and judges each node once, with an explicit stack instead of recursion.
//! Decides which error applies; the texts live in `errors`.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::errors::{self, PyError};
use super::{Rules, convert};
use crate::definitions::Definition;
use crate::nodes::annotated_key;

/// Deeper chains end in Python's recursion error.
const MAX_DEPTH: usize = 480;

struct Judged {
    id: String,
    valid: bool,
    errors: Vec<Value>,
}

struct Frame<'a> {
    id: String,
    definition: &'a Definition,
    position: usize,
    errors: Vec<Value>,
    valid: bool,
}

enum Step {
    /// The node that the link at the frame's position leads to must be judged first.
    Need {
        child: String,
        link: Value,
    },
    Done,
}

/// What became of a node above.
enum Outcome {
    Judged(bool),
    Raised(PyError),
}

pub(super) struct Checker<'a> {
    rules: &'a Rules<'a>,
    prompt: &'a mut Map<String, Value>,
    judged: Vec<Judged>,
    places: HashMap<String, usize>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(rules: &'a Rules<'a>, prompt: &'a mut Map<String, Value>) -> Self {
        Self { rules, prompt, judged: Vec::new(), places: HashMap::new() }
    }

    /// Judges an output with all that it needs: whether it can run, and its own errors.
    pub(super) fn check_output(&mut self, output: &str) -> (bool, Vec<Value>) {
        match self.walk(output) {
            Ok(()) => {
                let found = self.places.get(output).and_then(|place| self.judged.get(*place));
                found.map_or((false, Vec::new()), |judged| (judged.valid, judged.errors.clone()))
            }
            Err(error) => {
                let reasons = vec![errors::raised_at_output(&error)];
                self.judge(output, false, reasons.clone());
                (false, reasons)
            }
        }
    }

    /// Every node with errors of its own.
    pub(super) fn bad_nodes(&self) -> impl Iterator<Item = (&str, &[Value])> {
        let bad = self.judged.iter().filter(|judged| !judged.valid && !judged.errors.is_empty());
        bad.map(|judged| (judged.id.as_str(), judged.errors.as_slice()))
    }

    pub(super) fn class_of(&self, id: &str) -> Value {
        self.prompt.get(id).and_then(|node| node.get("class_type")).cloned().unwrap_or(Value::Null)
    }

    fn judge(&mut self, id: &str, valid: bool, errors: Vec<Value>) {
        let judged = Judged { id: id.to_owned(), valid, errors };
        match self.places.get(id).and_then(|place| self.judged.get_mut(*place)) {
            Some(old) => *old = judged,
            None => {
                self.places.insert(id.to_owned(), self.judged.len());
                self.judged.push(judged);
            }
        }
    }

    fn walk(&mut self, output: &str) -> Result<(), PyError> {
        if self.places.contains_key(output) {
            return Ok(());
        }
        let mut stack = vec![self.open(output)?];
        while let Some(mut frame) = stack.pop() {
            match self.advance(&mut frame) {
                Ok(Step::Done) => {
                    let valid = frame.valid && frame.errors.is_empty();
                    self.judge(&frame.id, valid, frame.errors);
                    if let Some(below) = stack.last_mut() {
                        self.deliver(below, Outcome::Judged(valid));
                    }
                }
                Ok(Step::Need { child, link }) => {
                    let outcome = self.descend(&mut stack, &frame, &child);
                    match outcome {
                        Some(Outcome::Judged(valid)) => self.deliver(&mut frame, Outcome::Judged(valid)),
                        Some(Outcome::Raised(error)) => self.deliver_error(&mut frame, &link, &error),
                        None => {
                            // The new frame lies on top; this one goes back below it.
                            let top = stack.pop();
                            stack.push(frame);
                            stack.extend(top);
                            continue;
                        }
                    }
                    stack.push(frame);
                }
                Err(error) => match stack.last_mut() {
                    Some(below) => self.deliver(below, Outcome::Raised(error)),
                    None => return Err(error),
                },
            }
        }
        Ok(())
    }

    /// Either the outcome is known at once, or a frame for the child lies on the stack.
    fn descend(&self, stack: &mut Vec<Frame<'a>>, current: &Frame<'a>, child: &str) -> Option<Outcome> {
        if let Some(judged) = self.places.get(child).and_then(|place| self.judged.get(*place)) {
            return Some(Outcome::Judged(judged.valid));
        }
        // In a cycle Python runs out of stack and forgets every reason on its way back.
        if current.id == child || stack.iter().any(|frame| frame.id == child) {
            return Some(Outcome::Judged(false));
        }
        if stack.len() >= MAX_DEPTH {
            return Some(Outcome::Raised(PyError::new("RecursionError", "maximum recursion depth exceeded")));
        }
        match self.open(child) {
            Ok(frame) => {
                stack.push(frame);
                None
            }
            Err(error) => Some(Outcome::Raised(error)),
        }
    }

    fn deliver(&mut self, frame: &mut Frame<'a>, outcome: Outcome) {
        match outcome {
            Outcome::Judged(valid) => {
                frame.valid &= valid;
                frame.position += 1;
            }
            Outcome::Raised(error) => {
                let link = frame
                    .definition
                    .inputs
                    .get(frame.position)
                    .and_then(|input| self.prompt.get(&frame.id)?.get("inputs")?.get(&input.name).cloned());
                self.deliver_error(frame, &link.unwrap_or(Value::Null), &error);
            }
        }
    }

    fn deliver_error(&mut self, frame: &mut Frame<'a>, link: &Value, error: &PyError) {
        if let (Some(input), Some(child)) = (frame.definition.inputs.get(frame.position), link.get(0)) {
            let reason = errors::raised_inside(input, error, link);
            self.judge(child.as_str().unwrap_or_default(), false, vec![reason]);
        }
        frame.valid = false;
        frame.position += 1;
    }

    fn open(&self, id: &str) -> Result<Frame<'a>, PyError> {
        let node = self.prompt.get(id).ok_or_else(|| PyError::key(&Value::from(id)))?;
        if node.get("inputs").is_none() {
            return Err(PyError::key(&Value::from("inputs")));
        }
        let class = node.get("class_type").and_then(Value::as_str).unwrap_or_default();
        let definition = self.rules.definitions.get(class).ok_or_else(|| PyError::key(&Value::from(class)))?;
        Ok(Frame { id: id.to_owned(), definition, position: 0, errors: Vec::new(), valid: true })
    }

    fn advance(&mut self, frame: &mut Frame<'a>) -> Result<Step, PyError> {
        let definition = frame.definition;
        while let Some(input) = definition.inputs.get(frame.position) {
            let Some(value) = self.input_value(&frame.id, &input.name)? else {
                if input.required {
                    frame.errors.push(errors::required_missing(&input.name));
                }
                frame.position += 1;
                continue;
            };
            let Value::Array(link) = &value else {
                if let Some(error) = self.check_literal(frame, value) {
                    frame.errors.push(error);
                }
                frame.position += 1;
                continue;
            };
            let [child, slot] = link.as_slice() else {
                frame.errors.push(errors::bad_link(input, &value));
                frame.position += 1;
                continue;
            };
            let received = self.linked_type(child, slot)?;
            if !convert::types_match(received, &input.kind) {
                frame.errors.push(errors::type_mismatch(input, received, &value));
                frame.position += 1;
                continue;
            }
            let child = child.as_str().unwrap_or_default().to_owned();
            return Ok(Step::Need { child, link: value });
        }
        Ok(Step::Done)
    }

    fn input_value(&self, id: &str, name: &str) -> Result<Option<Value>, PyError> {
        match self.prompt.get(id).and_then(|node| node.get("inputs")) {
            Some(Value::Object(inputs)) => Ok(inputs.get(name).cloned()),
            Some(Value::String(_) | Value::Array(_)) => Ok(None),
            Some(Value::Null) | None => Err(PyError::new("TypeError", "argument of type 'NoneType' is not iterable")),
            Some(_) => Err(PyError::new("TypeError", "argument of type 'int' is not iterable")),
        }
    }

    fn linked_type(&self, child: &Value, slot: &Value) -> Result<&'a str, PyError> {
        let id = match child {
            Value::String(id) => id,
            Value::Array(_) => return Err(PyError::new("TypeError", "unhashable type: 'list'")),
            Value::Object(_) => return Err(PyError::new("TypeError", "unhashable type: 'dict'")),
            other => return Err(PyError::key(other)),
        };
        let node = self.prompt.get(id).ok_or_else(|| PyError::key(child))?;
        let class = node.get("class_type").and_then(Value::as_str).unwrap_or_default();
        let definition = self.rules.definitions.get(class).ok_or_else(|| PyError::key(&Value::from(class)))?;
        let Some(slot) = slot.as_i64() else {
            return Err(PyError::new("TypeError", "tuple indices must be integers or slices, not str"));
        };
        let count = i64::try_from(definition.outputs.len()).unwrap_or(i64::MAX);
        // Python counts negative indices from the end.
        let place = if slot < 0 { slot + count } else { slot };
        let found = usize::try_from(place).ok().and_then(|place| definition.outputs.get(place));
        found.map(String::as_str).ok_or_else(|| PyError::new("IndexError", "tuple index out of range"))
    }

    /// Converts a literal in place and checks it.
    fn check_literal(&mut self, frame: &Frame<'a>, value: Value) -> Option<Value> {
        let input = frame.definition.inputs.get(frame.position)?;
        let value = match value {
            Value::Object(mut wrapped) if wrapped.contains_key("__value__") => wrapped.remove("__value__")?,
            other => other,
        };
        let converted = match convert::convert(&input.kind, &value) {
            Ok(converted) => converted,
            Err(exception) => return Some(errors::not_convertible(input, &value, &exception)),
        };
        let slot = self.prompt.get_mut(&frame.id).and_then(|node| node.get_mut("inputs"));
        if let Some(slot) = slot.and_then(|inputs| inputs.get_mut(&input.name)) {
            *slot = converted.clone();
        }
        if let Some(missing) = self.missing_file(&frame.definition.class, &input.name, &converted) {
            return missing.map(|reason| errors::custom_failed(&input.name, &reason));
        }
        if let Some((which, limit)) = convert::broken_limit(input, &converted) {
            return Some(errors::out_of_range(input, &converted, which, limit));
        }
        let choices = convert::choices(input)?;
        (!choices.contains(&converted)).then(|| errors::not_in_list(input, &converted, choices))
    }

    /// For the inputs that nodes check themselves: Some(reason) when the file is absent. None: an ordinary input.
    fn missing_file(&self, class: &str, input: &str, value: &Value) -> Option<Option<String>> {
        let what = match (class, input) {
            ("LoadImage" | "LoadImageMask" | "LoadImageOutput", "image") => "image",
            ("LoadAudio", "audio") => "audio",
            ("LoadVideo", "file") => "video",
            _ => return None,
        };
        let name = value.as_str().unwrap_or_default();
        let there = self.rules.files.exists(&annotated_key(name));
        Some((!there).then(|| format!("Invalid {what} file: {name}")))
    }
}
