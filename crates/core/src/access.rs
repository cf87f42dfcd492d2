//! What a key may do beside what its role allows, and what bounds it; how owners share the servers.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::Owner;

/// Own limits and rights of a key; what is not set is as for all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct KeyRights {
    /// Requests in each window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<u32>,
    /// Jobs of its owner that may wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_limit: Option<u32>,
    /// Jobs of its owner that may run at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running_limit: Option<u32>,
    /// How much its owner gets where others wait, too, up to [`MAX_WEIGHT`]; 1 where it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// The workflows that it may run; all where there is no list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflows: Option<Vec<String>>,
    /// Whether it may run graphs that are not registered.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub raw: bool,
}

impl KeyRights {
    /// Whether it may run the workflow `id`.
    pub fn may_run(&self, id: &str) -> bool {
        self.workflows.as_ref().is_none_or(|workflows| workflows.iter().any(|workflow| workflow == id))
    }
}

/// The greatest weight.
pub const MAX_WEIGHT: u32 = 100;
/// The most workflows that a key may be bound to.
pub const MAX_WORKFLOWS: usize = 100;

/// What one owner gets of the servers, as far as its keys say so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnTerms {
    /// Jobs of it that may run at once.
    pub running: Option<u32>,
    /// How much it gets where others wait, too.
    pub weight: Option<u32>,
}

/// How owners share the servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Jobs of one owner that may run at once; `None`: as many as there is room for.
    pub running: Option<u32>,
    /// Owners with terms of their own.
    pub own: HashMap<Owner, OwnTerms>,
}

impl Terms {
    /// How many jobs of `owner` may run at once, where that is bounded.
    pub fn running_limit(&self, owner: &Owner) -> Option<u32> {
        self.own.get(owner).and_then(|own| own.running).or(self.running).filter(|limit| *limit > 0)
    }

    /// How much `owner` gets where others wait, too.
    pub fn weight(&self, owner: &Owner) -> u32 {
        self.own.get(owner).and_then(|own| own.weight).unwrap_or(1).clamp(1, MAX_WEIGHT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_owner_has_of_its_own_goes_before_what_is_for_all() {
        let (one, other) = (Owner::new("one"), Owner::new("other"));
        let own = HashMap::from([(one.clone(), OwnTerms { running: Some(3), weight: Some(0) })]);
        let terms = Terms { running: Some(2), own };
        assert_eq!((terms.running_limit(&one), terms.running_limit(&other)), (Some(3), Some(2)));
        assert_eq!((terms.weight(&one), terms.weight(&other)), (1, 1));
        assert_eq!(Terms::default().running_limit(&one), None);
    }

    #[test]
    fn rights_that_are_not_set_are_not_written() {
        let rights = KeyRights { running_limit: Some(1), weight: Some(3), ..KeyRights::default() };
        assert_eq!(serde_json::to_string(&rights).unwrap(), r#"{"runningLimit":1,"weight":3}"#);
        assert_eq!(serde_json::to_string(&KeyRights::default()).unwrap(), "{}");
    }
}
