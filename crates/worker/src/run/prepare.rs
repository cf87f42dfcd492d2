//! From the job to the graph that is sent: rendered, its files named by us, checked for what would harm ComfyUI.

use std::collections::HashSet;

use comfyui_client::PreparedPrompt;
use serde_json::{Map, Value};

use super::{Run, Setback, files};
use crate::failure;

/// The class whose results come over the socket and nowhere else.
const SOCKET_OUTPUT: &str = "SaveImageWebsocket";

impl Run {
    pub(super) fn prepare(&self) -> Result<PreparedPrompt, Setback> {
        let failed = |error| Setback::Failed(Box::new(error));
        let resolved = self.workflow.name_files(&self.job.resolved, |_, record| files::place(record));
        let mut graph = self.workflow.render(&resolved).map_err(|faults| failed(failure::invalid_graph(faults)))?;
        // A name of our own for each claim: nothing collides, and no cached node answers with files of another run.
        name_files(&mut graph, &format!("gateway/{}/{}", self.job.id, self.job.epoch));
        // Only what the author declared: without that, a class that we take for no output may be one.
        let outputs = self.workflow.declared_outputs();
        let known = (!outputs.is_empty()).then_some(outputs);
        PreparedPrompt::prepare(graph, known).map_err(|faults| failed(failure::harmful_graph(&faults, &self.workflow)))
    }
}

/// Sets `prefix` wherever a node names the files that it writes.
fn name_files(graph: &mut Map<String, Value>, prefix: &str) {
    let inputs = graph.values_mut().filter_map(|node| node.get_mut("inputs")?.as_object_mut());
    for value in inputs.filter_map(|inputs| inputs.get_mut("filename_prefix")).filter(|value| value.is_string()) {
        *value = Value::from(prefix);
    }
}

/// Nodes of `graph` whose pictures come over the socket only.
pub(super) fn picture_nodes(graph: &Map<String, Value>) -> HashSet<String> {
    let saves = |node: &Value| node.get("class_type").and_then(Value::as_str) == Some(SOCKET_OUTPUT);
    graph.iter().filter(|(_, node)| saves(node)).map(|(id, _)| id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_are_named_by_us_wherever_a_node_names_them() {
        let mut graph = json!({
            "1": {"class_type": "SaveImage", "inputs": {"filename_prefix": "../x", "images": ["2", 0]}},
            "2": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
            "3": {"class_type": "SaveImage", "inputs": {"filename_prefix": ["4", 0]}},
        });
        let graph = graph.as_object_mut().unwrap();
        name_files(graph, "gateway/j/1");
        assert_eq!(graph["1"]["inputs"]["filename_prefix"], "gateway/j/1");
        assert_eq!(graph["3"]["inputs"]["filename_prefix"], json!(["4", 0]));
        assert_eq!(graph["2"]["inputs"], json!({"image": "a.png"}));
    }

    #[test]
    fn nodes_that_answer_over_the_socket_are_found() {
        let graph = json!({"1": {"class_type": "SaveImageWebsocket"}, "2": {"class_type": "SaveImage"}});
        assert_eq!(picture_nodes(graph.as_object().unwrap()), HashSet::from([String::from("1")]));
    }
}
