//! Turns what went wrong into the error that a job's owner reads: a code, a sentence, what to do about it.

use comfyui_client::{CallError, ExecutionFailure, FailureClass, PromptFault, Refusal, RefusalReason};
use gateway_core::workflow::Workflow;
use gateway_core::{ErrorCode, Fault, JobError, NodeRef};
use gateway_media::StripError;
use gateway_storage::StorageError;

pub(crate) fn workflow_gone() -> JobError {
    JobError::new(ErrorCode::WorkflowNotFound, "the workflow's version is gone from the database")
        .recommend("register the workflow and submit the job again")
}

pub(crate) fn invalid_graph(faults: Vec<Fault>) -> JobError {
    let mut error = JobError::new(ErrorCode::ValidationError, "the workflow can't be rendered with these inputs")
        .recommend("check the inputs with POST /workflows/{id}/validate");
    error.details = faults;
    error
}

/// An output is not kept with what the operator wants left out of it.
pub(crate) fn not_stripped(why: &str) -> JobError {
    let mut failed = JobError::new(
        ErrorCode::StorageError,
        format!("what ComfyUI wrote into an output could not be taken out of it: {why}"),
    )
    .recommend("save the output in another format; an operator can set STRIP_METADATA=false, but not in privacy mode");
    failed.retryable = false;
    failed
}

/// What would harm ComfyUI is not sent.
pub(crate) fn harmful_graph(faults: &[PromptFault], workflow: &Workflow) -> JobError {
    let first = faults.first();
    let message = first.map_or_else(|| String::from("the graph is not valid"), ToString::to_string);
    let node = first.and_then(|fault| fault.node_id.as_deref()).map(|id| node_ref(id, None, workflow));
    let mut error = JobError::new(ErrorCode::ComfyuiRejected, format!("the graph was not sent to ComfyUI: {message}"))
        .recommend("mend the workflow: ComfyUI would stop working on this graph")
        .at_node(node);
    error.details = faults
        .iter()
        .map(|fault| {
            let path = match (&fault.node_id, &fault.input) {
                (Some(node), Some(input)) => format!("/{node}/inputs/{input}"),
                (Some(node), None) => format!("/{node}"),
                _ => String::new(),
            };
            Fault::new(path, fault.to_string())
        })
        .collect();
    error
}

/// ComfyUI refused the graph.
pub(crate) fn refused(refusal: &Refusal, workflow: &Workflow) -> JobError {
    let recommendation = match refusal.reason() {
        RefusalReason::MissingNodeType => {
            "install the missing node class on the ComfyUI server, or change the workflow"
        }
        RefusalReason::ValueNotOffered => {
            "this ComfyUI server lacks a file or choice that the job names: install it there, or name one that \
             GET /health lists"
        }
        RefusalReason::MissingInputFile => "an input file is not on the ComfyUI server: upload it there",
        RefusalReason::NoOutputs => "add an output node such as SaveImage to the workflow",
        RefusalReason::InvalidInputs => "mend the inputs named, or the ranges in the workflow's schema",
        RefusalReason::Unexplained | RefusalReason::Other => {
            "load the workflow in ComfyUI itself: it says more there (a loop in the graph is a common cause)"
        }
    };
    let node = refusal.node_errors.first().map(|node| {
        let class = Some(node.class_type.as_str()).filter(|class| !class.is_empty());
        node_ref(&node.node_id, class, workflow)
    });
    let mut error =
        JobError::new(ErrorCode::ComfyuiRejected, refusal.to_string()).recommend(recommendation).at_node(node);
    error.details = refusal
        .node_errors
        .iter()
        .flat_map(|node| {
            node.errors.iter().map(|fault| {
                let input = fault.input_name.as_deref().map(|name| format!("/inputs/{name}")).unwrap_or_default();
                let message = match fault.details.as_str() {
                    "" => fault.message.clone(),
                    details => format!("{}: {details}", fault.message),
                };
                Fault::new(format!("/{}{input}", node.node_id), message)
            })
        })
        .collect();
    error
}

/// A node failed while it ran.
pub(crate) fn execution(failure: &ExecutionFailure, workflow: &Workflow) -> JobError {
    let node = failure.node_id.as_deref().map(|id| node_ref(id, failure.node_type.as_deref(), workflow));
    let message = match (failure.exception_type.as_str(), failure.message.as_str()) {
        ("", "") => String::from("the node gives no reason"),
        ("", only) | (only, "") => only.to_owned(),
        (exception, message) => format!("{exception}: {message}"),
    };
    let error = match failure.class {
        FailureClass::OutOfMemory => JobError::new(ErrorCode::ComfyuiOom, message)
            .recommend("ask for a smaller width, height or batch, or use a device with more memory"),
        FailureClass::CudaPoisoned => JobError::new(ErrorCode::ComfyuiNodeError, message)
            .recommend("the device failed: restart ComfyUI, then retry the job"),
        FailureClass::ModelMissing => JobError::new(ErrorCode::ComfyuiNodeError, message)
            .recommend("a model file is missing on the ComfyUI server: install it there"),
        FailureClass::NodeError => JobError::new(ErrorCode::ComfyuiNodeError, message)
            .recommend("check the inputs of the node named, and the workflow in ComfyUI itself"),
    };
    error.at_node(node)
}

/// It ran to its end and made nothing.
pub(crate) fn no_outputs(blocked: Option<&ExecutionFailure>, workflow: &Workflow) -> JobError {
    let Some(blocked) = blocked else {
        return JobError::new(ErrorCode::ComfyuiNodeError, "ComfyUI reports success, but the run made no outputs")
            .recommend("check that the workflow's output nodes save what they get (temp files count only for nodes listed in `outputs`)");
    };
    let node = blocked.node_id.as_deref().map(|id| node_ref(id, blocked.node_type.as_deref(), workflow));
    JobError::new(ErrorCode::ComfyuiNodeError, format!("the run made no outputs: {}", blocked.message))
        .recommend("a node of the workflow stopped its branch: check what it looks for in the inputs")
        .at_node(node)
}

pub(crate) fn timeout(limit_ms: i64) -> JobError {
    JobError::new(ErrorCode::ComfyuiTimeout, format!("the run took longer than {limit_ms} ms and was interrupted"))
        .recommend("raise timeoutMs (or COMFYUI_TIMEOUT_MS), or ask for fewer steps or a smaller size")
}

/// The prompt is gone from ComfyUI without a result.
pub(crate) fn prompt_lost() -> JobError {
    JobError::new(ErrorCode::ComfyuiUnreachable, "ComfyUI lost the job: it was restarted or its queue was cleared")
        .recommend("see why ComfyUI ended (often memory: look at its log and the kernel's)")
}

/// Pictures that exist nowhere but on the event socket were not all received.
pub(crate) fn pictures_missed() -> JobError {
    JobError::new(
        ErrorCode::ComfyuiUnreachable,
        "the event socket of ComfyUI was not there for the whole run, and SaveImageWebsocket sends its pictures over it alone",
    )
    .recommend("use SaveImage in the workflow: its files can be fetched however the socket fares")
}

/// Somebody else interrupted it.
pub(crate) fn interrupted() -> JobError {
    JobError::new(ErrorCode::ComfyuiUnreachable, "the run was interrupted in ComfyUI by somebody else")
        .recommend("keep others from using this ComfyUI server's own page while it works for the gateway")
}

/// A call failed in a way that another try may mend.
pub(crate) fn call(what: &str, error: &CallError) -> JobError {
    JobError::new(ErrorCode::ComfyuiUnreachable, format!("{what}: {error}"))
        .recommend("GET /health says how ComfyUI is; its log says more")
        .caused_by(error)
}

/// A file lacked its end each time that it was fetched.
pub(crate) fn cut_short(error: &StripError) -> JobError {
    JobError::new(ErrorCode::ComfyuiUnreachable, format!("an output could not be fetched: {error}")).recommend(
        "look at what stands between the gateway and ComfyUI: it may cut answers short; if nothing does, the node writes \
         files without their end: save in another format",
    )
}

/// Something in front of ComfyUI lets other requests through, and not this one.
pub(crate) fn not_let_through(reason: &str) -> JobError {
    JobError::new(ErrorCode::ComfyuiUnreachable, format!("the job did not get through to ComfyUI: {reason}")).recommend(
        "look at what stands between the gateway and ComfyUI: a proxy or filter may refuse this job's text or size",
    )
}

/// It has ended, and its history entry can't be read.
pub(crate) fn unreadable(error: &CallError) -> JobError {
    JobError::new(ErrorCode::ComfyuiUnreachable, format!("ComfyUI can't give the result of the run: {error}"))
        .recommend("look at ComfyUI's log: a custom node may have left something in the history that is no JSON")
        .caused_by(error)
}

/// The history entry does not say how it ended.
pub(crate) fn unknown_outcome() -> JobError {
    JobError::new(ErrorCode::ComfyuiNodeError, "ComfyUI does not say how the run ended")
        .recommend("look at ComfyUI's log; then retry the job")
}

pub(crate) fn storage(error: &StorageError) -> JobError {
    match error {
        StorageError::TooLarge { .. } => {
            let mut failure = JobError::new(ErrorCode::StorageError, error.to_string())
                .recommend("raise MAX_OUTPUT_BYTES, or ask for less");
            failure.retryable = false;
            failure
        }
        _ => JobError::new(ErrorCode::StorageError, "an output could not be stored")
            .recommend("an operator finds the cause in the gateway's log: often a full disk or missing rights")
            .caused_by(error),
    }
}

pub(crate) fn too_large_for_comfyui() -> JobError {
    JobError::new(ErrorCode::ComfyuiRejected, "the rendered workflow is larger than ComfyUI accepts")
        .recommend("raise ComfyUI's --max-upload-size, or send less")
}

pub(crate) fn worker_lost(attempts: i32) -> JobError {
    JobError::new(ErrorCode::WorkerLost, format!("its worker was lost in each of {attempts} attempts"))
        .recommend("look at the worker's log; then retry the job")
}

fn node_ref(id: &str, class: Option<&str>, workflow: &Workflow) -> NodeRef {
    NodeRef {
        id: id.to_owned(),
        class_type: class.or_else(|| workflow.class_type(id)).map(str::to_owned),
        title: workflow.node_title(id).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use comfyui_client::{InputFault, NodeError};
    use gateway_core::workflow::WorkflowSource;
    use serde_json::json;

    use super::*;

    fn workflow() -> Workflow {
        let graph = json!({
            "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}, "_meta": {"title": "Keep"}}
        });
        let schema = json!({"type": "object", "properties": {}});
        Workflow::compile(WorkflowSource { graph: &graph, input_schema: Some(&schema), outputs: &[] }, None).unwrap()
    }

    fn failure(class: FailureClass, exception: &str, message: &str) -> ExecutionFailure {
        ExecutionFailure {
            node_id: Some(String::from("2")),
            node_type: None,
            exception_type: exception.to_owned(),
            message: message.to_owned(),
            class,
        }
    }

    fn fault(kind: &str, details: &str, input: Option<&str>) -> InputFault {
        InputFault {
            kind: kind.to_owned(),
            message: String::from("not good"),
            details: details.to_owned(),
            input_name: input.map(str::to_owned),
        }
    }

    fn refusal(kind: &str, errors: Vec<InputFault>) -> Refusal {
        let node = NodeError { node_id: String::from("2"), class_type: String::from("SaveImage"), errors };
        Refusal {
            partial: false,
            prompt_id: None,
            kind: kind.to_owned(),
            message: String::from("no"),
            details: String::new(),
            node_errors: vec![node],
        }
    }

    #[test]
    fn each_class_of_failure_has_its_code_and_its_advice_and_none_is_retried() {
        for (class, code, advice) in [
            (FailureClass::OutOfMemory, ErrorCode::ComfyuiOom, "smaller"),
            (FailureClass::CudaPoisoned, ErrorCode::ComfyuiNodeError, "restart ComfyUI"),
            (FailureClass::ModelMissing, ErrorCode::ComfyuiNodeError, "install it"),
            (FailureClass::NodeError, ErrorCode::ComfyuiNodeError, "inputs of the node"),
        ] {
            let error = execution(&failure(class, "ValueError", "bad"), &workflow());
            assert_eq!((error.code, error.message.as_str()), (code, "ValueError: bad"));
            assert!(!error.retryable, "{class:?}");
            assert!(error.recommendation.unwrap().contains(advice), "{class:?}");
            let node = error.node.unwrap();
            assert_eq!((node.class_type.as_deref(), node.title.as_deref()), (Some("SaveImage"), Some("Keep")));
        }
    }

    #[test]
    fn a_failure_that_says_little_is_still_a_sentence() {
        for (exception, message, wanted) in
            [("MemoryError", "", "MemoryError"), ("", "it broke", "it broke"), ("", "", "the node gives no reason")]
        {
            assert_eq!(execution(&failure(FailureClass::NodeError, exception, message), &workflow()).message, wanted);
        }
    }

    #[test]
    fn a_refusal_names_every_fault_by_node_and_input() {
        let faults = vec![fault("value_bigger_than_max", "width", Some("width")), fault("exception", "", None)];
        let error = refused(&refusal("prompt_outputs_failed_validation", faults), &workflow());
        assert_eq!((error.code, error.retryable), (ErrorCode::ComfyuiRejected, false));
        let details: Vec<_> = error.details.iter().map(|fault| (fault.path.as_str(), fault.message.as_str())).collect();
        assert_eq!(details, [("/2/inputs/width", "not good: width"), ("/2", "not good")]);
        assert_eq!(error.node.unwrap().id, "2");
    }

    #[test]
    fn the_advice_fits_the_reason_of_a_refusal() {
        for (refusal, advice) in [
            (
                refusal("prompt_outputs_failed_validation", vec![fault("value_not_in_list", "", Some("x"))]),
                "lacks a file",
            ),
            (
                refusal(
                    "prompt_outputs_failed_validation",
                    vec![fault("custom_validation_failed", "image - Invalid image file: a.png", Some("image"))],
                ),
                "upload it",
            ),
            (refusal("missing_node_type", Vec::new()), "install the missing node class"),
            (refusal("prompt_no_outputs", Vec::new()), "add an output node"),
            (refusal("prompt_outputs_failed_validation", Vec::new()), "loop"),
            (refusal("prompt_outputs_failed_validation", vec![fault("value_smaller_than_min", "", None)]), "ranges"),
        ] {
            let kind = refusal.kind.clone();
            let mut refusal = refusal;
            if kind == "missing_node_type" {
                refusal.message = String::from("class Foo does not exist");
            }
            let recommendation = refused(&refusal, &workflow()).recommendation.unwrap();
            assert!(recommendation.contains(advice), "{kind}: {recommendation}");
        }
    }

    #[test]
    fn a_run_without_outputs_names_the_node_that_stopped_it_where_one_did() {
        assert!(no_outputs(None, &workflow()).node.is_none());
        let blocked =
            no_outputs(Some(&failure(FailureClass::NodeError, "ExecutionBlocked", "nothing found")), &workflow());
        assert_eq!(blocked.message, "the run made no outputs: nothing found");
        assert_eq!(blocked.node.unwrap().id, "2");
    }

    #[test]
    fn what_another_try_may_mend_is_retryable_and_a_file_over_the_limit_is_not() {
        let broken = CallError::Truncated { expected: Some(9), received: 3 };
        let cut = cut_short(&StripError::Incomplete("mp4"));
        for error in [prompt_lost(), interrupted(), call("x", &broken), cut, unreadable(&broken), not_let_through("no")]
        {
            assert_eq!((error.code, error.retryable), (ErrorCode::ComfyuiUnreachable, true), "{}", error.message);
        }
        assert!(!storage(&StorageError::TooLarge { limit: 3 }).retryable);
    }
}
