//! The gateway as one caller of `/mcp` sees it: the functions of this crate, with that caller's rights.

use bytes::Bytes;
use gateway_core::JobStatus;
use gateway_core::progress::Progress;
use gateway_db::Filter;
use gateway_mcp::{Form, Gateway, Job, JobPage, PageWish, Problem, WorkflowInfo};
use gateway_media::Conversion;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::auth::Caller;
use crate::correlate::CorrelationId;
use crate::error::ApiError;
use crate::jobs::{self, Besides, Follower, Step, parse_id, request};
use crate::outputs::read_output;
use crate::state::ApiState;

/// This gateway, for one request of one caller.
pub(super) struct Within {
    pub(super) state: ApiState,
    pub(super) caller: Caller,
    pub(super) correlation: CorrelationId,
    /// Scheme and host under which the caller reaches it.
    pub(super) base: String,
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        Self {
            code: error.code.as_str().to_owned(),
            detail: error.detail,
            recommendation: error.recommendation,
            faults: error.faults,
            retry_after: error.retry_after.map(u64::from),
        }
    }
}

impl Within {
    /// Accepts a job as `POST /jobs` does; gives its id.
    async fn accept(&self, workflow: &str, inputs: Map<String, Value>) -> Result<String, ApiError> {
        let body = Map::from_iter([
            (String::from("workflowId"), json!(workflow)),
            (String::from("inputs"), Value::Object(inputs)),
        ]);
        let (request, faults) = request::read(body, self.state.parts.database.now());
        // An id that can't be one, and that of a graph that came with a job, name no workflow here.
        if faults.iter().any(|fault| fault.path == "/workflowId") {
            return Err(ApiError::workflow_not_found());
        }
        if !faults.is_empty() {
            return Err(ApiError::invalid(faults));
        }
        let (state, caller) = (&self.state, &self.caller);
        let submission = jobs::submit(state, caller, request, self.correlation.clone(), Besides::default()).await?;
        let answer = jobs::accept(state, caller, submission).await?;
        Ok(answer.job.to_string())
    }

    async fn find(&self, id: &str) -> Result<Job, ApiError> {
        read(&jobs::shown(&self.state, parse_id(id)?, self.caller.scope()).await?)
    }

    async fn page(&self, wish: PageWish) -> Result<JobPage, ApiError> {
        let filter = Filter { status: wish.status, workflow_id: wish.workflow_id, ..Filter::default() };
        let limit = wish.limit.map_or(jobs::DEFAULT_LIMIT, i64::from);
        let page = jobs::page(&self.state, self.caller.scope(), filter, limit, wish.cursor).await?;
        read(&serde_json::to_vec(&page).unwrap_or_default())
    }

    async fn stop(&self, id: &str) -> Result<JobStatus, ApiError> {
        let id = parse_id(id)?;
        let status = jobs::cancel_one(&self.state, id, self.caller.scope()).await?;
        tracing::info!(jobId = %id, "cancel requested");
        Ok(status)
    }
}

impl Gateway for Within {
    async fn workflows(&self) -> Result<Vec<WorkflowInfo>, Problem> {
        let workflows = self.state.parts.database.list_workflows().await.map_err(ApiError::from)?;
        let allowed = workflows.into_iter().filter(|workflow| self.caller.rights.may_run(&workflow.id));
        let info = allowed.map(|workflow| WorkflowInfo {
            id: workflow.id,
            name: workflow.name,
            description: workflow.description,
            input_schema: workflow.input_schema,
        });
        Ok(info.collect())
    }

    async fn submit(&self, workflow: &str, inputs: Map<String, Value>) -> Result<String, Problem> {
        Ok(self.accept(workflow, inputs).await?)
    }

    async fn follow(&self, id: &str, progress: &watch::Sender<Progress>) -> Result<Option<Job>, Problem> {
        let job = parse_id(id)?;
        let mut follower = Follower::new(&self.state, job);
        if let Some(now) = self.state.parts.broker.progress(job).await {
            progress.send_replace(now);
        }
        loop {
            match follower.next().await {
                Step::Progress(now) => {
                    progress.send_replace(now);
                }
                Step::Ended => return Ok(Some(self.find(id).await?)),
                Step::Stopping => return Ok(None),
            }
        }
    }

    async fn job(&self, id: &str) -> Result<Job, Problem> {
        Ok(self.find(id).await?)
    }

    async fn jobs(&self, wish: PageWish) -> Result<JobPage, Problem> {
        Ok(self.page(wish).await?)
    }

    async fn cancel(&self, id: &str) -> Result<JobStatus, Problem> {
        Ok(self.stop(id).await?)
    }

    async fn output(&self, job: &str, file: &str, form: Option<Form>) -> Result<Bytes, Problem> {
        let conversion = match form {
            None => None,
            Some(Form { side }) => {
                let conversion = Conversion::new(Some("webp"), None, Some(side), Some(side));
                Some(conversion.map_err(|_wrong| ApiError::fault("", "is no form of a picture"))?)
            }
        };
        Ok(read_output(&self.state, &self.caller, job, file, conversion).await?)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

/// Reads what the API itself has written.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| {
        tracing::error!(%error, "an answer of the API can't be read by its own server of MCP");
        ApiError::internal()
    })
}
