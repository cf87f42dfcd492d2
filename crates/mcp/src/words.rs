//! What a model reads: of jobs, of problems, of outputs. Short sentences, one a line.

use gateway_core::JobStatus;
use gateway_core::progress::Progress;

use crate::gateway::{Job, Output, Problem};

/// How far a job is, in a line.
pub(crate) fn of_progress(progress: &Progress) -> String {
    let mut line = match &progress.node_title {
        Some(title) => title.clone(),
        None if progress.percent == 0 => String::from("waiting"),
        None => String::from("running"),
    };
    if let (Some(step), Some(steps)) = (progress.step, progress.steps) {
        line.push_str(&format!(", step {step} of {steps}"));
    }
    if let Some(seconds) = progress.eta_seconds {
        line.push_str(&format!(", about {seconds} s left"));
    }
    line
}

/// Why something was not done, and what to do.
pub(crate) fn of_problem(problem: &Problem) -> String {
    let mut lines = match problem.faults.as_slice() {
        [] => vec![format!("{}: {}", problem.code, problem.detail)],
        faults => {
            let mut lines = vec![format!("{}: the arguments can't be used.", problem.code)];
            // What is an input to the HTTP API is an argument here.
            let name = |path: &str| path.strip_prefix("/inputs/").unwrap_or(path).to_owned();
            lines.extend(faults.iter().map(|fault| format!("{}: {}", name(&fault.path), fault.message)));
            lines
        }
    };
    if let Some(recommendation) = &problem.recommendation {
        lines.push(format!("What to do: {recommendation}."));
    }
    if let Some(seconds) = problem.retry_after {
        lines.push(format!("Try again in {seconds} s."));
    }
    lines.join("\n")
}

/// A job that has not ended.
pub(crate) fn of_open(job: &Job) -> String {
    let mut lines = vec![match (job.status, job.position) {
        (JobStatus::Queued, Some(position)) => format!("Job {} waits, at place {position}.", job.job_id),
        (JobStatus::Queued, None) => format!("Job {} waits.", job.job_id),
        _ => format!("Job {} runs: {} %, {}.", job.job_id, job.progress.percent, of_progress(&job.progress)),
    }];
    if !job.waiting_for.is_empty() {
        lines.push(format!("No ComfyUI server has what it needs: {}.", job.waiting_for.join(", ")));
    }
    lines.join("\n")
}

/// A job that goes on although its call ends.
pub(crate) fn of_left(id: &str, why: &str) -> String {
    format!("Job {id} goes on: {why}. Ask job_status for it; cancel_job ends it.")
}

/// A job that was canceled, or failed.
pub(crate) fn of_lost(job: &Job) -> String {
    let Some(error) = &job.error else { return format!("Job {} is {}.", job.job_id, job.status) };
    let mut lines = vec![format!("Job {} {}: {}: {}", job.job_id, job.status, error.code, error.message)];
    if let Some(recommendation) = &error.recommendation {
        lines.push(format!("What to do: {recommendation}."));
    }
    lines.join("\n")
}

/// A job that has succeeded: its seed, where it has one, and a line an output with its address as `url` makes it.
pub(crate) fn of_success<'a>(job: &Job, outputs: impl Iterator<Item = (&'a Output, &'static str, String)>) -> String {
    let mut lines = vec![match job.resolved_inputs.get("seed").and_then(serde_json::Value::as_u64) {
        Some(seed) => format!("Job {} succeeded with seed {seed}.", job.job_id),
        None => format!("Job {} succeeded.", job.job_id),
    }];
    for (output, note, url) in outputs {
        let size = match (output.width, output.height) {
            (Some(width), Some(height)) => format!("{}, {width} x {height}", output.content_type),
            _ => output.content_type.clone(),
        };
        match &output.removed_at {
            Some(removed) => lines.push(format!("{} ({size}): removed at {removed} because it was old", output.file)),
            None => lines.push(format!("{} ({size}, {} bytes{note}): {url}", output.file, output.size)),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use gateway_core::Fault;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_problem_names_each_argument_and_what_to_do() {
        let faults = vec![Fault::new("/inputs/steps", "must be between 1 and 150"), Fault::new("", "is odd")];
        let problem = Problem { faults, ..Problem::new("VALIDATION_ERROR", "2 faults") }.recommend("mend them");
        let wanted = "VALIDATION_ERROR: the arguments can't be used.\nsteps: must be between 1 and 150\n: is odd\n\
                      What to do: mend them.";
        assert_eq!(of_problem(&problem), wanted);
        let full = Problem { retry_after: Some(7), ..Problem::new("QUEUE_FULL", "9 jobs wait") };
        assert_eq!(of_problem(&full), "QUEUE_FULL: 9 jobs wait\nTry again in 7 s.");
    }

    #[test]
    fn progress_says_node_step_and_time() {
        assert_eq!(of_progress(&Progress::default()), "waiting");
        let progress = Progress {
            percent: 40,
            node_title: Some("Sample".into()),
            step: Some(2),
            steps: Some(5),
            eta_seconds: Some(3),
            ..Progress::default()
        };
        assert_eq!(of_progress(&progress), "Sample, step 2 of 5, about 3 s left");
    }

    #[test]
    fn a_job_that_waits_says_for_what() {
        let job: Job = serde_json::from_value(json!({
            "jobId": "j", "workflowId": "w", "status": "queued", "createdAt": "2026-11-24T00:00:00.000Z", "position": 3,
            "progress": {"percent": 0, "nodesDone": 0, "nodesTotal": 2}, "waitingFor": ["model a.safetensors"],
            "metadata": {}, "inputs": {},
        }))
        .unwrap();
        assert_eq!(
            of_open(&job),
            "Job j waits, at place 3.\nNo ComfyUI server has what it needs: model a.safetensors."
        );
    }
}
