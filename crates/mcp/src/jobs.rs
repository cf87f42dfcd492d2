//! The calls about jobs: a list, one of them, and its end.

use gateway_core::{ErrorCode, JobStatus};
use rmcp::model::{CallToolResult, ContentBlock, JsonObject, Tool, ToolAnnotations};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::gateway::{Gateway, Job, JobPage, PageWish, Problem};
use crate::naming::OWN;
use crate::run::refused;
use crate::server::Server;
use crate::words;

/// The tools that are no workflows.
pub(crate) fn tools() -> Vec<Tool> {
    let [list, status, cancel] = OWN;
    let look = || ToolAnnotations::new().read_only(true).open_world(false);
    let id = json!({"jobId": {"type": "string", "description": "The job, as a tool's result names it."}});
    vec![
        tool(
            list,
            "List jobs",
            "Your jobs, the newest first, as JSON.",
            json!({
                "status": {"type": "string", "enum": JobStatus::ALL, "description": "Those in this state."},
                "workflowId": {"type": "string", "description": "Those of this workflow."},
                "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
                "cursor": {"type": "string", "description": "nextCursor of the page before, with the same filters."},
            }),
            &[],
        )
        .annotate(look()),
        tool(
            status,
            "Show a job",
            "Where a job stands; once it has ended, its pictures or why it failed.",
            id.clone(),
            &["jobId"],
        )
        .annotate(look()),
        tool(cancel, "Cancel a job", "Ends a job that waits or runs.", id, &["jobId"])
            .annotate(ToolAnnotations::new().destructive(true).idempotent(true).open_world(false)),
    ]
}

fn tool(name: &'static str, title: &str, description: &'static str, properties: Value, required: &[&str]) -> Tool {
    let fields = [
        ("type", json!("object")),
        ("properties", properties),
        ("required", json!(required)),
        ("additionalProperties", json!(false)),
    ];
    let schema: JsonObject = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Tool::new(name, description, schema).with_title(title)
}

/// The argument of a call about one job.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct One {
    job_id: String,
}

/// A job in a list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    job_id: &'a str,
    workflow_id: &'a str,
    status: JobStatus,
    percent: u8,
    created_at: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn of(job: &'a Job) -> Self {
        Self {
            job_id: &job.job_id,
            workflow_id: &job.workflow_id,
            status: job.status,
            percent: job.progress.percent,
            created_at: &job.created_at,
            finished_at: job.finished_at.as_deref(),
            error: job.error.as_ref().map(|error| error.code.as_str()),
        }
    }
}

impl<G: Gateway> Server<G> {
    pub(crate) async fn list_jobs(&self, arguments: JsonObject) -> CallToolResult {
        match self.page(arguments).await {
            Ok(page) => {
                let items: Vec<Line<'_>> = page.items.iter().map(Line::of).collect();
                said(json!({"items": items, "nextCursor": page.next_cursor}).to_string())
            }
            Err(problem) => refused(&problem),
        }
    }

    async fn page(&self, arguments: JsonObject) -> Result<JobPage, Problem> {
        let wish: PageWish = read(arguments)?;
        if wish.limit.is_some_and(|limit| !(1..=100).contains(&limit)) {
            return Err(wrong("limit must be a whole number from 1 to 100"));
        }
        self.gateway.jobs(wish).await
    }

    pub(crate) async fn job_status(&self, arguments: JsonObject) -> CallToolResult {
        let job = match read::<One>(arguments) {
            Ok(one) => self.gateway.job(&one.job_id).await,
            Err(problem) => Err(problem),
        };
        match job {
            Ok(job) if job.status.is_ended() => {
                let mut result = self.ended(&job).await;
                // To be told of a failed job is no failure.
                result.is_error = Some(false);
                result
            }
            Ok(job) => said(words::of_open(&job)),
            Err(problem) => refused(&problem),
        }
    }

    pub(crate) async fn cancel_job(&self, arguments: JsonObject) -> CallToolResult {
        let One { job_id } = match read(arguments) {
            Ok(one) => one,
            Err(problem) => return refused(&problem),
        };
        match self.gateway.cancel(&job_id).await {
            Ok(JobStatus::Canceled) => said(format!("Job {job_id} is canceled.")),
            Ok(status) => said(format!("Job {job_id} is {status} and was asked to stop; job_status says when it has.")),
            Err(problem) => refused(&problem),
        }
    }
}

fn said(text: String) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

fn read<T: DeserializeOwned>(arguments: JsonObject) -> Result<T, Problem> {
    serde_json::from_value(Value::Object(arguments)).map_err(|error| wrong(&error.to_string()))
}

fn wrong(what: &str) -> Problem {
    Problem::new(ErrorCode::ValidationError.as_str(), format!("the arguments can't be used: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(value: Value) -> JsonObject {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn arguments_are_read_strictly() {
        let wish = json!({"status": "running", "workflowId": "w", "limit": 5, "cursor": "c"});
        let read_wish: PageWish = read(arguments(wish)).unwrap();
        let wanted = PageWish {
            status: Some(JobStatus::Running),
            workflow_id: Some("w".into()),
            limit: Some(5),
            cursor: Some("c".into()),
        };
        assert_eq!(read_wish, wanted);
        assert_eq!(read::<PageWish>(arguments(json!({}))).unwrap(), PageWish::default());
        for bad in [json!({"state": "running"}), json!({"status": "done"}), json!({"limit": -1}), json!({"limit": "9"})]
        {
            assert!(read::<PageWish>(arguments(bad.clone())).is_err(), "{bad}");
        }
        for bad in [json!({}), json!({"jobId": 7}), json!({"jobId": "a", "x": 1})] {
            assert!(read::<One>(arguments(bad.clone())).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_own_tools_have_schemas_of_objects() {
        let tools = tools();
        assert_eq!(tools.iter().map(|tool| tool.name.as_ref()).collect::<Vec<_>>(), OWN);
        for tool in tools {
            assert_eq!(tool.input_schema["type"], "object", "{}", tool.name);
            assert_eq!(tool.input_schema["additionalProperties"], false, "{}", tool.name);
        }
    }
}
