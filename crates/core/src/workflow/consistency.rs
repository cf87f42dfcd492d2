//! The template and its schema against each other, and fixed values against the rules about files.
//! Sees a graph whose shape was checked before.

use serde_json::Value;

use crate::Fault;

use super::catalog::NodeCatalog;
use super::core_classes;
use super::graph::Graph;
use super::pointer::{input_path, pointer};
use super::policy;
use super::schema::{InputSchema, Property};
use super::template::{Template, Use};
use super::value::has_nul;

/// Notes every fault; without a `schema` those that need one are left out.
pub(super) fn check(
    graph: &Graph<'_>,
    template: &Template,
    schema: Option<&InputSchema>,
    catalog: Option<&NodeCatalog>,
    faults: &mut Vec<Fault>,
) {
    check_files(graph, faults);
    check_template_defaults(template, faults);
    let Some(schema) = schema else { return };
    for property in &schema.properties {
        if !template.uses.iter().any(|each| each.name == property.name) {
            let path = pointer(&["inputSchema", "properties", &property.name]);
            faults.push(Fault::new(path, format!("no placeholder in the workflow uses `{}`", property.name)));
        }
    }
    for place in &template.uses {
        let fault = match schema.property(&place.name) {
            None => Some(format!("the placeholder `{}` is not in the inputSchema", place.name)),
            Some(property) => place_fault(place, property, catalog),
        };
        faults.extend(fault.map(|message| Fault::new(input_path(&place.node, &place.input), message)));
    }
    for name in template.names() {
        let Some(property) = schema.property(&name).filter(|property| property.default.is_none()) else { continue };
        let Some((place, default)) = template.default_of(&name) else { continue };
        for message in schema.value_violations(property, default) {
            let message = format!("the default of `{name}` breaks the inputSchema: {message}");
            faults.push(Fault::new(input_path(&place.node, &place.input), message));
        }
    }
}

/// Literal prefixes and names of files, and the literal parts of those with placeholders.
fn check_files(graph: &Graph<'_>, faults: &mut Vec<Fault>) {
    for node in &graph.nodes {
        for (input, value) in node.inputs {
            let Some(text) = value.as_str() else { continue };
            let loads = policy::loaded_file(node.class, input).is_some();
            let fault = match () {
                () if policy::is_prefix_input(input) || loads => policy::path_fault(text),
                () => None,
            };
            if let Some(message) = fault.or_else(|| policy::marker_fault(node.class, text).filter(|_| loads)) {
                faults.push(Fault::new(input_path(node.id, input), message));
            }
        }
    }
}

fn check_template_defaults(template: &Template, faults: &mut Vec<Fault>) {
    for place in &template.uses {
        let Some(default) = &place.default else { continue };
        let path = || input_path(&place.node, &place.input);
        if has_nul(default) {
            faults.push(Fault::new(path(), format!("the default of `{}` has a NUL character", place.name)));
        }
        if template.default_of(&place.name).is_some_and(|(_, first)| first != default) {
            let message = format!("`{}` has another default elsewhere in the workflow", place.name);
            faults.push(Fault::new(path(), message));
        }
    }
}

fn place_fault(place: &Use, property: &Property, catalog: Option<&NodeCatalog>) -> Option<String> {
    let name = &place.name;
    if policy::is_prefix_input(&place.input) && !is_bounded(property) {
        return Some(format!(
            "`{name}` decides where files are written: bound it in the inputSchema by `pattern` or `enum`"
        ));
    }
    if !place.whole && property.file.is_none() && property.types.only(&["array", "object"]) {
        return Some(format!("`{name}` stands inside a text, so it cannot be an array or an object"));
    }
    let core = catalog
        .and_then(|catalog| catalog.is_core(&place.class))
        .unwrap_or_else(|| core_classes::is_core(&place.class));
    if core && place.whole && property.file.is_none() && property.types.declares("object") {
        return Some(format!("`{name}` may be an object, which no input of {} takes", place.class));
    }
    None
}

/// Whether the schema leaves no free text to the caller.
fn is_bounded(property: &Property) -> bool {
    let has = |key: &str| property.schema.get(key).is_some();
    let no_text = property.types.only(&["integer", "number", "boolean"]);
    no_text || has("enum") || has("const") || property.schema.get("pattern").is_some_and(Value::is_string)
}
