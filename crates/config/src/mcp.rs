//! Tools for agents (MCP): what their calls are bounded by.

use std::time::Duration;

use crate::parse::Reader;

/// Tools for agents.
#[derive(Debug, Clone, Copy)]
pub struct McpSettings {
    /// How long a call waits for its job.
    pub wait: Duration,
    /// Most bytes of pictures in one result, before Base64.
    pub inline_bytes: u64,
}

pub(crate) fn read(reader: &mut Reader<'_>) -> McpSettings {
    McpSettings {
        wait: Duration::from_secs(reader.number("MCP_WAIT_SECONDS", 1, 21_600)),
        inline_bytes: reader.number("MCP_INLINE_BYTES", 0, 1_073_741_824),
    }
}
