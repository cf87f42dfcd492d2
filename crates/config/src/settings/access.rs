//! Who may do what, and from where: keys, tokens, limits, origins, encryption and graphs that are not registered.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gateway_auth::address::TrustedProxies;
use gateway_auth::jwt::Verifier;
use gateway_auth::key::ConfiguredKeys;
use secrecy::SecretString;

/// Who may do what.
#[derive(Debug, Clone)]
pub struct AccessSettings {
    /// Keys that are configured, beside those in the database.
    pub keys: ConfiguredKeys,
    /// How tokens are checked; `None`: there are none.
    pub tokens: Option<Arc<Verifier>>,
    /// What commands show to a running gateway.
    pub client_key: Option<SecretString>,
    /// Proxies whose word on a client's address counts.
    pub proxies: TrustedProxies,
    /// Requests that a key, or an address without one, may send.
    pub rate: RateSettings,
    /// Jobs of one owner that may wait.
    pub owner_queue: Option<u64>,
    /// Pages of which origins may call.
    pub origins: Origins,
    /// Encryption; `None`: somebody in front of the gateway does it.
    pub tls: Option<TlsSettings>,
    /// Graphs that are not registered.
    pub raw: RawSettings,
    /// Whether nothing of what jobs are about is kept longer than they run, nor told anybody else.
    pub privacy: bool,
}

impl AccessSettings {
    /// Whether callers are told apart by what is configured, and not by keys in the database alone.
    pub fn knows_callers(&self) -> bool {
        !self.keys.is_empty() || self.tokens.is_some()
    }
}

/// Requests that a key, or an address without one, may send.
#[derive(Debug, Clone, Copy)]
pub struct RateSettings {
    /// In each window, and at once.
    pub requests: u32,
    /// The window.
    pub window: Duration,
}

/// Pages of which origins may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Any; never with a browser's credentials.
    Any,
    /// These.
    Listed(Vec<String>),
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// The certificate with its chain.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// Graphs that are not registered.
#[derive(Debug, Clone)]
pub struct RawSettings {
    /// Whether those who may can run them.
    pub enabled: bool,
    /// The node classes that they may have; empty: those of registered workflows.
    pub allowed: Vec<String>,
    /// Node classes that they may not have, whatever is allowed.
    pub denied: Vec<String>,
}
