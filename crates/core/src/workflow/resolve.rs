//! From what a caller sent to the values of a run: unknown and missing names, defaults, the seed, the schema,
//! and the rules about files. Collects every fault; draws no randomness itself.

use std::collections::HashMap;

use serde_json::{Map, Number, Value};

use crate::Fault;

use super::files;
use super::guard;
use super::pointer::pointer;
use super::schema::{InputSchema, Property, Violation, is_draw_request};
use super::template::Template;
use super::value::{self, Integral, MAX_DEPTH, shorten};
use super::words;

/// Beyond so many faults each is named in few words.
const MANY_FAULTS: usize = 50;

/// How long a string may be, in bytes.
const MAX_STRING: usize = 64 * 1024;
/// The largest seed that is drawn where the schema sets no limit: what a double holds exactly.
const MAX_DRAWN: u64 = (1 << 53) - 1;

/// The values of a caller on their way to be complete.
pub(super) struct Resolution<'w> {
    pub(super) schema: &'w InputSchema,
    pub(super) template: &'w Template,
    pub(super) values: Map<String, Value>,
    /// Which part of the body each value came from; a value without one is a default.
    pub(super) origins: HashMap<String, &'static str>,
    pub(super) faults: Vec<Fault>,
    /// Names that have a fault already and need no second one.
    spoiled: Vec<String>,
}

impl<'w> Resolution<'w> {
    /// Nothing yet.
    pub(super) fn new(schema: &'w InputSchema, template: &'w Template) -> Self {
        let (values, origins) = (Map::new(), HashMap::new());
        Self { schema, template, values, origins, faults: Vec::new(), spoiled: Vec::new() }
    }

    /// Takes the two parts of the body, which are one namespace.
    pub(super) fn accept(&mut self, inputs: &Map<String, Value>, params: &Map<String, Value>) {
        for (part, own, other) in [("inputs", inputs, params), ("params", params, inputs)] {
            for (name, value) in own {
                let path = pointer(&[part, name]);
                let Some(property) = self.schema.property(name) else {
                    self.faults.push(Fault::new(path, self.unknown(part, name)));
                    continue;
                };
                if other.contains_key(name) {
                    let message = format!("`{name}` is given in both inputs and params; give it once");
                    self.spoil(name, path, message);
                } else if let Some(message) = unfit(property, value) {
                    self.spoil(name, path, message);
                } else {
                    self.values.insert(name.clone(), value.clone());
                    self.origins.insert(name.clone(), part);
                }
            }
        }
    }

    /// Fills what is missing with defaults and draws seeds.
    pub(super) fn fill(&mut self, draw_seed: &mut dyn FnMut() -> u64) {
        let mut filled = Map::new();
        for property in &self.schema.properties {
            let name = &property.name;
            let given = self.values.remove(name);
            if self.spoiled.contains(name) {
                continue;
            }
            let default = || property.default.clone().or_else(|| Some(self.template.default_of(name)?.1.clone()));
            let value = match given.or_else(default) {
                Some(value) if property.seed && is_draw_request(&value) => Some(drawn(property, draw_seed())),
                None if property.seed => Some(drawn(property, draw_seed())),
                None if !property.required && property.types.declares("null") => Some(Value::Null),
                other => other,
            };
            match value {
                Some(value) => {
                    filled.insert(name.clone(), value);
                }
                None => {
                    let message = format!("`{name}` is missing");
                    self.spoil(name, pointer(&["inputs", name]), message);
                }
            }
        }
        self.values = filled;
    }

    /// Holds the values against the schema, the rules about files and their places in the template.
    pub(super) fn check(&mut self) {
        self.make_integers_exact();
        self.check_files();
        self.check_schema();
        guard::check(self);
    }

    /// The path of the value of `name` in the body.
    pub(super) fn path(&self, name: &str) -> String {
        pointer(&[self.origins.get(name).copied().unwrap_or("inputs"), name])
    }

    /// Whether `name` has a fault already.
    pub(super) fn is_spoiled(&self, name: &str) -> bool {
        self.spoiled.iter().any(|each| each == name)
    }

    /// Notes a fault of `name`.
    pub(super) fn spoil(&mut self, name: &str, path: String, message: String) {
        self.faults.push(Fault::new(path, message));
        self.spoiled.push(name.to_owned());
    }

    fn unknown(&self, part: &str, name: &str) -> String {
        let kind = if part == "params" { "param" } else { "input" };
        // What helps with a slip of the pen is work that thousands of names would multiply.
        if self.faults.len() >= MANY_FAULTS {
            return format!("unknown {kind}");
        }
        let known: Vec<&str> = self.schema.properties.iter().map(|property| property.name.as_str()).collect();
        let takes = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let hint = words::closest(name, known.into_iter()).map(|meant| format!("; did you mean `{meant}`?"));
        let name = shorten(name, 64);
        format!("unknown {kind} `{name}`; this workflow takes: {takes}{}", hint.unwrap_or_default())
    }

    /// `30.0` is the integer 30 to JSON Schema, and must be one to ComfyUI.
    fn make_integers_exact(&mut self) {
        for property in &self.schema.properties {
            if !(property.types.declares("integer") && !property.types.declares("number") || property.seed) {
                continue;
            }
            let Some(Value::Number(number)) = self.values.get(&property.name) else { continue };
            match value::integral(number) {
                Integral::No => {}
                Integral::Yes(integer) => {
                    self.values.insert(property.name.clone(), Value::Number(integer));
                }
                Integral::TooLarge => {
                    let message = format!("must be an integer between {} and {}", i64::MIN, u64::MAX);
                    self.spoil(&property.name, self.path(&property.name), message);
                }
            }
        }
    }

    fn check_files(&mut self) {
        for property in self.schema.properties.iter().filter(|property| property.file.is_some()) {
            let name = &property.name;
            let Some(value) = self.values.get(name).filter(|_| self.origins.contains_key(name)) else { continue };
            if value.is_null() && property.types.declares("null") {
                continue;
            }
            for (below, message) in files::shape_faults(value) {
                self.spoil(name, self.path(name) + &below, message);
            }
        }
    }

    fn check_schema(&mut self) {
        // A caller's file is an object whatever type the schema gives to its property.
        let is_file = |name: &String| {
            self.origins.contains_key(name) && self.schema.property(name).is_some_and(|each| each.file.is_some())
        };
        let checked: Map<String, Value> = self
            .values
            .iter()
            .filter(|(name, _)| !is_file(name) && !self.is_spoiled(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        for Violation { path, message, missing } in self.schema.violations(&checked) {
            let first = path.split('/').nth(1).map(|segment| segment.replace("~1", "/").replace("~0", "~"));
            match first.filter(|name| checked.contains_key(name)) {
                Some(name) => {
                    let below = path.strip_prefix(&pointer(&[&name])).unwrap_or_default().to_owned();
                    self.spoil(&name, self.path(&name) + &below, message);
                }
                // Missing names are reported one by one; files and faulty values were left out on purpose.
                None if missing => {}
                None => self.faults.push(Fault::new("/inputs", message)),
            }
        }
    }
}

/// What makes `value` unfit for any place, whatever the schema says.
fn unfit(property: &Property, value: &Value) -> Option<String> {
    if value::deeper_than(value, MAX_DEPTH) {
        return Some(format!("is nested deeper than {MAX_DEPTH} levels"));
    }
    if value::has_nul(value) {
        return Some("must not contain a NUL character".to_owned());
    }
    let too_long = |value: &Value| value::any_text(value, &|text| text.len() > MAX_STRING);
    let long = match value.as_object().filter(|_| property.file.is_some()) {
        Some(file) => file.iter().any(|(key, part)| !files::holds_bytes(key) && too_long(part)),
        None => too_long(value),
    };
    long.then(|| format!("must have at most {MAX_STRING} bytes"))
}

/// The seed for `draw`, inside of the limits of the schema.
fn drawn(property: &Property, draw: u64) -> Value {
    let bound = |key: &str| property.schema.get(key).and_then(Value::as_number);
    let lows = [bound("minimum").map(ceil), bound("exclusiveMinimum").map(|number| floor(number) + 1)];
    let highs = [bound("maximum").map(floor), bound("exclusiveMaximum").map(|number| ceil(number) - 1)];
    let fit = |limit: i128| u64::try_from(limit.max(0)).unwrap_or(u64::MAX);
    let low = fit(lows.into_iter().flatten().max().unwrap_or(0));
    let open = if low > MAX_DRAWN { u64::MAX } else { MAX_DRAWN };
    let high = highs.into_iter().flatten().min().map_or(open, fit).max(low);
    match (high - low).checked_add(1) {
        Some(span) => Value::from(low + draw % span),
        None => Value::from(draw),
    }
}

fn ceil(number: &Number) -> i128 {
    whole(number).unwrap_or_else(|| number.as_f64().map_or(0, |float| float.ceil() as i128))
}

fn floor(number: &Number) -> i128 {
    whole(number).unwrap_or_else(|| number.as_f64().map_or(0, |float| float.floor() as i128))
}

fn whole(number: &Number) -> Option<i128> {
    number.as_u64().map(i128::from).or_else(|| number.as_i64().map(i128::from))
}
