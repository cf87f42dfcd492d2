//! The client handle and its plain information calls.
//! Owns what a client remembers about its server; calls with rules of their own live in their own modules.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use reqwest::header::DATE;
use serde_json::{Value, json};

use crate::{
    config::{ClientConfig, ConfigError},
    error::CallError,
    server_info::{Capabilities, Features, SystemStats},
    transport::{Transport, header_text},
};

/// A handle to one ComfyUI server. Clones share connections and what was learnt about the server.
#[derive(Clone)]
pub struct ComfyClient {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Transport,
    capabilities: RwLock<Option<Capabilities>>,
}

impl fmt::Debug for ComfyClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ComfyClient")
            .field("url", &self.display_url())
            .field("capabilities", &self.capabilities())
            .finish()
    }
}

impl ComfyClient {
    /// A client for the configured server. Connects on first use.
    ///
    /// # Errors
    /// [`ConfigError`] if the address or a header cannot be used.
    pub fn new(config: ClientConfig) -> Result<Self, ConfigError> {
        let transport = Transport::new(config)?;
        Ok(Self { inner: Arc::new(Inner { transport, capabilities: RwLock::new(None) }) })
    }

    /// The server's address without credentials, fit for logs.
    pub fn display_url(&self) -> &str {
        self.inner.transport.display_url()
    }

    /// What the last probe found the server capable of; `None` before the first one.
    pub fn capabilities(&self) -> Option<Capabilities> {
        *self.inner.capabilities.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.inner.transport
    }

    pub(crate) fn remember(&self, capabilities: Capabilities) {
        *self.inner.capabilities.write().unwrap_or_else(PoisonError::into_inner) = Some(capabilities);
    }

    pub(crate) fn forget_jobs_cancel(&self) {
        let mut known = self.inner.capabilities.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(capabilities) = known.as_mut() {
            capabilities.jobs_cancel = false;
        }
    }

    /// `GET /system_stats`: version, machine and devices.
    ///
    /// # Errors
    /// [`CallError`] as for every call.
    pub async fn system_stats(&self) -> Result<SystemStats, CallError> {
        let value: Value = self.transport().get_json("GET /system_stats", &["system_stats"]).await?;
        if !value.get("system").is_some_and(Value::is_object) {
            let reason = "there is no object \"system\"".to_owned();
            return Err(CallError::Malformed { operation: "GET /system_stats", reason });
        }
        Ok(SystemStats::from_value(&value))
    }

    /// The time that the server gives its answers, as HTTP writes it; `None` where it gives none.
    ///
    /// # Errors
    /// [`CallError`] as for every call.
    pub async fn date(&self) -> Result<Option<String>, CallError> {
        let answer = self.transport().get(&["system_stats"], &[]).await?;
        Ok(header_text(answer.response.headers(), &DATE))
    }

    /// `GET /features`; `None` on servers that do not have the route.
    ///
    /// # Errors
    /// [`CallError`] as for every call.
    pub async fn features(&self) -> Result<Option<Features>, CallError> {
        match self.transport().get_json("GET /features", &["features"]).await {
            Ok(value) => Ok(Some(Features::from_value(value))),
            Err(error) if matches!(error.status(), Some(404 | 405)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `GET /object_info`: every node class. Large, and slow on servers with many custom nodes.
    ///
    /// # Errors
    /// [`CallError`] as for every call.
    pub async fn object_info(&self) -> Result<Value, CallError> {
        self.transport().get_json("GET /object_info", &["object_info"]).await
    }

    /// `GET /object_info/{class}`: the description of one node class; `None` if the server lacks it.
    ///
    /// # Errors
    /// [`CallError`] as for every call.
    pub async fn object_info_for(&self, class: &str) -> Result<Option<Value>, CallError> {
        let mut answer: Value = self.transport().get_json("GET /object_info", &["object_info", class]).await?;
        Ok(answer.get_mut(class).map(Value::take))
    }

    /// `GET /models/{folder}`: the file names in one model folder. An unknown folder is a 404.
    ///
    /// # Errors
    /// [`CallError`] as for every call.
    pub async fn models(&self, folder: &str) -> Result<Vec<String>, CallError> {
        self.transport().get_json("GET /models", &["models", folder]).await
    }

    /// `POST /free`: unload models, or clear the node cache too. Takes effect after the running prompt, without a signal.
    ///
    /// # Errors
    /// [`CallError`] as for every call.
    pub async fn free(&self, unload_models: bool, free_memory: bool) -> Result<(), CallError> {
        let body = json!({"unload_models": unload_models, "free_memory": free_memory});
        self.transport().post(&["free"], &body).await.map(drop)
    }
}
