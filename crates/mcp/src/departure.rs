//! How a client goes away before its call is answered, and what becomes of the job then. Who says that it does not want
//! the answer cancels the job; who is merely gone leaves it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::RoleServer;
use rmcp::model::{ProtocolVersion, RequestId};
use rmcp::service::RequestContext;
use tokio_util::sync::CancellationToken;

/// Over what clients reach the server.
#[derive(Debug, Clone)]
pub(crate) enum Reach {
    /// Standard input and output of a process of the client's. It says which calls it gives up; the end of the input says
    /// nothing of them.
    Stdio(Arc<OpenCalls>),
    /// HTTP, where a connection that is closed is all that can be seen of it.
    Http,
}

/// The calls that are being answered, by the ids of their requests.
#[derive(Debug, Default)]
pub(crate) struct OpenCalls(Mutex<HashMap<RequestId, CancellationToken>>);

impl OpenCalls {
    fn lock(&self) -> MutexGuard<'_, HashMap<RequestId, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client does not want the answer to the request `id`.
    pub(crate) fn give_up(&self, id: &RequestId) {
        if let Some(token) = self.lock().get(id) {
            token.cancel();
        }
    }
}

/// What tells that the client of one call has gone.
pub(crate) struct Departure {
    token: CancellationToken,
    /// Whether that cancels the job.
    pub(crate) cancels: bool,
    open: Option<(Arc<OpenCalls>, RequestId)>,
}

impl Departure {
    /// That of the call in `context`.
    pub(crate) fn of(reach: &Reach, context: &RequestContext<RoleServer>) -> Self {
        match reach {
            Reach::Stdio(calls) => {
                let token = CancellationToken::new();
                calls.lock().insert(context.id.clone(), token.clone());
                Self { token, cancels: true, open: Some((Arc::clone(calls), context.id.clone())) }
            }
            Reach::Http => {
                let cancels = context.protocol_version().is_some_and(|version| closing_cancels(&version));
                Self { token: context.ct.clone(), cancels, open: None }
            }
        }
    }

    /// Returns once it has gone.
    pub(crate) async fn happens(&self) {
        self.token.cancelled().await;
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        if let Some((calls, id)) = &self.open {
            calls.lock().remove(id);
        }
    }
}

/// Whether closing the stream of an answer means that it is not wanted. Before that revision it means nothing: the
/// connection may have been lost.
fn closing_cancels(version: &ProtocolVersion) -> bool {
    version.as_str() >= ProtocolVersion::V_2026_07_28.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_a_stream_cancels_from_the_revision_on_that_says_so() {
        assert!(!closing_cancels(&ProtocolVersion::V_2025_03_26));
        assert!(!closing_cancels(&ProtocolVersion::V_2025_11_25));
        assert!(closing_cancels(&ProtocolVersion::V_2026_07_28));
    }
}
