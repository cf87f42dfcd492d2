//! The inputs of a graph that hold placeholders, parsed once, and how values are put into them.
//! Values land in places that are fixed at parsing: nothing here reads a value as a template or as structure.

use serde_json::{Map, Value};

use crate::Fault;

use super::graph::Graph;
use super::pointer::input_path;
use super::token::{self, Piece, Token};
use super::value::is_link_shaped;

/// The key that ComfyUI unwraps to get at a list which is no link.
pub(super) const VALUE_KEY: &str = "__value__";

/// A value of a template: fixed, or with places to fill.
#[derive(Debug, Clone)]
enum Slot {
    Literal(Value),
    Whole(String),
    Text(Vec<Piece>),
    List(Vec<Slot>),
    Fields(Vec<(String, Slot)>),
}

/// One input of one node that has at least one placeholder.
#[derive(Debug, Clone)]
pub(super) struct DynamicInput {
    pub(super) node: String,
    pub(super) class: String,
    pub(super) input: String,
    /// The placeholders in it, each once, in order.
    pub(super) names: Vec<String>,
    slot: Slot,
}

/// One place where a placeholder stands.
#[derive(Debug, Clone)]
pub(super) struct Use {
    pub(super) name: String,
    pub(super) node: String,
    pub(super) class: String,
    pub(super) input: String,
    /// The string is exactly this token, so that the value keeps its JSON type.
    pub(super) whole: bool,
    /// The token is the whole input, not a part of a nested value.
    pub(super) direct: bool,
    pub(super) default: Option<Value>,
}

/// Every placeholder of a graph.
#[derive(Debug, Clone, Default)]
pub(super) struct Template {
    pub(super) inputs: Vec<DynamicInput>,
    pub(super) uses: Vec<Use>,
}

/// Why a value cannot stand where its placeholder does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Misfit {
    /// The placeholder to blame, where one alone is.
    pub(super) name: Option<String>,
    /// What is wrong, as a sentence without a full stop.
    pub(super) message: String,
}

impl Template {
    /// Finds the placeholders of `graph`; malformed ones become faults.
    pub(super) fn parse(graph: &Graph<'_>, faults: &mut Vec<Fault>) -> Self {
        let mut template = Self::default();
        for node in &graph.nodes {
            for (input, value) in node.inputs {
                // A list directly in an input is a link: no placeholder may stand there.
                if value.is_array() {
                    continue;
                }
                let first = template.uses.len();
                let mut finder = Finder { node: node.id, class: node.class, input, uses: &mut template.uses };
                match finder.slot(value, true) {
                    Err(message) => faults.push(Fault::new(input_path(node.id, input), message)),
                    Ok(slot) => {
                        let names = distinct(template.uses.iter().skip(first).map(|each| each.name.as_str()));
                        if !names.is_empty() {
                            let (node, class) = (node.id.to_owned(), node.class.to_owned());
                            template.inputs.push(DynamicInput { node, class, input: input.clone(), names, slot });
                        }
                    }
                }
            }
        }
        template
    }

    /// The names of all placeholders, each once, in the order of the graph.
    pub(super) fn names(&self) -> Vec<String> {
        distinct(self.uses.iter().map(|each| each.name.as_str()))
    }

    /// The default that the template itself gives to `name`, and where.
    pub(super) fn default_of(&self, name: &str) -> Option<(&Use, &Value)> {
        self.uses.iter().filter(|each| each.name == name).find_map(|each| Some((each, each.default.as_ref()?)))
    }
}

impl DynamicInput {
    /// The input with `values` in place of its placeholders.
    pub(super) fn render(&self, values: &Map<String, Value>) -> Result<Value, Misfit> {
        let rendered = match fill(&self.slot, values)? {
            Value::Array(items) if matches!(self.slot, Slot::Whole(_)) => {
                Value::Object(Map::from_iter([(VALUE_KEY.to_owned(), Value::Array(items))]))
            }
            other => other,
        };
        // ComfyUI puts the list itself in place of its wrapper before it looks for links.
        if rendered.get(VALUE_KEY).is_some_and(is_link_shaped) {
            let name = self.names.first().filter(|_| self.names.len() == 1).cloned();
            let message = "a list of a string and a number would be taken for a link between nodes".to_owned();
            return Err(Misfit { name, message });
        }
        Ok(rendered)
    }
}

fn fill(slot: &Slot, values: &Map<String, Value>) -> Result<Value, Misfit> {
    match slot {
        Slot::Literal(value) => Ok(value.clone()),
        Slot::Whole(name) => look_up(name, values).cloned(),
        Slot::Text(pieces) => {
            let mut text = String::new();
            for piece in pieces {
                match piece {
                    Piece::Text(part) => text.push_str(part),
                    Piece::Token(token) => push_as_text(&mut text, &token.name, look_up(&token.name, values)?)?,
                }
            }
            Ok(Value::String(text))
        }
        Slot::List(items) => items.iter().map(|item| fill(item, values)).collect::<Result<_, _>>().map(Value::Array),
        Slot::Fields(fields) => fields
            .iter()
            .map(|(key, item)| Ok((key.clone(), fill(item, values)?)))
            .collect::<Result<_, _>>()
            .map(Value::Object),
    }
}

fn look_up<'v>(name: &str, values: &'v Map<String, Value>) -> Result<&'v Value, Misfit> {
    values.get(name).ok_or_else(|| Misfit { name: Some(name.to_owned()), message: format!("`{name}` has no value") })
}

fn push_as_text(text: &mut String, name: &str, value: &Value) -> Result<(), Misfit> {
    match value {
        Value::Null => {}
        Value::Bool(truth) => text.push_str(if *truth { "true" } else { "false" }),
        Value::Number(number) => text.push_str(&number.to_string()),
        Value::String(part) => text.push_str(part),
        Value::Array(_) | Value::Object(_) => {
            let message = format!("`{name}` stands inside a text, so it cannot be {}", super::value::kind(value));
            return Err(Misfit { name: Some(name.to_owned()), message });
        }
    }
    Ok(())
}

fn distinct<'n>(names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    names.filter(|name| seen.insert(*name)).map(str::to_owned).collect()
}

/// Walks one input and notes the placeholders that it meets.
struct Finder<'t> {
    node: &'t str,
    class: &'t str,
    input: &'t str,
    uses: &'t mut Vec<Use>,
}

impl Finder<'_> {
    fn slot(&mut self, value: &Value, direct: bool) -> Result<Slot, String> {
        Ok(match value {
            Value::String(text) => self.string(text, direct)?,
            Value::Array(items) => {
                Slot::List(items.iter().map(|item| self.slot(item, false)).collect::<Result<_, _>>()?)
            }
            Value::Object(fields) => Slot::Fields(
                fields
                    .iter()
                    .map(|(key, item)| Ok((key.clone(), self.slot(item, false)?)))
                    .collect::<Result<_, String>>()?,
            ),
            other => Slot::Literal(other.clone()),
        })
    }

    fn string(&mut self, text: &str, direct: bool) -> Result<Slot, String> {
        let pieces = token::parse(text)?;
        if let [Piece::Token(token)] = pieces.as_slice() {
            self.note(token, true, direct);
            return Ok(Slot::Whole(token.name.clone()));
        }
        let mut found = false;
        for piece in &pieces {
            if let Piece::Token(token) = piece {
                self.note(token, false, direct);
                found = true;
            }
        }
        Ok(if found { Slot::Text(pieces) } else { Slot::Literal(Value::String(text.to_owned())) })
    }

    fn note(&mut self, token: &Token, whole: bool, direct: bool) {
        self.uses.push(Use {
            name: token.name.clone(),
            node: self.node.to_owned(),
            class: self.class.to_owned(),
            input: self.input.to_owned(),
            whole,
            direct,
            default: token.default.clone(),
        });
    }
}
