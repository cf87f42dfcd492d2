//! From what a caller asks for to a job that can be accepted: inputs checked and resolved, its result named and looked
//! up, its callback allowed.

use gateway_config::CacheScope;
use gateway_core::cache::{Ingredients, key};
use gateway_core::ids::is_raw_workflow_id;
use gateway_core::record::{JobOptions, Output};
use gateway_core::webhook::Callback;
use gateway_core::{BatchId, ErrorCode, JobId, Owner};
use gateway_db::{Acceptance, NewJob, RequestKey};
use serde_json::{Map, Value};

use crate::auth::Caller;
use crate::correlate::CorrelationId;
use crate::error::ApiError;
use crate::files::take_in;
use crate::jobs::prepare::Prepared;
use crate::jobs::request::JobRequest;
use crate::jobs::{prepare, raw};
use crate::state::{ApiState, Ready};
use crate::stored::size_of;

/// What comes with a job that its request does not say.
#[derive(Debug, Default)]
pub(crate) struct Besides {
    /// The key of the request.
    pub(crate) request: Option<RequestKey>,
    /// The job that it repeats.
    pub(crate) retry_of: Option<JobId>,
    /// The batch that it is one of.
    pub(crate) batch: Option<BatchId>,
}

/// A job that can be accepted.
pub(crate) struct Submission {
    pub(crate) acceptance: Acceptance,
    /// Its outputs, where they were found in the cache.
    pub(crate) outputs: Vec<Output>,
}

/// Prepares the job that `request` asks for.
pub(crate) async fn submit(
    state: &ApiState,
    caller: &Caller,
    mut request: JobRequest,
    correlation: CorrelationId,
    besides: Besides,
) -> Result<Submission, ApiError> {
    let raw = is_raw_workflow_id(&request.workflow_id);
    if raw {
        raw::permit(state, caller)?;
    } else {
        check_workflow(caller, &request.workflow_id)?;
    }
    let ready = state.workflow(&request.workflow_id).await?;
    if raw {
        raw::check_classes(state, &ready).await?;
    }
    let catalogs = state.catalogs().await;
    let mut prepared = prepare(&ready.workflow, &request.inputs, &request.params, &state.rules(), &catalogs)?;
    if let Some(callback) = &request.callback {
        check_callback(state, callback).await?;
    }
    let JobRequest { inputs, params, .. } = &mut request;
    let uploads = take_in(state, caller, &ready.workflow, &mut prepared.resolved, inputs, params).await?;
    let owner = caller.owner.clone();
    let cache_key = cache_key(state, &request, &ready, &prepared, &owner);
    let (hit, outputs) = match &cache_key {
        // Who wants it later does not want it now.
        Some(key) if request.not_before.is_none() => look_up(state, key).await?,
        _ => (None, Vec::new()),
    };
    let job = NewJob {
        id: state.new_job_id(),
        owner,
        workflow_id: request.workflow_id,
        workflow_version: ready.record.summary.version,
        priority: request.priority,
        inputs: request.inputs,
        params: request.params,
        resolved: prepared.resolved,
        metadata: request.metadata,
        request_id: request.request_id,
        correlation_id: correlation.id().to_owned(),
        timeout_ms: request.timeout_ms,
        not_before: request.not_before,
        retry_of: besides.retry_of,
        nodes_total: i32::try_from(ready.workflow.node_count()).unwrap_or(i32::MAX),
        needs: Some(prepared.needs.id()),
        options: JobOptions {
            callback: request.callback,
            base64: request.output.base64,
            format: request.output.format,
            quality: request.output.quality,
            cache_key,
            joined: false,
            cached_from: None,
            batch: besides.batch,
            redacted: false,
            trace_parent: correlation.trace(),
        },
    };
    let acceptance = Acceptance { job, request: besides.request, hit, uploads };
    Ok(Submission { acceptance, outputs })
}

/// Whether `caller` may run the registered workflow `id`: its key may be for certain ones alone.
pub(crate) fn check_workflow(caller: &Caller, id: &str) -> Result<(), ApiError> {
    if caller.rights.may_run(id) {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::Forbidden, format!("this key may not run the workflow {id}")))
}

/// Whether `callback` may be called, as far as that can be told now.
pub(crate) async fn check_callback(state: &ApiState, callback: &Callback) -> Result<(), ApiError> {
    state.parts.callbacks.check(&callback.url).await.map_err(|refusal| {
        ApiError::new(ErrorCode::CallbackNotAllowed, format!("callbackUrl can't be used: {refusal}"))
            .recommend("name a public URL; an operator allows others with WEBHOOK_ALLOWED_DOMAINS")
    })
}

/// The name of the job's result; `None` where no other job's can serve.
fn cache_key(
    state: &ApiState,
    request: &JobRequest,
    ready: &Ready,
    prepared: &Prepared,
    owner: &Owner,
) -> Option<String> {
    if !request.cache || prepared.drew_seed {
        return None;
    }
    let cache = &state.parts.cache;
    cache.ttl?;
    let models: Vec<String> = prepared.needs.files().into_iter().map(str::to_owned).collect();
    let shape = format!(
        "{}/{}",
        request.output.format.as_deref().unwrap_or_default(),
        request.output.quality.map(|quality| quality.to_string()).unwrap_or_default()
    );
    // A file is its content, however it came.
    let content = |file: &Map<String, Value>| file.get("sha256").and_then(Value::as_str).unwrap_or_default().to_owned();
    let resolved = ready.workflow.name_files(&prepared.resolved, |_, file| content(file));
    Some(key(Ingredients {
        workflow_id: &request.workflow_id,
        content: &ready.content,
        resolved: &resolved,
        models: &models,
        shape: &shape,
        owner: (cache.scope == CacheScope::Owner).then(|| owner.as_str()),
    }))
}

/// The job and the outputs that are the result named `key`, where their files are still there.
async fn look_up(state: &ApiState, key: &str) -> Result<(Option<JobId>, Vec<Output>), ApiError> {
    let Some(result) = state.parts.database.find_result(key).await? else { return Ok((None, Vec::new())) };
    for output in &result.outputs {
        // A storage that can't be asked is an error: it may still have them.
        if size_of(&*state.parts.storage, &output.storage_key).await?.is_none() {
            tracing::info!(jobId = %result.job, "a cached result's files are gone: it is made anew");
            state.parts.database.forget_result(key, result.job).await?;
            return Ok((None, Vec::new()));
        }
    }
    Ok((Some(result.job), result.outputs))
}
