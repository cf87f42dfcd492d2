//! A rendered graph against the classes of a server: what ComfyUI's own validation would refuse, and why.
//! Reports only; it repairs nothing and converts nothing.

use serde_json::{Map, Value};

use crate::Fault;

use super::catalog::{Choices, InputKind, InputSpec, NodeCatalog, Range};
use super::pointer::{input_path, node_path, pointer};
use super::template::VALUE_KEY;
use super::value::{self, as_link, class_of, inputs_of, shorten};
use super::words;

/// Types of core nodes that only ever come over a link.
const LINK_ONLY: [&str; 18] = [
    "MODEL",
    "CLIP",
    "VAE",
    "CONDITIONING",
    "LATENT",
    "IMAGE",
    "MASK",
    "CONTROL_NET",
    "UPSCALE_MODEL",
    "CLIP_VISION",
    "CLIP_VISION_OUTPUT",
    "STYLE_MODEL",
    "SAMPLER",
    "SIGMAS",
    "NOISE",
    "GUIDER",
    "AUDIO",
    "VIDEO",
];

impl NodeCatalog {
    /// Everything in the rendered `graph` that this server would refuse: unknown classes, missing inputs, values of
    /// the wrong type or out of range, values that are no choice (except of the inputs named in `ignore_choices_of`),
    /// links to outputs that do not exist or have another type. Paths are `/workflow/NODE/inputs/INPUT`.
    pub fn check_graph(&self, graph: &Map<String, Value>, ignore_choices_of: &[&str]) -> Vec<Fault> {
        let check = Check { catalog: self, graph, ignore_choices_of };
        let mut faults = Vec::new();
        for (id, node) in graph {
            check.node(id, node, &mut faults);
        }
        faults
    }
}

struct Check<'c> {
    catalog: &'c NodeCatalog,
    graph: &'c Map<String, Value>,
    ignore_choices_of: &'c [&'c str],
}

impl Check<'_> {
    fn node(&self, id: &str, node: &Value, faults: &mut Vec<Fault>) {
        let (Some(class_name), Some(inputs)) = (class_of(node), inputs_of(node)) else {
            faults.push(Fault::new(node_path(id), "must be an object with `class_type` and `inputs`"));
            return;
        };
        let Some(class) = self.catalog.class(class_name) else {
            let message = format!("this ComfyUI has no node class `{}`", shorten(class_name, 100));
            faults.push(Fault::new(pointer(&["workflow", id, "class_type"]), message));
            return;
        };
        for spec in &class.inputs {
            let fault = match inputs.get(&spec.name) {
                None if spec.required => Some(format!("is missing; {class_name} needs it")),
                None => None,
                Some(value) => self.input(spec, value),
            };
            faults.extend(fault.map(|message| Fault::new(input_path(id, &spec.name), message)));
        }
    }

    fn input(&self, spec: &InputSpec, value: &Value) -> Option<String> {
        if value.is_array() {
            return self.link(spec, value);
        }
        let value = value.get(VALUE_KEY).unwrap_or(value);
        match &spec.kind {
            InputKind::Int(range) => int_fault(range, value),
            InputKind::Float(range) => float_fault(range, value),
            InputKind::Text => match value {
                Value::String(_) | Value::Number(_) | Value::Bool(_) => None,
                _ => Some("must be a string".to_owned()),
            },
            InputKind::Boolean => match value {
                Value::Bool(_) | Value::Number(_) => None,
                _ => Some("must be true or false".to_owned()),
            },
            InputKind::Choice(choices) => self.choice(spec, choices, value),
            InputKind::Other(kind) if LINK_ONLY.contains(&kind.as_str()) => {
                Some(format!("must be a link to a {kind} output"))
            }
            InputKind::Other(_) => None,
        }
    }

    fn choice(&self, spec: &InputSpec, choices: &Choices, value: &Value) -> Option<String> {
        // Nodes that take uploads accept any file that exists, whatever their list said when it was made.
        let options = choices.options.as_ref().filter(|_| spec.upload.is_none())?;
        if self.ignore_choices_of.contains(&spec.name.as_str()) {
            return None;
        }
        let fits = match value.as_array().filter(|_| choices.multiple) {
            Some(several) => several.iter().all(|each| options.contains(each)),
            None => options.iter().any(|option| same_choice(option, value)),
        };
        if fits {
            None
        } else if options.is_empty() {
            Some("is not installed: this ComfyUI has no choices for it".to_owned())
        } else {
            Some(words::one_of(options))
        }
    }

    fn link(&self, spec: &InputSpec, link: &Value) -> Option<String> {
        let Some((source, slot)) = as_link(link) else {
            return Some("must be a link [\"node id\", output index from 0]".to_owned());
        };
        let Some(node) = self.graph.get(source) else {
            return Some(format!("links to node `{}`, which does not exist", shorten(source, 64)));
        };
        // A source of an unknown class has its own fault.
        let class_name = class_of(node)?;
        let class = self.catalog.class(class_name)?;
        let Some(given) = usize::try_from(slot).ok().and_then(|slot| class.outputs.get(slot)) else {
            let count = class.outputs.len();
            return Some(format!("links to output {slot} of node {source} ({class_name}), which has {count}"));
        };
        let wanted = spec.kind.link_type();
        (!types_match(given, wanted)).then(|| {
            format!("needs {wanted}, but output {slot} of node {source} ({class_name}) is {}", shorten(given, 60))
        })
    }
}

fn int_fault(range: &Range, value: &Value) -> Option<String> {
    let number = match value {
        Value::Number(number) => match value::integral(number) {
            value::Integral::Yes(integer) => integer,
            value::Integral::No if !number.is_f64() => number.clone(),
            _ => return Some("must be an integer".to_owned()),
        },
        // ComfyUI converts text with Python's int().
        Value::String(text) => match text.trim().parse::<i64>() {
            Ok(integer) => integer.into(),
            Err(_) => return Some("must be an integer".to_owned()),
        },
        _ => return Some("must be an integer".to_owned()),
    };
    range_fault(range, &number)
}

fn float_fault(range: &Range, value: &Value) -> Option<String> {
    let number = match value {
        Value::Number(number) => Some(number.clone()),
        Value::String(text) => text.trim().parse().ok().and_then(serde_json::Number::from_f64),
        _ => None,
    };
    match number {
        Some(number) => range_fault(range, &number),
        None => Some("must be a number".to_owned()),
    }
}

fn range_fault(range: &Range, number: &serde_json::Number) -> Option<String> {
    let low = range.min.as_ref().is_some_and(|min| value::compare(number, min).is_lt());
    let high = range.max.as_ref().is_some_and(|max| value::compare(number, max).is_gt());
    (low || high).then(|| words::between(range.min.as_ref(), range.max.as_ref()))
}

fn same_choice(option: &Value, value: &Value) -> bool {
    match (option, value) {
        (Value::Number(option), Value::Number(value)) => value::compare(option, value).is_eq(),
        _ => option == value,
    }
}

fn types_match(given: &str, wanted: &str) -> bool {
    let parts = |types: &str| types.split(',').map(|each| each.trim().to_owned()).collect::<Vec<_>>();
    let (given, wanted) = (parts(given), parts(wanted));
    given.iter().any(|each| each == "*" || wanted.iter().any(|want| want == "*" || want == each))
}
