//! How large the pictures, latents and masks are that each node of a rendered graph makes, as far as fixed values tell.
//! Sizes are in pixels and counted in floats, which saturate rather than overflow. Knows no limits.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::template::VALUE_KEY;
use super::value::{as_link, class_of, inputs_of};

/// Multipliers of a picture's sides, by the names that node authors give them.
const SCALES: [&str; 8] =
    ["scale_by", "upscale_by", "scale", "factor", "scale_factor", "upscale_factor", "rescale_factor", "resize_factor"];
/// Beginnings of the names of inputs that carry no picture, whatever size stands on the node that feeds them.
const NO_PICTURE: [&str; 12] = [
    "model",
    "clip",
    "vae",
    "positive",
    "negative",
    "cond",
    "control_net",
    "style_model",
    "upscale_model",
    "sigmas",
    "guider",
    "sampler",
];
const MEGAPIXEL: f64 = 1024.0 * 1024.0;
const MAX_HOPS: usize = 16;

/// The input that decides on a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cause<'g> {
    pub(super) node: &'g str,
    pub(super) input: &'g str,
}

/// What a node makes; a cause stands where the node itself decides rather than passing on.
#[derive(Debug, Clone)]
pub(super) struct Made<'g> {
    pub(super) node: &'g str,
    pub(super) class: &'g str,
    pub(super) width: Option<f64>,
    pub(super) height: Option<f64>,
    pub(super) batch: Option<f64>,
    pub(super) width_by: Option<Cause<'g>>,
    pub(super) height_by: Option<Cause<'g>>,
    pub(super) batch_by: Option<Cause<'g>>,
}

/// What every node makes, sources before the nodes that they feed.
pub(super) fn sizes(graph: &Map<String, Value>) -> Vec<Made<'_>> {
    let mut flow = Flow { graph, consumers: consumers(graph), made: HashMap::new() };
    let order = in_order(graph);
    for id in &order {
        if let Some(made) = flow.node(id) {
            flow.made.insert(made.node, made);
        }
    }
    order.iter().filter_map(|id| flow.made.remove(id)).collect()
}

/// The names of the inputs that each node feeds.
fn consumers(graph: &Map<String, Value>) -> HashMap<&str, Vec<&str>> {
    let mut consumers: HashMap<&str, Vec<&str>> = HashMap::new();
    for (input, value) in graph.values().filter_map(inputs_of).flatten() {
        if let Some((source, _)) = as_link(value) {
            consumers.entry(source).or_default().push(input);
        }
    }
    consumers
}

/// The ids in an order in which sources come first; nodes on a cycle come last, in the order of the graph.
fn in_order(graph: &Map<String, Value>) -> Vec<&str> {
    let mut waiting: HashMap<&str, usize> = HashMap::new();
    let mut feeds: HashMap<&str, Vec<&str>> = HashMap::new();
    for (id, node) in graph {
        let sources = inputs_of(node).into_iter().flat_map(Map::values).filter_map(as_link);
        let mut count = 0;
        for (source, _) in sources.filter(|(source, _)| graph.contains_key(*source)) {
            feeds.entry(source).or_default().push(id);
            count += 1;
        }
        waiting.insert(id, count);
    }
    let mut order: Vec<&str> = graph.keys().map(String::as_str).filter(|id| waiting.get(id) == Some(&0)).collect();
    let mut at = 0;
    while let Some(id) = order.get(at).copied() {
        for fed in feeds.get(id).into_iter().flatten() {
            if let Some(count) = waiting.get_mut(fed) {
                *count -= 1;
                if *count == 0 {
                    order.push(fed);
                }
            }
        }
        at += 1;
    }
    order.extend(graph.keys().map(String::as_str).filter(|id| waiting.get(id).is_some_and(|count| *count > 0)));
    order
}

struct Flow<'g> {
    graph: &'g Map<String, Value>,
    consumers: HashMap<&'g str, Vec<&'g str>>,
    made: HashMap<&'g str, Made<'g>>,
}

/// A number on a node, and the input where it is written.
type Given<'g> = (f64, Cause<'g>);

impl<'g> Flow<'g> {
    fn node(&self, id: &'g str) -> Option<Made<'g>> {
        let (id, node) = self.graph.get_key_value(id)?;
        let (class, inputs) = (class_of(node)?, inputs_of(node)?);
        let at = Place { flow: self, id, class, inputs };
        let feeds = self.consumers.get(id.as_str());
        if feeds.is_some_and(|feeds| feeds.iter().all(|input| !carries_picture(input))) {
            return Some(at.nothing());
        }
        Some(match class {
            "ImageBatch" | "LatentBatch" => at.joined(),
            "LatentFromBatch" | "ImageFromBatch" => at.taken(),
            "ImageCrop" => at.cropped(),
            "ImageUpscaleWithModel" => at.upscaled(),
            "ImageStitch" => at.stitched(),
            _ => at.general(),
        })
    }

    /// The number in an input, also through nodes that only hold a number.
    fn number(&self, node: &'g str, input: &'g str) -> Option<Given<'g>> {
        let (mut node, mut input) = (node, input);
        for _ in 0..MAX_HOPS {
            let (key, value) = inputs_of(self.graph.get(node)?)?.get_key_value(input)?;
            if let Some((source, _)) = as_link(value) {
                let inputs = inputs_of(self.graph.get(source)?)?;
                input = ["value", "int", "float", "number", "Number"]
                    .into_iter()
                    .find(|name| inputs.contains_key(*name))?;
                node = source;
                continue;
            }
            let number = match value.get(VALUE_KEY).unwrap_or(value) {
                Value::Number(number) => number.as_f64(),
                Value::String(text) => text.trim().parse().ok(),
                _ => None,
            };
            return number.filter(|number| number.is_finite()).map(|number| (number, Cause { node, input: key }));
        }
        None
    }
}

/// One node, with what feeds it within reach.
struct Place<'f, 'g> {
    flow: &'f Flow<'g>,
    id: &'g str,
    class: &'g str,
    inputs: &'g Map<String, Value>,
}

impl<'g> Place<'_, 'g> {
    fn nothing(&self) -> Made<'g> {
        let (node, class) = (self.id, self.class);
        Made { node, class, width: None, height: None, batch: None, width_by: None, height_by: None, batch_by: None }
    }

    /// A positive number in the input `name` of this node.
    fn given(&self, name: &'static str) -> Option<Given<'g>> {
        self.flow.number(self.id, name).filter(|(number, _)| *number > 0.0)
    }

    /// What comes in over the link in `name`.
    fn fed_by(&self, name: &str) -> Option<&Made<'g>> {
        self.inputs.get(name).and_then(as_link).and_then(|(source, _)| self.flow.made.get(source))
    }

    /// What passes through: the largest of what comes in, or the canvas where there is one.
    fn passed(&self) -> Made<'g> {
        let mut passed = self.nothing();
        let canvas = self.inputs.contains_key("destination");
        for (input, _) in self.inputs.iter().filter(|(input, _)| carries_picture(input)) {
            let Some(fed) = self.fed_by(input) else { continue };
            if !canvas || input == "destination" {
                passed.width = largest(passed.width, fed.width);
                passed.height = largest(passed.height, fed.height);
            }
            passed.batch = largest(passed.batch, fed.batch);
        }
        passed
    }

    fn general(&self) -> Made<'g> {
        let mut made = self.passed();
        if let Some((scale, cause)) = SCALES.into_iter().find_map(|name| self.given(name)) {
            made.scale(scale, cause);
        }
        if let Some((megapixels, cause)) = self.given("megapixels") {
            let area = megapixels * MEGAPIXEL;
            let (width, height) = (made.width.unwrap_or(1.0), made.height.unwrap_or(1.0));
            let scale = (area / (width * height)).sqrt();
            (made.width, made.height) = (Some(width), Some(height));
            made.scale(scale, cause);
        }
        if let Some((side, cause)) = self.given("largest_size") {
            let (width, height) = (made.width.unwrap_or(side), made.height.unwrap_or(side));
            (made.width, made.height) = (Some(width), Some(height));
            made.scale(side / width.max(height), cause);
        }
        self.pad(&mut made);
        self.set_sides(&mut made);
        if let Some((batch, cause)) = self.given("batch_size") {
            (made.batch, made.batch_by) = (Some(batch), Some(cause));
        }
        if let Some((amount, cause)) = self.given("amount").filter(|_| self.class.contains("Repeat")) {
            (made.batch, made.batch_by) = (Some(made.batch.unwrap_or(1.0) * amount), Some(cause));
        }
        made
    }

    /// A width or height on the node; with only one of them the other keeps the proportion.
    fn set_sides(&self, made: &mut Made<'g>) {
        let before = (made.width, made.height);
        let width = self.given("width").or_else(|| self.given("target_width"));
        let height = self.given("height").or_else(|| self.given("target_height"));
        if let Some((side, cause)) = width {
            (made.width, made.width_by) = (Some(side), Some(cause));
        }
        if let Some((side, cause)) = height {
            (made.height, made.height_by) = (Some(side), Some(cause));
        }
        if let (Some(old_width), Some(old_height)) = before {
            match (width, height) {
                (Some((side, cause)), None) if self.inputs.contains_key("height") => {
                    (made.height, made.height_by) = (Some(old_height * side / old_width), Some(cause));
                }
                (None, Some((side, cause))) if self.inputs.contains_key("width") => {
                    (made.width, made.width_by) = (Some(old_width * side / old_height), Some(cause));
                }
                _ => {}
            }
        }
    }

    /// Borders that are added, as ImagePadForOutpaint does.
    fn pad(&self, made: &mut Made<'g>) {
        if !self.class.contains("Pad") {
            return;
        }
        let wider = sum(self.given("left"), self.given("right"));
        if let (Some(width), Some((border, cause))) = (made.width.or(Some(0.0)), wider) {
            (made.width, made.width_by) = (Some(width + border), Some(cause));
        }
        let higher = sum(self.given("top"), self.given("bottom"));
        if let (Some(height), Some((border, cause))) = (made.height.or(Some(0.0)), higher) {
            (made.height, made.height_by) = (Some(height + border), Some(cause));
        }
    }

    /// Two batches one after the other; the second is brought to the size of the first.
    fn joined(&self) -> Made<'g> {
        let mut made = self.nothing();
        let mut batch = 0.0;
        for (input, value) in self.inputs {
            let Some((source, _)) = as_link(value) else { continue };
            let fed = self.flow.made.get(source);
            if made.batch_by.is_none() {
                made.width = fed.and_then(|fed| fed.width);
                made.height = fed.and_then(|fed| fed.height);
            }
            batch += fed.and_then(|fed| fed.batch).unwrap_or(1.0);
            made.batch_by = Some(Cause { node: self.id, input });
        }
        made.batch = Some(batch);
        made
    }

    /// Two pictures side by side, or one above the other.
    fn stitched(&self) -> Made<'g> {
        let mut made = self.passed();
        let beside = !matches!(self.inputs.get("direction").and_then(Value::as_str), Some("up" | "down"));
        let fed = [self.fed_by("image1"), self.fed_by("image2")];
        let [width1, width2] = fed.map(|fed| fed.and_then(|fed| fed.width).unwrap_or(0.0));
        let [height1, height2] = fed.map(|fed| fed.and_then(|fed| fed.height).unwrap_or(0.0));
        if !fed.iter().all(Option::is_some) || width1 + width2 <= 0.0 {
            return made;
        }
        let gap = self.given("spacing_width").map_or(0.0, |(gap, _)| gap);
        let cause = Some(Cause { node: self.id, input: "image2" });
        if beside {
            (made.width, made.height, made.width_by) = (Some(width1 + width2 + gap), Some(height1.max(height2)), cause);
        } else {
            (made.width, made.height, made.height_by) =
                (Some(width1.max(width2)), Some(height1 + height2 + gap), cause);
        }
        made
    }

    /// Some pictures out of a batch: never more than there are.
    fn taken(&self) -> Made<'g> {
        let mut made = self.passed();
        if let Some((length, cause)) = self.given("length") {
            match made.batch {
                Some(batch) => made.batch = Some(batch.min(length)),
                None => (made.batch, made.batch_by) = (Some(length), Some(cause)),
            }
        }
        made
    }

    /// A part of a picture: never more than there is.
    fn cropped(&self) -> Made<'g> {
        let mut made = self.passed();
        if let Some((side, cause)) = self.given("width") {
            match made.width {
                Some(width) => made.width = Some(width.min(side)),
                None => (made.width, made.width_by) = (Some(side), Some(cause)),
            }
        }
        if let Some((side, cause)) = self.given("height") {
            match made.height {
                Some(height) => made.height = Some(height.min(side)),
                None => (made.height, made.height_by) = (Some(side), Some(cause)),
            }
        }
        made
    }

    /// Enlarged by a model, whose file's name tells by how much.
    fn upscaled(&self) -> Made<'g> {
        let mut made = self.passed();
        let loader = self.inputs.get("upscale_model").and_then(as_link).map(|(source, _)| source);
        let name = loader.and_then(|source| Some((source, inputs_of(self.flow.graph.get(source)?)?)));
        let named = name.and_then(|(source, inputs)| Some((source, inputs.get("model_name")?.as_str()?)));
        match named {
            Some((node, file)) => made.scale(model_factor(file), Cause { node, input: "model_name" }),
            None => made.scale(model_factor(""), Cause { node: self.id, input: "upscale_model" }),
        }
        made
    }
}

impl<'g> Made<'g> {
    fn scale(&mut self, scale: f64, cause: Cause<'g>) {
        if let Some(width) = self.width {
            (self.width, self.width_by) = (Some((width * scale).round()), Some(cause));
        }
        if let Some(height) = self.height {
            (self.height, self.height_by) = (Some((height * scale).round()), Some(cause));
        }
    }
}

fn carries_picture(input: &str) -> bool {
    let input = input.to_ascii_lowercase();
    !input.contains("conditioning") && !NO_PICTURE.iter().any(|start| input.starts_with(start))
}

fn largest(left: Option<f64>, right: Option<f64>) -> Option<f64> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.max(right)),
        (left, right) => left.or(right),
    }
}

/// Both together, blamed on the larger.
fn sum<'g>(left: Option<Given<'g>>, right: Option<Given<'g>>) -> Option<Given<'g>> {
    match (left, right) {
        (Some(left), Some(right)) => Some((left.0 + right.0, if right.0 > left.0 { right.1 } else { left.1 })),
        (left, right) => left.or(right),
    }
}

/// The factor in a model's file name: `4x-UltraSharp`, `RealESRGAN_x2plus`; 4 where none is written.
fn model_factor(file: &str) -> f64 {
    let letters: Vec<char> = file.to_ascii_lowercase().chars().collect();
    let near = letters.windows(3).find_map(|window| match window {
        [before, digit, 'x'] if !before.is_ascii_alphanumeric() => digit.to_digit(10),
        ['x', digit, after] if !after.is_ascii_digit() => digit.to_digit(10),
        _ => None,
    });
    let first = match letters.as_slice() {
        [digit, 'x', ..] => digit.to_digit(10),
        _ => None,
    };
    first.or(near).filter(|factor| *factor > 0).map_or(4.0, f64::from)
}
