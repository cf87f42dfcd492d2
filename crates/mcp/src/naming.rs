//! Names of tools: that of a workflow is its id, unless it is a name of the server's own.

use std::borrow::Cow;

/// What a workflow's name begins with where its id is taken.
const PREFIX: &str = "workflow_";
const LIST_JOBS: &str = "list_jobs";
const JOB_STATUS: &str = "job_status";
const CANCEL_JOB: &str = "cancel_job";
/// The names of the tools that are no workflows.
pub(crate) const OWN: [&str; 3] = [LIST_JOBS, JOB_STATUS, CANCEL_JOB];

/// What a tool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    ListJobs,
    JobStatus,
    CancelJob,
    /// The workflow of this id.
    Workflow(&'a str),
}

/// What the tool `name` is.
pub(crate) fn target(name: &str) -> Target<'_> {
    match name {
        LIST_JOBS => Target::ListJobs,
        JOB_STATUS => Target::JobStatus,
        CANCEL_JOB => Target::CancelJob,
        name if is_taken(name) => Target::Workflow(name.strip_prefix(PREFIX).unwrap_or(name)),
        name => Target::Workflow(name),
    }
}

/// The name of the tool that is the workflow `id`. No two have the same.
pub(crate) fn name_of(id: &str) -> Cow<'_, str> {
    if is_taken(id) { Cow::Owned(format!("{PREFIX}{id}")) } else { Cow::Borrowed(id) }
}

/// Whether `id` is a name of the server's own, or what one could become.
fn is_taken(id: &str) -> bool {
    OWN.contains(&id.trim_start_matches(PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workflow_has_a_name_of_its_own_that_leads_back_to_it() {
        let ids = [
            "icon_512",
            "workflow_icon",
            "workflow_",
            "list_jobs",
            "workflow_list_jobs",
            "workflow_workflow_list_jobs",
            "job_status",
            "cancel_job",
            "list_jobs2",
        ];
        let mut names: Vec<_> = ids.iter().map(|id| name_of(id).into_owned()).collect();
        for (id, name) in ids.iter().zip(&names) {
            assert_eq!(target(name), Target::Workflow(id), "{name}");
            assert!(!OWN.contains(&name.as_str()), "{name}");
        }
        assert_eq!((names[0].as_str(), names[3].as_str()), ("icon_512", "workflow_list_jobs"));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), ids.len());
    }

    #[test]
    fn the_own_tools_keep_their_names() {
        let own = [Target::ListJobs, Target::JobStatus, Target::CancelJob];
        assert_eq!(OWN.map(target), own);
    }
}
