//! What privacy mode asks of a worker: errors without ComfyUI's words, and no trace of jobs that have ended in files and
//! servers that it reaches. What the end of a job takes out of the database belongs to gateway-db.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_broker::BackendState;
use gateway_core::{ErrorCode, JobError, JobId, NodeRef, Scope, chain};
use serde_json::Value;

use crate::backend::Backend;
use crate::context::Context;

/// Between two rounds.
const INTERVAL: Duration = Duration::from_secs(5);
/// Between two looks into the histories of ComfyUI servers.
const HISTORY: Duration = Duration::from_secs(30);
/// Entries of a history that are looked at.
const LATEST: u32 = 64;
/// How often one of all workers has a database file written anew.
const ANEW: Duration = Duration::from_secs(3_600);
/// Records of an earlier run that are looked at together.
const PAGE: i64 = 500;

/// `error` as it may be kept and told.
pub(crate) fn said(context: &Context, error: JobError) -> JobError {
    if context.parts.privacy { without_words(error) } else { error }
}

/// An error without words that ComfyUI, or a graph's author, has put into it: they repeat values.
fn without_words(mut error: JobError) -> JobError {
    if matches!(error.code, ErrorCode::ComfyuiRejected | ErrorCode::ComfyuiNodeError | ErrorCode::ComfyuiOom) {
        error.message = sentence(error.code, error.node.as_ref());
    }
    for fault in &mut error.details {
        fault.message = String::from("the reason is not kept in privacy mode");
    }
    if let Some(node) = &mut error.node {
        node.title = None;
    }
    error
}

fn sentence(code: ErrorCode, node: Option<&NodeRef>) -> String {
    let Some(node) = node else { return code.title().to_owned() };
    let class = node.class_type.as_deref().unwrap_or("a node");
    match code {
        ErrorCode::ComfyuiRejected => format!("ComfyUI refused {class} (node {})", node.id),
        ErrorCode::ComfyuiOom => format!("{class} ran out of memory (node {})", node.id),
        _ => format!("{class} failed (node {})", node.id),
    }
}

/// Takes away what is left of jobs that have ended, until the worker drains.
pub(crate) async fn run(context: Arc<Context>) {
    redact_earlier(&context).await;
    let (mut anew, mut looked): (Option<Instant>, Option<Instant>) = (None, None);
    loop {
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = context.draining.cancelled() => return,
        }
        if is_due(looked, HISTORY) {
            looked = Some(Instant::now());
            for backend in context.fleet.get().into_iter().flatten() {
                forget_histories(&context, backend).await;
            }
        }
        // Among several processes one is enough.
        let whole = is_due(anew, ANEW) && context.parts.broker.turn("anew", ANEW / 2).await.unwrap_or(true);
        if whole {
            anew = Some(Instant::now());
        }
        scrub(&context, whole).await;
    }
}

fn is_due(last: Option<Instant>, period: Duration) -> bool {
    last.is_none_or(|last| last.elapsed() >= period)
}

/// Rids a database file of what its rows no longer say; with `whole` writes it anew.
pub(crate) async fn scrub(context: &Context, whole: bool) {
    if let Err(error) = context.parts.database.scrub(whole).await {
        tracing::warn!(%error, "the database file may still hold what its rows no longer say; that is tried again");
    }
}

/// Redacts what an earlier run left that did not.
async fn redact_earlier(context: &Context) {
    let (mut last, mut jobs) = (None, 0);
    loop {
        match context.parts.database.redact_earlier(last, PAGE).await {
            Ok(page) => {
                jobs += page.jobs;
                last = page.last;
                if last.is_none() {
                    break;
                }
            }
            Err(error) if error.is_transient() => tokio::time::sleep(INTERVAL).await,
            Err(error) => {
                return tracing::error!(%error, "what jobs of an earlier run were about stays in the database");
            }
        }
    }
    if jobs > 0 {
        tracing::info!(jobs, "what jobs of an earlier run were about is taken out of the database");
    }
}

/// Removes entries of jobs that have ended, and that nobody removed: a worker died, or ComfyUI was away.
async fn forget_histories(context: &Context, backend: &Backend) {
    if backend.state() != BackendState::Ready {
        return;
    }
    let entries = match backend.client.latest_in_history(LATEST).await {
        Ok(entries) => entries,
        Err(error) => {
            return tracing::debug!(backend = backend.name(), error = %chain(&error), "the history can't be looked through");
        }
    };
    for (prompt_id, extra) in entries {
        let Some(job) = job_of(&extra) else { continue };
        let ended = context.parts.database.find_job(job, Scope::All).await;
        if ended.is_ok_and(|job| job.is_some_and(|job| job.status.is_ended())) {
            backend.forget_history(prompt_id);
        }
    }
}

/// The job that a prompt was made for, as was left beside it.
fn job_of(extra: &Value) -> Option<JobId> {
    extra.pointer("/gateway/job")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use gateway_core::Fault;

    use super::*;

    fn error(code: ErrorCode, class: Option<&str>) -> JobError {
        let node = NodeRef {
            id: String::from("3"),
            class_type: class.map(str::to_owned),
            title: Some(String::from("secret")),
        };
        let mut error = JobError::new(code, "KSampler: secret is not a colour").recommend("mend it");
        error.details = vec![Fault::new("/3/inputs/text", "secret: no")];
        error.at_node(Some(node))
    }

    #[test]
    fn errors_of_comfyui_keep_their_code_their_node_and_their_advice_alone() {
        for (code, class, message) in [
            (ErrorCode::ComfyuiNodeError, Some("KSampler"), "KSampler failed (node 3)"),
            (ErrorCode::ComfyuiNodeError, None, "a node failed (node 3)"),
            (ErrorCode::ComfyuiOom, Some("VAEDecode"), "VAEDecode ran out of memory (node 3)"),
            (ErrorCode::ComfyuiRejected, Some("KSampler"), "ComfyUI refused KSampler (node 3)"),
        ] {
            let told = without_words(error(code, class));
            assert_eq!((told.code, told.message.as_str()), (code, message));
            assert_eq!((told.recommendation.as_deref(), told.details.len()), (Some("mend it"), 1));
            assert_eq!(told.details[0].path, "/3/inputs/text");
            assert!(!serde_json::to_string(&told).unwrap().contains("secret"), "{told:?}");
        }
    }

    #[test]
    fn an_error_without_a_node_is_a_sentence_and_words_of_ours_stay() {
        let told = without_words(JobError::new(ErrorCode::ComfyuiRejected, "secret"));
        assert_eq!(told.message, "ComfyUI refused the workflow");
        let ours = JobError::new(ErrorCode::ComfyuiTimeout, "the run took longer than 7 ms and was interrupted");
        assert_eq!(without_words(ours.clone()), ours);
    }

    #[test]
    fn prompts_of_others_are_told_from_ours() {
        let id = JobId::new(gateway_core::Timestamp::from_millis(1), [1; 10]);
        assert_eq!(job_of(&serde_json::json!({"gateway": {"job": id}})), Some(id));
        for other in [serde_json::json!(null), serde_json::json!({"gateway": {"job": 7}}), serde_json::json!({})] {
            assert_eq!(job_of(&other), None);
        }
    }
}
