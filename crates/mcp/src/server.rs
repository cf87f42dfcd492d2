//! Answers the requests of the protocol: who this is, which tools there are, and calls of them.

use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CancelledNotificationParam, ErrorData, Implementation, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::{NotificationContext, RequestContext};
use rmcp::{RoleServer, ServerHandler};

use crate::departure::{OpenCalls, Reach};
use crate::gateway::{Gateway, WorkflowInfo};
use crate::naming::{self, Target};
use crate::{jobs, schema, words};

const INSTRUCTIONS: &str = "Each tool but list_jobs, job_status and cancel_job is a workflow that makes pictures or other files: \
a call submits a job and waits for its end. A result has the pictures, smaller where they are large, and the address of each file \
as it is; addresses ask for the same credentials as this server. Where a call ends before its job, job_status has the result later. \
The same seed with the same inputs makes the same picture.";
const FILES: &str = "Files are given by address, in Base64, or by the id of an upload or of an earlier job.";

/// What calls are bounded by.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a call waits for its job.
    pub wait: Duration,
    /// Most bytes of pictures in one result, before Base64.
    pub inline_bytes: u64,
}

/// A server of MCP over a gateway. Cheap to clone.
pub struct Server<G> {
    pub(crate) gateway: Arc<G>,
    pub(crate) limits: Limits,
    pub(crate) reach: Reach,
}

impl<G> Clone for Server<G> {
    fn clone(&self) -> Self {
        Self { gateway: Arc::clone(&self.gateway), limits: self.limits, reach: self.reach.clone() }
    }
}

impl<G: Gateway> Server<G> {
    /// A server for the one client that has started this process.
    pub fn for_stdio(gateway: G, limits: Limits) -> Self {
        Self { gateway: Arc::new(gateway), limits, reach: Reach::Stdio(Arc::new(OpenCalls::default())) }
    }

    /// A server for one request over HTTP, of the caller whose gateway it is.
    pub fn for_request(gateway: G, limits: Limits) -> Self {
        Self { gateway: Arc::new(gateway), limits, reach: Reach::Http }
    }
}

impl<G: Gateway> ServerHandler for Server<G> {
    fn get_info(&self) -> ServerConfig {
        let server = Implementation::new("comfyui-gateway", env!("CARGO_PKG_VERSION")).with_title("ComfyUI Gateway");
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(server)
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let workflows = self.gateway.workflows().await;
        let workflows = workflows.map_err(|problem| ErrorData::internal_error(words::of_problem(&problem), None))?;
        let tools = workflows.iter().map(tool).chain(jobs::tools()).collect();
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = call.arguments.unwrap_or_default();
        let result = match naming::target(&call.name) {
            Target::ListJobs => self.list_jobs(arguments).await,
            Target::JobStatus => self.job_status(arguments).await,
            Target::CancelJob => self.cancel_job(arguments).await,
            Target::Workflow(id) => self.run(id, arguments, &context).await?,
        };
        Ok(result.into())
    }

    async fn on_cancelled(&self, cancelled: CancelledNotificationParam, _context: NotificationContext<RoleServer>) {
        if let (Reach::Stdio(calls), Some(id)) = (&self.reach, &cancelled.request_id) {
            calls.give_up(id);
        }
    }
}

/// A workflow as a tool.
fn tool(workflow: &WorkflowInfo) -> Tool {
    let mut description = match workflow.description.as_str() {
        "" => format!("Runs the workflow {}.", workflow.name),
        text => text.to_owned(),
    };
    if schema::takes_files(&workflow.input_schema) {
        description = format!("{description} {FILES}");
    }
    let annotations = ToolAnnotations::new().read_only(false).destructive(false).idempotent(false).open_world(false);
    let name = naming::name_of(&workflow.id).into_owned();
    Tool::new(name, description, schema::of_arguments(&workflow.input_schema))
        .with_title(workflow.name.as_str())
        .annotate(annotations)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_workflow_is_a_tool_that_says_how_to_give_files() {
        let workflow = |description: &str, format: &str| WorkflowInfo {
            id: "job_status".into(),
            name: "Status".into(),
            description: description.into(),
            input_schema: json!({"type": "object", "properties": {"a": {"type": "object", "format": format}}}),
        };
        let plain = tool(&workflow("", "none"));
        assert_eq!((plain.name.as_ref(), plain.title.as_deref()), ("workflow_job_status", Some("Status")));
        assert_eq!(plain.description.as_deref(), Some("Runs the workflow Status."));
        let with_file = tool(&workflow("A picture from a picture.", "image"));
        assert_eq!(with_file.description, Some(format!("A picture from a picture. {FILES}").into()));
    }
}
