//! The call of a workflow: a job is submitted, followed, and answered with when it ends, or when it has been waited for as
//! long as calls may take.

use rmcp::RoleServer;
use rmcp::model::{CallToolResult, ContentBlock, ErrorData, JsonObject};
use rmcp::service::RequestContext;
use tokio::sync::watch;

use crate::departure::Departure;
use crate::gateway::{Gateway, Job, Problem};
use crate::server::Server;
use crate::{pictures, progress, words};
use gateway_core::progress::Progress;
use gateway_core::{ErrorCode, JobStatus};

impl<G: Gateway> Server<G> {
    /// Runs `workflow` with these inputs.
    pub(crate) async fn run(
        &self,
        workflow: &str,
        inputs: JsonObject,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let departure = Departure::of(&self.reach, context);
        let id = match self.gateway.submit(workflow, inputs).await {
            Ok(id) => id,
            Err(problem) if problem.code == ErrorCode::WorkflowNotFound.as_str() => {
                return Err(ErrorData::invalid_params("there is no such tool; tools/list names those there are", None));
            }
            Err(problem) => return Ok(refused(&problem)),
        };
        let (sender, receiver) = watch::channel(Progress::default());
        let token = context.meta.get_progress_token();
        tokio::select! {
            // What there is to be told is told before the end of the job is.
            biased;
            never = progress::tell(&context.peer, token, receiver) => match never {},
            followed = self.gateway.follow(&id, &sender) => Ok(self.followed(&id, followed).await),
            () = departure.happens() => Ok(self.given_up(&id, departure.cancels).await),
            () = tokio::time::sleep(self.limits.wait) => {
                let why = format!("it has been waited for {} s", self.limits.wait.as_secs());
                Ok(CallToolResult::success(vec![ContentBlock::text(words::of_left(&id, &why))]))
            }
        }
    }

    async fn followed(&self, id: &str, followed: Result<Option<Job>, Problem>) -> CallToolResult {
        match followed {
            Ok(Some(job)) => self.ended(&job).await,
            Ok(None) => {
                let text = words::of_left(id, "the gateway is about to stop");
                CallToolResult::success(vec![ContentBlock::text(text)])
            }
            Err(problem) => {
                let text = words::of_left(id, "but it can't be followed any more");
                CallToolResult::error(vec![ContentBlock::text(format!("{}\n{text}", words::of_problem(&problem)))])
            }
        }
    }

    /// The result of a job that has ended.
    pub(crate) async fn ended(&self, job: &Job) -> CallToolResult {
        match job.status {
            JobStatus::Succeeded => {
                CallToolResult::success(pictures::content(&*self.gateway, job, self.limits.inline_bytes).await)
            }
            _ => CallToolResult::error(vec![ContentBlock::text(words::of_lost(job))]),
        }
    }

    /// The client has gone. Nobody reads what this gives, in most cases.
    async fn given_up(&self, id: &str, cancels: bool) -> CallToolResult {
        if !cancels {
            tracing::debug!(jobId = id, "the client of a call has gone; its job goes on");
            return CallToolResult::success(vec![ContentBlock::text(words::of_left(id, "the connection was closed"))]);
        }
        match self.gateway.cancel(id).await {
            Ok(_status) => {
                tracing::info!(jobId = id, "the client gave its call up: cancel requested");
                CallToolResult::error(vec![ContentBlock::text(format!("Job {id} is canceled."))])
            }
            Err(problem) => {
                tracing::debug!(jobId = id, code = problem.code, "the client gave its call up; its job stays");
                refused(&problem)
            }
        }
    }
}

/// What was not done.
pub(crate) fn refused(problem: &Problem) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(words::of_problem(problem))])
}
