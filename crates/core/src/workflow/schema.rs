//! The input schema of a workflow: whether it is a sound JSON Schema, and what each property means to the gateway.
//! Says nothing about placeholders; comparing the two is `compile`'s.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, Validator};
use serde_json::{Map, Value};

use crate::Fault;

use super::files::FileKind;
use super::pointer::pointer;
use super::schema_refs;
use super::value::{has_nul, shorten};
use super::violation;

/// A checked schema with its compiled validator.
#[derive(Debug)]
pub(super) struct InputSchema {
    pub(super) value: Value,
    pub(super) properties: Vec<Property>,
    validator: Validator,
}

/// One thing that the schema has against the values.
#[derive(Debug)]
pub(super) struct Violation {
    /// JSON pointer into the values.
    pub(super) path: String,
    pub(super) message: String,
    /// A required field is not there.
    pub(super) missing: bool,
}

/// One property of the schema.
#[derive(Debug)]
pub(super) struct Property {
    pub(super) name: String,
    pub(super) types: Types,
    pub(super) required: bool,
    pub(super) default: Option<Value>,
    /// A missing value is drawn at random.
    pub(super) seed: bool,
    pub(super) file: Option<FileKind>,
    /// The property's own schema, references followed.
    pub(super) schema: Value,
}

/// The JSON types that a property declares; none where it declares none.
#[derive(Debug, Clone, Default)]
pub(super) struct Types(Vec<String>);

impl Types {
    fn of(schema: &Value) -> Self {
        let names = match schema.get("type") {
            Some(Value::String(name)) => vec![name.clone()],
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        Self(names)
    }

    /// Whether the type `name` is declared.
    pub(super) fn declares(&self, name: &str) -> bool {
        self.0.iter().any(|each| each == name)
    }

    /// Whether every declared type is among `names`, and there is one.
    pub(super) fn only(&self, names: &[&str]) -> bool {
        !self.0.is_empty() && self.0.iter().all(|each| names.contains(&each.as_str()))
    }

    /// Whether no type is declared.
    pub(super) fn is_open(&self) -> bool {
        self.0.is_empty()
    }
}

impl InputSchema {
    /// Checks and compiles `value`; `None` where it cannot be used at all. Every fault is noted.
    pub(super) fn compile(value: &Value, faults: &mut Vec<Fault>) -> Option<Self> {
        let before = faults.len();
        let fields = check_shape(value, faults)?;
        let draft = draft_of(fields, faults)?;
        schema_refs::check(value, faults);
        for error in meta_errors(draft, value) {
            let path = format!("/inputSchema{}", error.instance_path().as_str());
            faults.push(Fault::new(
                path,
                format!("is no valid JSON Schema: {}", violation::message(&error, &Value::Null)),
            ));
        }
        if faults.len() > before {
            return None;
        }
        let validator = match jsonschema::options().with_draft(draft).offline().build(value) {
            Ok(validator) => validator,
            Err(error) => {
                let path = format!("/inputSchema{}", error.schema_path().as_str());
                let detail = shorten(&error.to_string(), 200);
                faults.push(Fault::new(path, format!("is no valid JSON Schema: {detail}")));
                return None;
            }
        };
        let schema = Self { value: value.clone(), properties: read_properties(value, fields), validator };
        schema.check_defaults(faults);
        Some(schema)
    }

    /// The property `name`.
    pub(super) fn property(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|property| property.name == name)
    }

    /// What the schema has against `values`.
    pub(super) fn violations(&self, values: &Map<String, Value>) -> Vec<Violation> {
        let instance = Value::Object(values.clone());
        self.validator
            .iter_errors(&instance)
            .map(|error| Violation {
                path: error.instance_path().as_str().to_owned(),
                message: violation::message(&error, &self.value),
                missing: matches!(error.kind(), ValidationErrorKind::Required { .. }),
            })
            .collect()
    }

    /// What the schema has against `value` as the value of `property` alone.
    pub(super) fn value_violations(&self, property: &Property, value: &Value) -> Vec<String> {
        // A seed of -1 or null means "draw one" whatever the schema says.
        if property.seed && is_draw_request(value) {
            return Vec::new();
        }
        let values = Map::from_iter([(property.name.clone(), value.clone())]);
        let own = pointer(&[&property.name]);
        let is_own = |path: &str| path.strip_prefix(&own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let found = self.violations(&values).into_iter();
        found.filter(|each| is_own(&each.path)).map(|each| each.message).collect()
    }

    fn check_defaults(&self, faults: &mut Vec<Fault>) {
        for property in &self.properties {
            let Some(default) = &property.default else { continue };
            let path = pointer(&["inputSchema", "properties", &property.name, "default"]);
            for message in self.value_violations(property, default) {
                faults.push(Fault::new(path.clone(), format!("breaks the property's own rule: {message}")));
            }
        }
    }
}

/// Whether `value` asks for a random seed.
pub(super) fn is_draw_request(value: &Value) -> bool {
    value.is_null() || value.as_f64() == Some(-1.0)
}

/// Whether a placeholder of this name is a seed.
pub(super) fn is_seed_name(name: &str) -> bool {
    name == "seed" || name.ends_with("_seed")
}

fn check_shape<'s>(value: &'s Value, faults: &mut Vec<Fault>) -> Option<&'s Map<String, Value>> {
    let Some(fields) = value.as_object() else {
        faults.push(Fault::new("/inputSchema", "must be a JSON Schema object"));
        return None;
    };
    if fields.get("type").and_then(Value::as_str) != Some("object") {
        faults.push(Fault::new("/inputSchema/type", "must be \"object\": inputs are an object"));
    }
    if has_nul(value) {
        faults.push(Fault::new("/inputSchema", "has a NUL character in a string"));
    }
    let names = fields.get("required").and_then(Value::as_array).into_iter().flatten();
    let properties = fields.get("properties").and_then(Value::as_object);
    for name in names.filter_map(Value::as_str) {
        if !properties.is_some_and(|properties| properties.contains_key(name)) {
            let message = format!("names `{}`, which is no property", shorten(name, 64));
            faults.push(Fault::new("/inputSchema/required", message));
        }
    }
    Some(fields)
}

fn draft_of(fields: &Map<String, Value>, faults: &mut Vec<Fault>) -> Option<Draft> {
    let draft = match fields.get("$schema") {
        None => Some(Draft::Draft202012),
        Some(uri) => match uri.as_str().unwrap_or_default().trim_end_matches('#').rsplit("json-schema.org/").next() {
            Some("draft/2020-12/schema") => Some(Draft::Draft202012),
            Some("draft/2019-09/schema") => Some(Draft::Draft201909),
            Some("draft-07/schema") => Some(Draft::Draft7),
            Some("draft-06/schema") => Some(Draft::Draft6),
            _ => None,
        },
    };
    if draft.is_none() {
        let message = "must be draft 2020-12, 2019-09, 07 or 06 of JSON Schema";
        faults.push(Fault::new("/inputSchema/$schema", message));
    }
    draft
}

fn meta_errors(draft: Draft, value: &Value) -> Vec<jsonschema::ValidationError<'static>> {
    let validator = match draft {
        Draft::Draft6 => jsonschema::draft6::meta::validator(),
        Draft::Draft7 => jsonschema::draft7::meta::validator(),
        Draft::Draft201909 => jsonschema::draft201909::meta::validator(),
        _ => jsonschema::draft202012::meta::validator(),
    };
    validator.iter_errors(value).map(jsonschema::ValidationError::to_owned).collect()
}

fn read_properties(root: &Value, fields: &Map<String, Value>) -> Vec<Property> {
    let required: Vec<&str> =
        fields.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = fields.get("properties").and_then(Value::as_object).into_iter().flatten();
    properties.map(|(name, own)| read_property(root, name, own, required.contains(&name.as_str()))).collect()
}

fn read_property(root: &Value, name: &str, own: &Value, required: bool) -> Property {
    let schema = schema_refs::follow(root, own);
    // What stands beside a reference counts before what the reference leads to.
    let field = |key: &str| own.get(key).or_else(|| schema.get(key));
    let types = Types::of(schema);
    let numeric = types.is_open() || types.declares("integer") || types.declares("number");
    let marked = field("x-random").and_then(Value::as_bool);
    Property {
        name: name.to_owned(),
        required,
        default: field("default").cloned(),
        seed: numeric && marked.unwrap_or_else(|| is_seed_name(name)),
        file: field("format").and_then(Value::as_str).and_then(FileKind::from_format),
        schema: schema.clone(),
        types,
    }
}
