//! What a simulator is started with: address, profile, models, access rules and where files live.
//! Holds no behaviour of its own; what may change while it runs is in `Switches`.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::switches::Switches;

/// The release of ComfyUI a simulator behaves like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Profile {
    /// 0.3.40: mints its own prompt ids, interrupts globally, has no `/features`.
    V0_3_40,
    /// 0.3.64: the release of the recordings.
    #[default]
    V0_3_64,
    /// 0.3.70: adds `create_time`, hides secrets in the queue, history holds only what a run emitted.
    V0_3_70,
    /// January 2026: adds `GET /api/jobs`.
    V2026_01,
    /// 0.26: adds job cancellation, the UUID check and `missing_node_type`.
    V0_26,
    /// 0.40: adds media metadata, assets and event types older clients do not know.
    V0_40,
}

impl Profile {
    /// Every profile, oldest first.
    pub const ALL: [Self; 6] = [Self::V0_3_40, Self::V0_3_64, Self::V0_3_70, Self::V2026_01, Self::V0_26, Self::V0_40];

    /// The `comfyui_version` that `/system_stats` reports.
    #[must_use]
    pub fn comfyui_version(self) -> &'static str {
        match self {
            Self::V0_3_40 => "0.3.40",
            Self::V0_3_64 => "0.3.64",
            Self::V0_3_70 => "0.3.70",
            Self::V2026_01 => "0.9.2",
            Self::V0_26 => "0.26.0",
            Self::V0_40 => "0.40.0",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::V0_3_40 => "0.3.40",
            Self::V0_3_64 => "0.3.64",
            Self::V0_3_70 => "0.3.70",
            Self::V2026_01 => "2026-01",
            Self::V0_26 => "0.26",
            Self::V0_40 => "0.40",
        })
    }
}

/// The text given for a profile names none.
#[derive(Debug, thiserror::Error)]
#[error("unknown profile {given:?}; known are 0.3.40, 0.3.64, 0.3.70, 2026-01, 0.26 and 0.40")]
pub struct UnknownProfile {
    given: String,
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|profile| profile.to_string() == text);
        found.ok_or_else(|| UnknownProfile { given: text.to_owned() })
    }
}

/// How to start a simulator.
#[derive(Clone)]
pub struct SimConfig {
    /// Where to listen; port 0 takes a free one, which a restart keeps.
    pub listen: SocketAddr,
    /// The release to behave like.
    pub profile: Profile,
    /// The switches at the start.
    pub switches: Switches,
    /// The model files that `CheckpointLoaderSimple` offers.
    pub checkpoints: Vec<String>,
    /// Everything is served below this path: empty, or `/prefix` without a slash at the end.
    pub base_path: String,
    /// User name and password that every request must carry, as a proxy in front would ask for.
    pub basic_auth: Option<(String, String)>,
    /// Bearer token that every request must carry.
    pub bearer: Option<String>,
    /// Holds `input`, `output` and `temp`. None: memory, and a private temporary folder for what is large.
    pub data_dir: Option<PathBuf>,
    /// Decides the order of outputs and the names of temporary files.
    pub seed: u64,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            profile: Profile::default(),
            switches: Switches::default(),
            checkpoints: ["v1-5-random.safetensors", "sd_xl_base_1.0.safetensors", "v1-5-pruned-emaonly.safetensors"]
                .map(str::to_owned)
                .to_vec(),
            base_path: String::new(),
            basic_auth: None,
            bearer: None,
            data_dir: None,
            seed: 0,
        }
    }
}

impl Serialize for Profile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Profile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for SimConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SimConfig")
            .field("listen", &self.listen)
            .field("profile", &self.profile)
            .field("switches", &self.switches)
            .field("checkpoints", &self.checkpoints)
            .field("base_path", &self.base_path)
            .field("basic_auth", &self.basic_auth.as_ref().map(|_| "[REDACTED]"))
            .field("bearer", &self.bearer.as_ref().map(|_| "[REDACTED]"))
            .field("data_dir", &self.data_dir)
            .field("seed", &self.seed)
            .finish()
    }
}
