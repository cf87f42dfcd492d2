//! What a key may do beside what its role allows, and what bounds it.

use serde::{Deserialize, Serialize};

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
