//! Turns what went wrong into the error that a job's owner reads: a code, a sentence, what to do about it.

use comfyui_client::{CallError, ExecutionFailure, FailureClass, PromptFault, Refusal, RefusalReason};
use gateway_core::workflow::Workflow;
use gateway_core::{ErrorCode, Fault, JobError, NodeRef};
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
        RefusalReason::MissingNodeType => "install the missing node class on the ComfyUI server, or change the workflow",
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

/// Somebody else interrupted it.
pub(crate) fn interrupted() -> JobError {
    JobError::new(ErrorCode::ComfyuiUnreachable, "the run was interrupted in ComfyUI by somebody else")
        .recommend("keep others from using this ComfyUI server's own page while it works for the gateway")
}

/// A call failed in a way that another try may mend.
pub(crate) fn call(what: &str, error: &CallError) -> JobError {
    JobError::new(ErrorCode::ComfyuiUnreachable, format!("{what}: {error}"))
        .recommend("GET /health says how ComfyUI is; its log says more")
}

/// Something in front of ComfyUI lets other requests through, and not this one.
pub(crate) fn not_let_through(reason: &str) -> JobError {
    JobError::new(ErrorCode::ComfyuiUnreachable, format!("the job did not get through to ComfyUI: {reason}"))
        .recommend("look at what stands between the gateway and ComfyUI: a proxy or filter may refuse this job's text or size")
}

/// It has ended, and its history entry can't be read.
pub(crate) fn unreadable(error: &CallError) -> JobError {
    JobError::new(ErrorCode::ComfyuiUnreachable, format!("ComfyUI can't give the result of the run: {error}"))
        .recommend("look at ComfyUI's log: a custom node may have left something in the history that is no JSON")
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
            .recommend("an operator finds the cause in the gateway's log: often a full disk or missing rights"),
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
