//! One prompt from its first node to its last: delays, interrupts, previews, cache and failures.
//! What nodes compute lives in `nodes`, what events look like in `events`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::cache::{Cache, Cached, Signature};
use super::events::{Events, PreviewFormat, padded};
use super::order::Schedule;
use super::{Outcome, lists_cached_outputs};
use crate::config::Profile;
use crate::heap::Item;
use crate::life::{Free, Life};
use crate::nodes::{self, Datum, Job, Made, NodeError, Sampling, Workshop};
use crate::picture::{self, PngExtras};
use crate::switches::PreviewMethod;
use crate::validate::structure;

/// The longest edge of a preview.
const PREVIEW_EDGE: u32 = 512;
/// The quality of JPEG previews.
const PREVIEW_QUALITY: u8 = 95;

/// What the worker keeps from prompt to prompt.
#[derive(Debug, Default)]
pub(super) struct Memory {
    cache: Cache,
    models: HashSet<String>,
    runs: u64,
}

impl Memory {
    pub(super) fn free(&mut self, free: Free) {
        if free.memory {
            self.cache.clear();
        }
        if free.memory || free.models {
            self.models.clear();
        }
    }
}

/// Why a prompt ends before its last node.
enum Stop {
    Interrupted { node: String },
    Failed { node: String, error: NodeError },
}

/// A run in progress.
pub(super) struct Execution<'a> {
    life: &'a Arc<Life>,
    memory: &'a mut Memory,
    item: &'a Item,
    nodes: &'a Map<String, Value>,
    signatures: HashMap<&'a str, Signature>,
    shop: Arc<Workshop>,
    events: Events,
    executed: Vec<String>,
    /// What this run said about its outputs.
    emitted: Map<String, Value>,
}

/// Runs a node, away from the async threads when it takes long.
async fn run_job(job: Job) -> Result<Made, NodeError> {
    if !job.is_heavy() {
        return nodes::run(&job);
    }
    let result = tokio::task::spawn_blocking(move || nodes::run(&job)).await;
    result.unwrap_or_else(|_| Err(NodeError::new("RuntimeError", "the node crashed")))
}

static NO_NODES: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);

impl<'a> Execution<'a> {
    pub(super) fn new(life: &'a Arc<Life>, memory: &'a mut Memory, item: &'a Item, events: Events) -> Self {
        let nodes = item.prompt.as_object().unwrap_or(&NO_NODES);
        let signatures = memory.cache.enter(nodes, &life.app.files);
        memory.runs += 1;
        let shop = Workshop {
            files: life.app.files.clone(),
            switches: life.switches(),
            profile: life.profile,
            prompt: item.prompt.clone(),
            extra: item.extra_data.clone(),
            seed: life.app.config.seed.wrapping_add(memory.runs),
        };
        let shop = Arc::new(shop);
        Self { life, memory, item, nodes, signatures, shop, events, executed: Vec::new(), emitted: Map::new() }
    }

    pub(super) async fn run(mut self) -> Outcome {
        self.record("execution_start", Map::new(), false);
        let cached: Vec<Value> =
            self.nodes.keys().filter(|id| self.cached(id).is_some()).map(|id| Value::from(id.as_str())).collect();
        let mut data = Map::new();
        data.insert("nodes".to_owned(), Value::from(cached));
        self.record("execution_cached", data, false);
        let stop = self.run_nodes().await;
        self.life.set_node(None);
        let success = stop.is_ok();
        match stop {
            Ok(()) => self.record("execution_success", Map::new(), false),
            Err(Stop::Interrupted { node }) => self.report_interrupt(&node),
            Err(Stop::Failed { node, error }) => self.report_error(&node, &error),
        }
        if self.shop.switches.unknown_events || self.shop.profile >= Profile::V0_40 {
            self.events.unknown();
        }
        let outputs = self.outputs();
        Outcome { success, outputs, messages: self.events.into_messages() }
    }

    fn cached(&self, id: &str) -> Option<&Arc<Cached>> {
        self.memory.cache.get(*self.signatures.get(id)?)
    }

    /// Records a message with the prompt id, which comes first in all but `execution_cached`.
    fn record(&mut self, name: &str, data: Map<String, Value>, broadcast: bool) {
        let id = ("prompt_id".to_owned(), Value::from(self.item.prompt_id.as_str()));
        let data = if name == "execution_cached" {
            data.into_iter().chain([id]).collect()
        } else {
            [id].into_iter().chain(data).collect()
        };
        self.events.record(name, data, broadcast);
    }

    fn is_output(&self, id: &str) -> bool {
        let class = self.class(id);
        self.life.app.definitions.get(class).is_some_and(|definition| definition.is_output)
    }

    fn class(&self, id: &str) -> &'a str {
        self.nodes.get(id).and_then(|node| node.get("class_type")).and_then(Value::as_str).unwrap_or_default()
    }

    async fn run_nodes(&mut self) -> Result<(), Stop> {
        let mut schedule = Schedule::default();
        let item = self.item;
        for output in &item.outputs {
            schedule.add(self.nodes, output, |id| self.cached(id).is_some());
        }
        while let Some(id) = schedule.next(|id| self.is_output(id)) {
            if self.life.switches().foreign_events {
                self.events.foreign();
            }
            match self.cached(id).cloned() {
                Some(cached) => self.replay(id, &cached),
                None => self.run_node(id).await?,
            }
            schedule.complete(id);
        }
        Ok(())
    }

    /// An output from the cache: its old files once more.
    fn replay(&mut self, id: &str, cached: &Cached) {
        if self.events.has_client() {
            self.events.executed(id, cached.ui.as_ref());
        }
        // Releases around 0.26 forget cached outputs of prompts without a client.
        let forgets = self.shop.profile == Profile::V0_26 && !self.events.has_client();
        if let (Some(ui), false) = (&cached.ui, forgets) {
            self.emitted.insert(id.to_owned(), Value::Object(ui.clone()));
        }
        self.events.finish(id);
    }

    async fn run_node(&mut self, id: &str) -> Result<(), Stop> {
        self.events.start(id);
        self.life.set_node(Some(id));
        self.events.executing(id);
        self.life.wait_while_zombie().await;
        let class = self.class(id);
        if self.life.switches().die_on_node.as_deref() == Some(class) {
            super::die(self.life).await;
        }
        if self.life.is_interrupted() {
            return Err(Stop::Interrupted { node: id.to_owned() });
        }
        if self.life.switches().block_node.as_deref() == Some(class) {
            self.report_block(id);
            return Ok(());
        }
        let made = self.compute(id, class).await?;
        if let Some(text) = &made.text {
            self.events.text(id, text);
        }
        let ui = made.ui.filter(|_| !self.shop.switches.empty_outputs);
        if let Some(ui) = &ui {
            self.events.executed(id, Some(ui));
            self.emitted.insert(id.to_owned(), Value::Object(ui.clone()));
        }
        if let Some(signature) = self.signatures.get(id) {
            self.memory.cache.insert(*signature, Arc::new(Cached { values: made.values, ui }));
        }
        self.executed.push(id.to_owned());
        self.events.finish(id);
        Ok(())
    }

    async fn compute(&mut self, id: &str, class: &str) -> Result<Made, Stop> {
        let failed = |error: NodeError| Stop::Failed { node: id.to_owned(), error };
        let job = self.job(id, class).map_err(failed)?;
        let mut made;
        if let Some(sampling) = nodes::sampling(&job) {
            // A device out of memory fails before the first step.
            made = run_job(job).await.map_err(failed)?;
            self.sample(id, &sampling).await?;
        } else {
            self.spend(class, &job).await;
            made = run_job(job).await.map_err(failed)?;
        }
        let count = u32::try_from(made.frames.len()).unwrap_or(u32::MAX);
        for (place, frame) in (0..).zip(std::mem::take(&mut made.frames)) {
            self.events.step(id, (place, count), Some((PreviewFormat::Png, frame)));
        }
        Ok(made)
    }

    fn job(&self, id: &str, class: &str) -> Result<Job, NodeError> {
        let definition = self.life.app.definitions.get(class).cloned();
        let definition = definition.ok_or_else(|| NodeError::new("KeyError", &format!("'{class}'")))?;
        let given = self.nodes.get(id).and_then(|node| node.get("inputs")).and_then(Value::as_object);
        let mut inputs = HashMap::with_capacity(definition.inputs.len());
        for (name, value) in given.into_iter().flatten() {
            let datum = match structure::link(value) {
                Some((from, slot)) => self.cached(from).and_then(|cached| cached.values.get(slot).cloned()),
                None => Some(Datum::Plain(value.clone())),
            };
            if let Some(datum) = datum {
                inputs.insert(name.clone(), datum);
            }
        }
        Ok(Job { definition, inputs, shop: self.shop.clone() })
    }

    /// The time that an ordinary node takes. It does not look at interrupts meanwhile.
    async fn spend(&mut self, class: &str, job: &Job) {
        let switches = self.life.switches();
        let mut millis = switches.node_ms;
        if class == "CheckpointLoaderSimple"
            && let Some(Datum::Plain(Value::String(name))) = job.inputs.get("ckpt_name")
            && self.memory.models.insert(name.clone())
        {
            millis += switches.load_ms;
        }
        if millis > 0 {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
    }

    async fn sample(&mut self, id: &str, sampling: &Sampling) -> Result<(), Stop> {
        for step in 1..=sampling.steps {
            let switches = self.life.switches();
            if switches.step_ms > 0 {
                tokio::time::sleep(Duration::from_millis(switches.step_ms)).await;
            } else {
                tokio::task::yield_now().await;
            }
            if self.life.is_interrupted() {
                return Err(Stop::Interrupted { node: id.to_owned() });
            }
            let preview = self.preview(sampling, step).await;
            self.events.step(id, (step, sampling.steps), preview);
            if switches.progress_backwards && step > 1 {
                self.events.step(id, (step - 1, sampling.steps), None);
            }
        }
        Ok(())
    }

    async fn preview(&self, sampling: &Sampling, step: u32) -> Option<(PreviewFormat, Bytes)> {
        let switches = self.life.switches();
        let format = match switches.preview_method {
            PreviewMethod::None => return None,
            PreviewMethod::Jpeg => PreviewFormat::Jpeg,
            PreviewMethod::Png => PreviewFormat::Png,
        };
        let (sampling, fast) = (sampling.clone(), switches.fast_render);
        let encoded = tokio::task::spawn_blocking(move || {
            let scene = nodes::preview_scene(&sampling, step, PREVIEW_EDGE);
            let picture = if fast { picture::tiny(&scene) } else { picture::paint(&scene) };
            match format {
                PreviewFormat::Jpeg => picture::jpeg(&picture, PREVIEW_QUALITY).ok(),
                PreviewFormat::Png => {
                    picture::png(&picture, false, &PngExtras::default()).ok().map(|file| file.to_bytes().to_vec())
                }
            }
        });
        let picture = encoded.await.ok().flatten()?;
        Some((format, padded(picture, switches.preview_bytes)))
    }

    /// Says why a node is left out. The prompt goes on, and its history entry says nothing of this.
    fn report_block(&mut self, node: &str) {
        let data = json!({
            "prompt_id": self.item.prompt_id, "node_id": node, "node_type": self.class(node),
            "executed": self.executed, "exception_message": "Execution Blocked: no face found",
            "exception_type": "ExecutionBlocked", "traceback": [], "current_inputs": [], "current_outputs": [],
        });
        self.events.blocked(&data);
        self.events.finish(node);
    }

    fn report_interrupt(&mut self, node: &str) {
        let mut data = Map::new();
        data.insert("node_id".to_owned(), Value::from(node));
        data.insert("node_type".to_owned(), Value::from(self.class(node)));
        data.insert("executed".to_owned(), Value::from(self.executed.clone()));
        self.record("execution_interrupted", data, true);
    }

    fn report_error(&mut self, node: &str, error: &NodeError) {
        let inputs = self.nodes.get(node).and_then(|node| node.get("inputs")).and_then(Value::as_object);
        let shown = inputs.into_iter().flatten().map(|(name, value)| {
            let text =
                if structure::link(value).is_some() { json!(["tensor([[[[0.0000]]]])"]) } else { json!([value]) };
            (name.clone(), text)
        });
        let shown: Map<String, Value> = shown.collect();
        let known: Vec<&String> = self.nodes.keys().rev().collect();
        let class = self.class(node);
        let traceback = [
            "  File \"/comfyui/execution.py\", line 496, in execute\n".to_owned(),
            "  File \"/comfyui/execution.py\", line 315, in get_output_data\n".to_owned(),
            "  File \"/comfyui/execution.py\", line 289, in _async_map_node_over_list\n".to_owned(),
            "  File \"/comfyui/execution.py\", line 277, in process_inputs\n".to_owned(),
            format!("  File \"/comfyui/nodes.py\", line 1647, in {class}\n"),
        ];
        let data = json!({
            "node_id": node, "node_type": class, "executed": self.executed, "exception_message": error.message,
            "exception_type": error.exception_type, "traceback": traceback, "current_inputs": shown,
            "current_outputs": known,
        });
        if let Value::Object(data) = data {
            self.record("execution_error", data, false);
        }
    }

    /// The outputs that the history lists.
    fn outputs(&self) -> Map<String, Value> {
        if !lists_cached_outputs(self.shop.profile) {
            return self.emitted.clone();
        }
        let all = self.nodes.keys().filter_map(|id| {
            let ui = self.cached(id)?.ui.as_ref()?;
            Some((id.clone(), Value::Object(ui.clone())))
        });
        all.collect()
    }
}
