//! What a server can run, and what it has loaded: from its node classes, and from what it was given to run. Pure.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use gateway_core::workflow::{Missing, Needs, NeedsId, NodeCatalog};

/// Needs that are remembered; they are the same for all jobs that differ in texts and numbers only.
const REMEMBERED: usize = 4_096;

/// What a server can run.
#[derive(Debug, Default)]
pub(crate) struct Ability {
    catalog: Option<Arc<NodeCatalog>>,
    known: HashMap<NeedsId, Needs>,
    cannot: HashSet<NeedsId>,
    loaded: BTreeSet<String>,
}

impl Ability {
    /// What is known of its node classes is news.
    pub(crate) fn set_catalog(&mut self, catalog: Arc<NodeCatalog>) {
        let lacks = |needs: &&Needs| !needs.missing_in(&catalog).is_empty();
        self.cannot = self.known.values().filter(lacks).map(Needs::id).collect();
        self.catalog = Some(catalog);
    }

    /// Remembers `needs`; gives what the server lacks of them. A server that was not asked yet is taken to have all.
    pub(crate) fn learn(&mut self, needs: &Needs) -> Vec<Missing> {
        if self.known.len() >= REMEMBERED {
            self.known.clear();
            self.cannot.clear();
        }
        let missing = self.catalog.as_ref().map(|catalog| needs.missing_in(catalog)).unwrap_or_default();
        let id = needs.id();
        if missing.is_empty() {
            self.cannot.remove(&id)
        } else {
            self.cannot.insert(id)
        };
        self.known.insert(id, needs.clone());
        missing
    }

    /// Whether it can run what has these needs; `None` where they are not known.
    pub(crate) fn can(&self, id: NeedsId) -> Option<bool> {
        self.known.contains_key(&id).then(|| !self.cannot.contains(&id))
    }

    /// It is given something to run: the models of that are loaded then, and take the place of others.
    pub(crate) fn runs(&mut self, needs: &Needs) {
        let files = needs.files();
        if !files.is_empty() {
            self.loaded = files.into_iter().map(str::to_owned).collect();
        }
    }

    /// Needs that it does not meet.
    pub(crate) fn cannot(&self) -> HashSet<NeedsId> {
        self.cannot.clone()
    }

    /// Needs whose models are loaded.
    pub(crate) fn warm(&self) -> HashSet<NeedsId> {
        let is_warm = |needs: &&Needs| {
            let files = needs.files();
            !files.is_empty() && files.iter().all(|file| self.loaded.contains(*file))
        };
        self.known.values().filter(is_warm).map(Needs::id).collect()
    }

    /// The model files that are loaded.
    pub(crate) fn loaded(&self) -> Vec<String> {
        self.loaded.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn needs(files: &[&str]) -> Needs {
        let node = |file: &&str| json!({"class_type": "Load", "inputs": {"name": file}});
        let nodes = files.iter().enumerate().map(|(number, file)| (number.to_string(), node(file)));
        Needs::of(&nodes.collect())
    }

    fn catalog(files: &[&str]) -> Arc<NodeCatalog> {
        Arc::new(NodeCatalog::parse(&json!({"Load": {"input": {"required": {"name": [files]}}}})))
    }

    #[test]
    fn what_a_server_lacks_is_left_alone_until_it_has_it() {
        let mut ability = Ability::default();
        let (has, lacks) = (needs(&["a.ckpt"]), needs(&["b.ckpt"]));
        assert_eq!(ability.learn(&lacks), [], "nothing is known of it yet");
        ability.set_catalog(catalog(&["a.ckpt"]));
        assert_eq!((ability.can(lacks.id()), ability.can(has.id())), (Some(false), None));
        assert_eq!(ability.learn(&has), []);
        assert_eq!(ability.cannot(), HashSet::from([lacks.id()]));
        ability.set_catalog(catalog(&["a.ckpt", "b.ckpt"]));
        assert_eq!(ability.can(lacks.id()), Some(true));
    }

    #[test]
    fn what_needs_no_more_than_is_loaded_is_warm() {
        let mut ability = Ability::default();
        let (both, one, other, none) =
            (needs(&["a.ckpt", "b.ckpt"]), needs(&["a.ckpt"]), needs(&["c.ckpt"]), needs(&[]));
        for needs in [&both, &one, &other, &none] {
            ability.learn(needs);
        }
        ability.runs(&both);
        ability.runs(&none);
        assert_eq!(ability.warm(), HashSet::from([both.id(), one.id()]));
        assert_eq!(ability.loaded(), ["a.ckpt", "b.ckpt"]);
    }
}
