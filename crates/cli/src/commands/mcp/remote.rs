//! A gateway as its HTTP API shows it to the holder of one key.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gateway_core::JobStatus;
use gateway_core::progress::Progress;
use gateway_mcp::{Form, Gateway, Job, JobPage, PageWish, Problem, WorkflowInfo};
use reqwest::header::RETRY_AFTER;
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use url::Url;

use super::events;
use crate::http::Remote;

/// How long a gateway that went away is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long until it is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// A gateway somewhere.
pub(super) struct Beyond {
    remote: Remote,
}

/// What `GET /workflows` says of one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: String,
    may_run: bool,
}

impl Beyond {
    pub(super) fn new(remote: Remote) -> Self {
        Self { remote }
    }

    /// Sends a request; an answer that refuses is its problem.
    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response, Problem> {
        let response = self.remote.request(method, path, body).await;
        let response = response.map_err(|failure| Problem::new("GATEWAY_UNREACHABLE", failure.to_string()))?;
        if response.status().is_success() { Ok(response) } else { Err(problem(response).await) }
    }

    async fn read<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<&Value>) -> Result<T, Problem> {
        let response = self.send(method, path, body).await?;
        response.json().await.map_err(|_error| strange("what it answered can't be read"))
    }

    /// The list `name` of the answer to `GET path`.
    async fn items<T: DeserializeOwned>(&self, path: &str, name: &str) -> Result<Vec<T>, Problem> {
        let mut answer: Map<String, Value> = self.read(Method::GET, path, None).await?;
        let items = answer.remove(name).unwrap_or_default();
        serde_json::from_value(items).map_err(|_error| strange("what it answered can't be read"))
    }
}

impl Gateway for Beyond {
    async fn workflows(&self) -> Result<Vec<WorkflowInfo>, Problem> {
        let listed: Vec<Listed> = self.items("/workflows", "items").await?;
        let allowed: HashSet<String> = listed.into_iter().filter(|each| each.may_run).map(|each| each.id).collect();
        let mut workflows: Vec<WorkflowInfo> = self.items("/capabilities", "workflows").await?;
        workflows.retain(|workflow| allowed.contains(&workflow.id));
        Ok(workflows)
    }

    async fn submit(&self, workflow: &str, inputs: Map<String, Value>) -> Result<String, Problem> {
        let body = json!({"workflowId": workflow, "inputs": inputs});
        let answer: Map<String, Value> = self.read(Method::POST, "/jobs", Some(&body)).await?;
        let id = answer.get("jobId").and_then(Value::as_str).map(str::to_owned);
        id.ok_or_else(|| strange("it names no job"))
    }

    async fn follow(&self, id: &str, progress: &watch::Sender<Progress>) -> Result<Option<Job>, Problem> {
        let mut heard = Instant::now();
        loop {
            match self.send(Method::GET, &format!("/jobs/{id}/events"), None).await {
                Ok(response) => {
                    if let Some(job) = events::until_end(response, progress).await {
                        return Ok(Some(job));
                    }
                    // A gateway that is restarted goes on with the job.
                    heard = Instant::now();
                    tokio::time::sleep(AGAIN).await;
                }
                Err(problem) if is_for_now(&problem) && heard.elapsed() < PATIENCE => {
                    tokio::time::sleep(problem.retry_after.map_or(AGAIN, Duration::from_secs)).await;
                }
                Err(problem) => return Err(problem),
            }
        }
    }

    async fn job(&self, id: &str) -> Result<Job, Problem> {
        self.read(Method::GET, &format!("/jobs/{}", segment(id)?), None).await
    }

    async fn jobs(&self, wish: PageWish) -> Result<JobPage, Problem> {
        self.read(Method::GET, &format!("/jobs?{}", query(wish)), None).await
    }

    async fn cancel(&self, id: &str) -> Result<JobStatus, Problem> {
        let answer: Map<String, Value> =
            self.read(Method::POST, &format!("/jobs/{}/cancel", segment(id)?), None).await?;
        let status = answer.get("status").and_then(Value::as_str).and_then(|status| status.parse().ok());
        status.ok_or_else(|| strange("it does not say where the job stands"))
    }

    async fn output(&self, job: &str, file: &str, form: Option<Form>) -> Result<Bytes, Problem> {
        let mut path = format!("/outputs/{}/{}", segment(job)?, segment(file)?);
        if let Some(Form { side }) = form {
            path.push_str(&format!("?format=webp&width={side}&height={side}"));
        }
        let response = self.send(Method::GET, &path, None).await?;
        response.bytes().await.map_err(|_error| strange("an output broke off"))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.remote.base())
    }
}

/// What asks for these jobs.
fn query(wish: PageWish) -> String {
    let PageWish { status, workflow_id, limit, cursor } = wish;
    let named = [
        ("status", status.map(|status| status.to_string())),
        ("workflowId", workflow_id),
        ("limit", limit.map(|limit| limit.to_string())),
        ("cursor", cursor),
    ];
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(named.into_iter().filter_map(|(name, value)| Some((name, value?))));
    query.finish()
}

/// Whether the same request may be answered in a moment.
fn is_for_now(problem: &Problem) -> bool {
    problem.retry_after.is_some() || problem.code == "GATEWAY_UNREACHABLE"
}

/// What an answer that refuses says.
async fn problem(response: Response) -> Problem {
    let (status, headers) = (response.status(), response.headers());
    let retry_after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let told: Option<Problem> = response.json().await.ok();
    let problem = told.unwrap_or_else(|| strange(&format!("it answered with status {}", status.as_u16())));
    let problem = Problem { retry_after, ..problem };
    match status {
        StatusCode::UNAUTHORIZED => {
            problem.recommend("whoever set this server up gives it a key: GATEWAY_API_KEY, or --api-key-file")
        }
        _ => problem,
    }
}

/// An answer that no gateway gives.
fn strange(what: &str) -> Problem {
    Problem::new("NO_GATEWAY", format!("what is called is no gateway, or one of another version: {what}"))
}

/// `text` as a segment of a path, where it can be one.
fn segment(text: &str) -> Result<String, Problem> {
    let mut url = Url::parse("http://gateway/").map_err(|_error| strange("no URL can be made"))?;
    if matches!(text, "" | "." | "..") {
        return Err(Problem::new("NOT_FOUND", "there is no such thing"));
    }
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.clear().push(text);
    }
    Ok(url.path().trim_start_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_id_stays_within_its_segment() {
        assert_eq!(segment("01a2-b").ok().as_deref(), Some("01a2-b"));
        for (text, wanted) in [("../keys", "..%2Fkeys"), ("a?b#c", "a%3Fb%23c"), ("x y", "x%20y")] {
            assert_eq!(segment(text).ok().as_deref(), Some(wanted));
        }
        for nothing in ["", ".", ".."] {
            assert!(segment(nothing).is_err(), "{nothing}");
        }
    }
}
