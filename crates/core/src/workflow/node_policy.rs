//! Which node classes a graph may hold that a caller sends: what is dangerous never, what an operator denies not,
//! and of the rest only what is allowed. Asks no server: a class that none has is found out elsewhere.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::Fault;

use super::dangerous;
use super::pointer::pointer;
use super::value::{class_of, shorten};

/// The node classes that graphs of callers may have.
#[derive(Debug, Clone, Default)]
pub struct NodePolicy {
    /// Those that an operator named; where there are none, those of registered workflows count.
    named: BTreeSet<String>,
    registered: BTreeSet<String>,
    /// In lower case.
    denied: BTreeSet<String>,
}

impl NodePolicy {
    /// Allows the classes that are `named` (`RAW_NODES_ALLOWED`) or, where none is, those of the `registered` graphs;
    /// never those that are `denied` (`RAW_NODES_DENIED`).
    pub fn new(named: &[String], registered: &[Value], denied: &[String]) -> Self {
        let nodes = registered.iter().filter_map(Value::as_object).flat_map(|graph| graph.values());
        Self {
            named: named.iter().cloned().collect(),
            registered: nodes.filter_map(class_of).map(str::to_owned).collect(),
            denied: denied.iter().map(|class| plain(class)).collect(),
        }
    }

    /// Why a graph of a caller may not hold a node of this class; `None` where it may.
    pub fn fault(&self, class: &str) -> Option<String> {
        if let Some(fault) = dangerous::fault(class) {
            return Some(fault);
        }
        let reason = if self.denied.contains(&plain(class)) {
            String::from("an operator denies it (RAW_NODES_DENIED)")
        } else if self.named.contains(class) {
            return None;
        } else if !self.named.is_empty() {
            String::from("it is not among those that an operator allows (RAW_NODES_ALLOWED)")
        } else if !self.registered.contains(class) {
            String::from("no registered workflow has it; an operator allows others with RAW_NODES_ALLOWED")
        } else {
            let what = dangerous::doubt(class)?;
            format!("by its name it {what}; it has to be named in RAW_NODES_ALLOWED")
        };
        Some(format!("`{}` is not allowed in a graph of a caller: {reason}", shorten(class, 60)))
    }

    /// A fault for each node of `graph` whose class it may not hold; nodes without a class are another check's.
    pub fn check(&self, graph: &Value) -> Vec<Fault> {
        let nodes = graph.as_object().into_iter().flatten();
        let found = nodes.filter_map(|(id, node)| Some((id, self.fault(class_of(node)?)?)));
        found.map(|(id, message)| Fault::new(pointer(&["workflow", id, "class_type"]), message)).collect()
    }
}

fn plain(class: &str) -> String {
    class.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn list(classes: &[&str]) -> Vec<String> {
        classes.iter().map(|class| (*class).to_owned()).collect()
    }

    fn registered() -> Value {
        json!({
            "1": {"class_type": "EmptyImage", "inputs": {}},
            "2": {"class_type": "SaveImage", "inputs": {}},
            "3": {"class_type": "LoadImageFromUrl", "inputs": {"url": "https://example.com/a.png"}},
            "4": {"class_type": "LoadTrainingDataset", "inputs": {}},
        })
    }

    fn refused(policy: &NodePolicy, class: &str, why: &str) {
        let message = policy.fault(class).unwrap_or_default();
        assert!(message.contains(why), "{class}: {message}");
    }

    #[test]
    fn without_a_list_the_classes_of_registered_workflows_are_allowed_but_not_those_whose_name_says_more() {
        let policy = NodePolicy::new(&[], &[registered()], &[]);
        assert_eq!((policy.fault("EmptyImage"), policy.fault("SaveImage")), (None, None));
        refused(&policy, "KSampler", "no registered workflow has it");
        refused(&policy, "emptyimage", "no registered workflow has it");
        refused(&policy, "LoadImageFromUrl", "it has to be named in RAW_NODES_ALLOWED");
        refused(&policy, "LoadTrainingDataset", "unpickles");
        refused(&NodePolicy::default(), "EmptyImage", "no registered workflow has it");
    }

    #[test]
    fn a_list_is_all_that_is_allowed() {
        let policy = NodePolicy::new(&list(&["KSampler", "LoadImageFromUrl"]), &[registered()], &[]);
        assert_eq!((policy.fault("KSampler"), policy.fault("LoadImageFromUrl")), (None, None));
        refused(&policy, "EmptyImage", "RAW_NODES_ALLOWED");
    }

    #[test]
    fn what_is_denied_and_what_is_dangerous_is_refused_although_it_is_allowed() {
        let both = list(&["KSampler", "LoadTrainingDataset", "SRL Eval"]);
        let policy = NodePolicy::new(&both, &[], &list(&["ksampler", "SaveImage"]));
        refused(&policy, "KSampler", "RAW_NODES_DENIED");
        refused(&policy, "LoadTrainingDataset", "unpickles");
        refused(&policy, "SRL Eval", "runs a text");
        refused(&NodePolicy::new(&[], &[registered()], &list(&[" saveimage "])), "SaveImage", "RAW_NODES_DENIED");
    }

    #[test]
    fn each_node_of_a_class_that_is_not_allowed_is_named() {
        let policy = NodePolicy::new(&list(&["EmptyImage"]), &[], &[]);
        let graph = json!({
            "1": {"class_type": "EmptyImage"}, "2": {"class_type": "__proto__"}, "a/b": {"class_type": ""},
            "4": {"class_type": 7}, "5": 7, "6": {},
        });
        let paths: Vec<String> = policy.check(&graph).into_iter().map(|fault| fault.path).collect();
        assert_eq!(paths, ["/workflow/2/class_type", "/workflow/a~1b/class_type"]);
        assert_eq!(policy.check(&json!([])), []);
    }

    proptest! {
        #[test]
        fn of_500_classes_those_pass_that_are_allowed_and_not_denied(
            allowed in prop::collection::hash_set(0_usize..500, 1..200),
            denied in prop::collection::hash_set(0_usize..500, 0..200),
        ) {
            let names = |numbers: &HashSet<usize>| numbers.iter().map(|n| format!("Class{n}")).collect::<Vec<_>>();
            let mut allowed_names = names(&allowed);
            allowed_names.push(String::from("LoadTrainingDataset"));
            let policy = NodePolicy::new(&allowed_names, &[], &names(&denied));
            for number in 0..500 {
                let passes = policy.fault(&format!("Class{number}")).is_none();
                prop_assert_eq!(passes, allowed.contains(&number) && !denied.contains(&number), "Class{}", number);
            }
            prop_assert!(policy.fault("LoadTrainingDataset").is_some());
        }

        #[test]
        fn no_name_is_allowed_that_nobody_allowed(class in any::<String>()) {
            prop_assert!(NodePolicy::default().fault(&class).is_some());
        }
    }
}
