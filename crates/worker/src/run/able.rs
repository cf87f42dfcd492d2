//! Whether a server can run a job, before the job is claimed: its node classes and model files against what the server
//! has.

use gateway_broker::Entry;
use gateway_core::workflow::Needs;
use gateway_core::{JobStatus, Scope};

use crate::backend::Backend;
use crate::context::Context;

/// What was found; the entry knows its needs then.
pub(super) enum Verdict {
    /// It can, or nobody knows.
    Able(Entry),
    /// It lacks something.
    Unable(Entry),
}

/// Whether `backend` can run the job that `entry` hints at.
pub(super) async fn check(context: &Context, backend: &Backend, entry: Entry) -> Verdict {
    let known = entry.needs.and_then(|needs| backend.with_ability(|ability| ability.can(needs)));
    match known {
        Some(true) => return Verdict::Able(entry),
        Some(false) => return Verdict::Unable(entry),
        None => {}
    }
    let Some(needs) = needs_of(context, &entry).await else { return Verdict::Able(entry) };
    let missing = backend.with_ability(|ability| ability.learn(&needs));
    // Another offer is due: with what is loaded, or without what is lacking.
    backend.abilities.send_replace(());
    let entry = Entry { needs: Some(needs.id()), ..entry };
    if missing.is_empty() {
        return Verdict::Able(entry);
    }
    // Callers name model files.
    let shown = if context.parts.privacy { &[][..] } else { missing.as_slice() };
    let shown: Vec<String> = shown.iter().map(ToString::to_string).collect();
    tracing::info!(backend = backend.name(), jobId = %entry.job, missing = shown.join(", "), "left to another server");
    Verdict::Unable(entry)
}

/// What the job needs; `None` where that can't be told, which the run will say better.
async fn needs_of(context: &Context, entry: &Entry) -> Option<Needs> {
    let job = context.parts.database.find_job(entry.job, Scope::All).await.ok()??;
    // One with a prompt that may live is looked for, and one that is to be canceled is stopped, wherever it is taken.
    if job.status != JobStatus::Queued || job.cancel_requested || job.prompt_id.is_some() {
        return None;
    }
    let workflow = context.workflow(&job).await.ok()?.ok()?;
    Some(Needs::of(&workflow.render(&job.resolved).ok()?))
}
