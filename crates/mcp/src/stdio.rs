//! Standard input and output as a transport: for a process that a client has started. Nothing else may write to standard
//! output meanwhile.

use rmcp::ServiceExt as _;
use rmcp::service::{QuitReason, ServerInitializeError};

use crate::gateway::Gateway;
use crate::server::Server;

/// Why it was not served to the end of the input.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// What came first was no beginning.
    #[error("what came on standard input is not how a client of MCP begins")]
    NoBeginning,
    /// Standard output can't be written.
    #[error("standard output can't be written")]
    Unwritable,
    /// A fault of the server's own.
    #[error("the server failed; its log says why")]
    Failed,
}

/// Serves until the input ends. Jobs that are under way then go on in the gateway.
///
/// # Errors
/// [`ServeError`]
pub async fn serve_stdio<G: Gateway>(server: Server<G>) -> Result<(), ServeError> {
    let running = match server.serve(rmcp::transport::stdio()).await {
        Ok(running) => running,
        // The client has gone before it began.
        Err(ServerInitializeError::ConnectionClosed(_) | ServerInitializeError::Cancelled) => return Ok(()),
        Err(ServerInitializeError::TransportError { .. }) => return Err(ServeError::Unwritable),
        Err(_) => return Err(ServeError::NoBeginning),
    };
    match running.waiting().await {
        Ok(QuitReason::Closed | QuitReason::Cancelled) => Ok(()),
        Ok(_) | Err(_) => Err(ServeError::Failed),
    }
}
