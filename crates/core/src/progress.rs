//! How far a run is: weighs nodes by their steps and never goes backwards. Pure; time comes in as numbers.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How far a job is, as its owner sees it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// 0–100; 100 only once the job has succeeded.
    pub percent: u8,
    /// The node that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_title: Option<String>,
    /// Its step, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// How many steps it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Nodes that are done, those that ComfyUI had cached among them.
    pub nodes_done: usize,
    /// Nodes of the graph.
    pub nodes_total: usize,
    /// Seconds that the rest may take: from the pace so far, or before that tells, from earlier runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<u64>,
}

impl Progress {
    /// The progress of a job that has succeeded.
    pub fn complete(nodes_total: usize) -> Self {
        Self { percent: 100, nodes_done: nodes_total, nodes_total, ..Self::default() }
    }

    /// Fills in how long the rest may take where the pace does not tell yet: such runs take `usual_ms`, and this one has
    /// gone on for `elapsed_ms`.
    pub fn expect(&mut self, usual_ms: Option<i64>, elapsed_ms: i64) {
        if let (None, Some(usual)) = (self.eta_seconds, usual_ms) {
            self.eta_seconds = u64::try_from(usual.saturating_sub(elapsed_ms).max(0)).ok().map(|ms| ms.div_ceil(1000));
        }
    }
}

/// Below this share of the work an estimate of the rest would be a guess.
const ETA_FROM_PERCENT: u8 = 3;

#[derive(Debug)]
struct Node {
    title: Option<String>,
    weight: f64,
    done: f64,
}

/// Follows one run of a rendered graph.
#[derive(Debug)]
pub struct ProgressTracker {
    nodes: HashMap<String, Node>,
    current: Option<String>,
    step: Option<(u64, u64)>,
    highest: u8,
}

impl ProgressTracker {
    /// A tracker for `graph` in ComfyUI's API format. A node with a literal `steps` weighs that many, any other 1.
    pub fn new(graph: &Map<String, Value>) -> Self {
        let nodes = graph
            .iter()
            .map(|(id, node)| {
                let steps = node.pointer("/inputs/steps").and_then(Value::as_f64);
                let title = node.pointer("/_meta/title").or_else(|| node.get("class_type")).and_then(Value::as_str);
                let node = Node {
                    title: title.map(str::to_owned),
                    weight: steps.unwrap_or(1.0).clamp(1.0, 10_000.0),
                    done: 0.0,
                };
                (id.clone(), node)
            })
            .collect();
        Self { nodes, current: None, step: None, highest: 0 }
    }

    /// ComfyUI will not run these: it has their results.
    pub fn cached<'a>(&mut self, ids: impl IntoIterator<Item = &'a str>) {
        for id in ids {
            self.finish(id);
        }
    }

    /// `id` is the node that runs now.
    pub fn executing(&mut self, id: &str) {
        if self.current.as_deref() != Some(id) {
            self.current = Some(id.to_owned());
            self.step = None;
        }
    }

    /// `id` has made `value` of `max` steps. Nonsense such as 5 of 0 is ignored.
    pub fn advance(&mut self, id: &str, value: f64, max: f64) {
        if !(max > 0.0 && value.is_finite() && max.is_finite()) || value < 0.0 {
            return;
        }
        let share = (value / max).min(1.0);
        if let Some(node) = self.nodes.get_mut(id) {
            node.done = node.done.max(share);
        }
        self.executing(id);
        if max > 1.0 {
            self.step = Some((value.min(max) as u64, max as u64));
        }
    }

    /// `id` is done.
    pub fn finish(&mut self, id: &str) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.done = 1.0;
        }
    }

    /// How far the run is, `elapsed_ms` after it began.
    pub fn snapshot(&mut self, elapsed_ms: i64) -> Progress {
        let total: f64 = self.nodes.values().map(|node| node.weight).sum();
        let done: f64 = self.nodes.values().map(|node| node.weight * node.done).sum();
        let share = if total > 0.0 { done / total } else { 0.0 };
        self.highest = self.highest.max((share * 100.0).floor().clamp(0.0, 99.0) as u8);
        let eta = (self.highest >= ETA_FROM_PERCENT && share > 0.0)
            .then(|| (elapsed_ms.max(0) as f64 * (1.0 - share) / share / 1000.0).ceil() as u64);
        let title = self.current.as_ref().and_then(|id| self.nodes.get(id)).and_then(|node| node.title.clone());
        Progress {
            percent: self.highest,
            node: self.current.clone(),
            node_title: title,
            step: self.step.map(|(step, _)| step),
            steps: self.step.map(|(_, steps)| steps),
            nodes_done: self.nodes.values().filter(|node| node.done >= 1.0).count(),
            nodes_total: self.nodes.len(),
            eta_seconds: eta,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tracker() -> ProgressTracker {
        let graph = json!({
            "1": {"class_type": "EmptyLatentImage", "inputs": {}},
            "2": {"class_type": "KSampler", "inputs": {"steps": 18}, "_meta": {"title": "Sample"}},
            "3": {"class_type": "SaveImage", "inputs": {}},
        });
        ProgressTracker::new(graph.as_object().unwrap())
    }

    #[test]
    fn nodes_weigh_by_their_steps() {
        let mut tracker = tracker();
        tracker.cached(["1"]);
        assert_eq!(tracker.snapshot(0).percent, 5);
        tracker.advance("2", 9.0, 18.0);
        let half = tracker.snapshot(1000);
        assert_eq!((half.percent, half.step, half.steps), (50, Some(9), Some(18)));
        assert_eq!(half.node_title.as_deref(), Some("Sample"));
        assert_eq!(half.eta_seconds, Some(1));
        assert_eq!((half.nodes_done, half.nodes_total), (1, 3));
    }

    #[test]
    fn until_the_pace_tells_earlier_runs_do() {
        let mut progress = tracker().snapshot(0);
        progress.expect(Some(10_000), 1_500);
        assert_eq!(progress.eta_seconds, Some(9));
        progress.expect(Some(90_000), 0);
        assert_eq!(progress.eta_seconds, Some(9), "what the pace tells counts more");
        let mut late = tracker().snapshot(0);
        late.expect(Some(1_000), 60_000);
        assert_eq!(late.eta_seconds, Some(0));
        let mut unknown = tracker().snapshot(0);
        unknown.expect(None, 0);
        assert_eq!(unknown.eta_seconds, None);
    }

    #[test]
    fn percent_never_goes_backwards_and_stays_below_100_until_the_end() {
        let mut tracker = tracker();
        tracker.advance("2", 18.0, 18.0);
        let high = tracker.snapshot(1).percent;
        tracker.advance("2", 1.0, 18.0);
        assert_eq!(tracker.snapshot(2).percent, high);
        for id in ["1", "2", "3"] {
            tracker.finish(id);
        }
        assert_eq!(tracker.snapshot(3).percent, 99);
    }

    #[test]
    fn nonsense_is_ignored() {
        let mut tracker = tracker();
        for (value, max) in [(5.0, 0.0), (-1.0, 5.0), (f64::NAN, 1.0), (1.0, f64::INFINITY)] {
            tracker.advance("2", value, max);
        }
        tracker.advance("stranger", 1.0, 2.0);
        assert_eq!(tracker.snapshot(0).percent, 0);
    }
}
