//! `POST /images/generations` and `POST /images/edits`: a job a picture, accepted together, and the answer when they
//! have ended.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use gateway_config::ImageModel;
use gateway_core::{ErrorCode, Fault};
use serde_json::{Map, Value};

use super::inputs::{Files, inputs};
use super::request::{self, Wish};
use super::{answer, form};
use crate::auth::Caller;
use crate::batches::{BatchRequest, accept_batch, known_batch};
use crate::body::read_object;
use crate::correlate::CorrelationId;
use crate::error::ApiError;
use crate::jobs::{JobRequest, check_workflow, idempotency};
use crate::query::Query;
use crate::state::ApiState;

/// Pictures of a prompt.
pub(crate) async fn generate_images(
    state: Data<ApiState>,
    caller: Caller,
    correlation: CorrelationId,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?.check()?;
    let body = read_object(&request, payload, state.parts.http.max_job_bytes).await?;
    let call = Call { state, caller, correlation, request };
    call.answer(body, Files::default()).await
}

/// Pictures of a picture and a prompt; with a mask, of its masked part.
pub(crate) async fn edit_images(
    state: Data<ApiState>,
    caller: Caller,
    correlation: CorrelationId,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?.check()?;
    let form::Form { fields, files } = form::read(&state, &caller, &request, payload).await?;
    if files.image.is_none() {
        return Err(ApiError::fault("/image", "is missing"));
    }
    let call = Call { state, caller, correlation, request };
    call.answer(fields, files).await
}

/// A request, and what it is answered with.
struct Call {
    state: Data<ApiState>,
    caller: Caller,
    correlation: CorrelationId,
    request: HttpRequest,
}

impl Call {
    async fn answer(self, mut body: Map<String, Value>, files: Files) -> Result<HttpResponse, ApiError> {
        let key = idempotency::key(&self.request, &body)?;
        if files.image.is_some() {
            body.retain(|name, _| !form::DIGESTS.contains(&name.as_str()));
        }
        let wish = request::read(body)?;
        let known = match &key {
            Some(key) => self.state.parts.database.find_request(&self.caller.owner, key).await?,
            None => None,
        };
        let ids = match known {
            Some(known) => known_batch(&self.state, known).await?.jobs,
            None => {
                let request = BatchRequest::equal(self.job(&wish, &files).await?, wish.count);
                accept_batch(&self.state, &self.caller, &self.correlation, request, key).await.map_err(as_sent)?.jobs
            }
        };
        answer::wait(&self.state, &ids).await?;
        let body = answer::body(&self.state, &self.request, &ids, &wish).await?;
        Ok(HttpResponse::Ok().json(body))
    }

    /// The job that each picture is.
    async fn job(&self, wish: &Wish, files: &Files) -> Result<JobRequest, ApiError> {
        let workflow_id = workflow(&self.state, wish, files)?;
        check_workflow(&self.caller, &workflow_id)?;
        let ready = self.state.workflow(&workflow_id).await.map_err(|error| match error.code {
            ErrorCode::WorkflowNotFound => unknown(&workflow_id),
            _ => error,
        })?;
        let inputs = inputs(&ready.workflow, wish, files).map_err(ApiError::invalid)?;
        let metadata = wish.user.iter().map(|user| (String::from("user"), Value::from(user.as_str()))).collect();
        Ok(JobRequest {
            workflow_id,
            inputs,
            metadata,
            cache: true,
            output: wish.output.clone(),
            ..JobRequest::default()
        })
    }
}

/// `error` with the places that faults of inputs have in a request of that API.
fn as_sent(error: ApiError) -> ApiError {
    if error.code != ErrorCode::ValidationError {
        return error;
    }
    let place = |path: &str| match path.strip_prefix("/inputs") {
        Some("/width" | "/height") => String::from("/size"),
        Some(input) => input.to_owned(),
        None => path.to_owned(),
    };
    let faults = error.faults.into_iter().map(|fault| Fault::new(place(&fault.path), fault.message)).collect();
    ApiError { recommendation: error.recommendation, ..ApiError::invalid(faults) }
}

/// The workflow behind the model that is asked for.
fn workflow(state: &ApiState, wish: &Wish, files: &Files) -> Result<String, ApiError> {
    let model = wish.model.as_deref();
    let ImageModel { generate, edit, inpaint } = state.parts.images.models.find(model).ok_or_else(|| match model {
        Some(model) => unknown(model),
        None => no_model("no model is named, and none is there for requests without"),
    })?;
    let (found, what) = match files {
        Files { image: None, .. } => (Some(generate), "generates pictures"),
        Files { mask: None, .. } => (edit, "edits pictures"),
        Files { .. } => (inpaint, "edits pictures with a mask"),
    };
    found.ok_or_else(|| {
        ApiError::fault("/model", format!("has no workflow that {what}; an operator names one in OPENAI_MODELS"))
    })
}

fn unknown(model: &str) -> ApiError {
    no_model(format!("there is no model or workflow {model:.64}"))
}

fn no_model(detail: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::WorkflowNotFound, detail).recommend(
        "name a workflow as the model (GET /workflows lists them); an operator maps others with OPENAI_MODELS",
    )
}
