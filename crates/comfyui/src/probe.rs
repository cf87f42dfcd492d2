//! The probe: asks a server what it is and remembers what it can do.
//! Owns the order of those questions; what the answers mean is decided in `server_info`.

use crate::{
    client::ComfyClient,
    error::CallError,
    server_info::{Capabilities, ServerInfo},
    transport::BodyKind,
    version::ComfyVersion,
};

impl ComfyClient {
    /// Asks `/system_stats`, `/features` and `/api/jobs` and remembers the capabilities for later calls.
    /// Repeat it after each reconnect: the server may have been updated meanwhile.
    ///
    /// # Errors
    /// [`CallError`] if the server does not answer as a ComfyUI does. Missing newer routes are no error.
    pub async fn probe(&self) -> Result<ServerInfo, CallError> {
        let stats = self.system_stats().await?;
        // Optional: a proxy that keeps them back does not make the server useless.
        let features = self.features().await.or_else(|error| absent(error, None))?;
        let jobs_api = self.has_jobs_api().await.or_else(|error| absent(error, false))?;
        let version = stats.comfyui_version.as_deref().and_then(ComfyVersion::parse);
        let capabilities = Capabilities::decide(version, features.as_ref(), jobs_api);
        self.remember(capabilities);
        Ok(ServerInfo { version_text: stats.comfyui_version.clone(), version, stats, capabilities })
    }

    /// The remembered capabilities, probing first if there are none.
    pub(crate) async fn known_capabilities(&self) -> Result<Capabilities, CallError> {
        match self.capabilities() {
            Some(capabilities) => Ok(capabilities),
            None => Ok(self.probe().await?.capabilities),
        }
    }

    async fn has_jobs_api(&self) -> Result<bool, CallError> {
        match self.transport().get(&["api", "jobs"], &[("limit", "1")]).await {
            Ok(answer) => Ok(answer.body == BodyKind::Json),
            // One unreadable job in the history makes the route fail with 500, which still shows that it exists.
            Err(error) => match error.status() {
                Some(500) => Ok(true),
                Some(400..=499) => Ok(false),
                _ => Err(error),
            },
        }
    }
}

/// `otherwise`, where something answered in place of an optional route; the error, where nothing did.
fn absent<T>(error: CallError, otherwise: T) -> Result<T, CallError> {
    match error {
        CallError::Status { .. } | CallError::Misconfigured { .. } | CallError::Malformed { .. } => Ok(otherwise),
        error => Err(error),
    }
}
