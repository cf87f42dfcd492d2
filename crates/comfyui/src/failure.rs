//! Why a run failed, from the data of an `execution_error`.
//! Owns the classification (out of memory above all) and what of it may be shown: tracebacks, inputs and the
//! machine's directories are left out.

use std::fmt;

use serde_json::Value;

use crate::redact::clean;

/// Longest message that is kept, in characters.
const MAX_MESSAGE_CHARS: usize = 2_000;
/// ComfyUI appends this advice to out-of-memory errors; where PyTorch lacks the class, to every error.
const TIP: &str = "This error means you ran out of memory on your GPU";

/// What an exception during a run means for a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// Not enough memory, on the device or on the host.
    OutOfMemory,
    /// Another CUDA or HIP error: the process stays unusable until it is restarted.
    CudaPoisoned,
    /// A model file is absent on this server.
    ModelMissing,
    /// Anything else: most likely the prompt's or the node's fault.
    NodeError,
}

/// One exception that ended a run, fit to be shown. `Display` gives one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionFailure {
    /// The node of the workflow that failed.
    pub node_id: Option<String>,
    /// The class of that node.
    pub node_type: Option<String>,
    /// Python's exception type, such as `ValueError` or `torch.OutOfMemoryError`; empty if unknown.
    pub exception_type: String,
    /// The message, trimmed, without directories of the server and without general advice.
    pub message: String,
    /// What it means for a retry.
    pub class: FailureClass,
}

impl ExecutionFailure {
    /// Reads the data object of an `execution_error` message. Missing fields become empty.
    pub(crate) fn from_data(data: &Value) -> Self {
        let text = |key: &str| data.get(key).and_then(Value::as_str);
        let exception_type = text("exception_type").unwrap_or_default().to_owned();
        let message = without_tip(text("exception_message").unwrap_or_default());
        let class = classify(&exception_type, message);
        let message = clean(message).chars().take(MAX_MESSAGE_CHARS).collect();
        Self {
            node_id: data.get("node_id").and_then(id_text),
            node_type: text("node_type").map(str::to_owned),
            exception_type,
            message,
            class,
        }
    }

    /// A failure that the server states without any detail.
    pub(crate) fn unexplained() -> Self {
        Self {
            node_id: None,
            node_type: None,
            exception_type: String::new(),
            message: "ComfyUI reports an error without saying which".to_owned(),
            class: FailureClass::NodeError,
        }
    }
}

impl fmt::Display for ExecutionFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(node) = &self.node_id {
            write!(formatter, "node {node}")?;
            if let Some(kind) = &self.node_type {
                write!(formatter, " ({kind})")?;
            }
            write!(formatter, ": ")?;
        }
        match (self.exception_type.as_str(), self.message.as_str()) {
            ("", message) => formatter.write_str(message),
            (kind, "") => formatter.write_str(kind),
            (kind, message) => write!(formatter, "{kind}: {message}"),
        }
    }
}

/// Node ids are strings, but custom nodes have been seen to send numbers.
pub(crate) fn id_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn without_tip(message: &str) -> &str {
    message.split(TIP).next().unwrap_or_default().trim()
}

fn classify(exception_type: &str, message: &str) -> FailureClass {
    let kind = exception_type.rsplit('.').next().unwrap_or_default();
    let lower = message.to_lowercase();
    if is_out_of_memory(kind, &lower) {
        FailureClass::OutOfMemory
    } else if is_poisoned(kind, &lower) {
        FailureClass::CudaPoisoned
    } else if is_model_missing(kind, &lower) {
        FailureClass::ModelMissing
    } else {
        FailureClass::NodeError
    }
}

fn is_out_of_memory(kind: &str, lower: &str) -> bool {
    matches!(kind, "OutOfMemoryError" | "MemoryError" | "_ArrayMemoryError")
        || ["allocation on device", "unable to allocate"].iter().any(|start| lower.starts_with(start))
        || [
            "out of memory",
            "outofmemory",
            "can't allocate memory",
            "cannot allocate memory",
            "defaultcpuallocator: not enough memory",
            "cublas_status_alloc_failed",
            "hipblas_status_alloc_failed",
            "cudnn_status_alloc_failed",
            "cusparse_status_insufficient_resources",
            "cudaerrormemoryallocation",
        ]
        .iter()
        .any(|sign| lower.contains(sign))
}

fn is_poisoned(kind: &str, lower: &str) -> bool {
    kind == "AcceleratorError"
        || [
            "cuda error:",
            "hip error:",
            "device-side assert",
            "illegal memory access",
            "unspecified launch failure",
            "cublas_status_execution_failed",
            "cublas_status_not_initialized",
            "cublas_status_internal_error",
            "cudnn_status_execution_failed",
            "cudnn_status_internal_error",
        ]
        .iter()
        .any(|sign| lower.contains(sign))
}

fn is_model_missing(kind: &str, lower: &str) -> bool {
    let model_ending = [".safetensors", ".ckpt", ".gguf", ".pth", ".pt", ".onnx", ".sft", ".bin"];
    // ComfyUI's own words: "Model in folder 'checkpoints' with filename 'x' not found."
    let own_words = lower.starts_with("model in folder") && lower.contains("not found");
    own_words || (kind == "FileNotFoundError" && model_ending.iter().any(|ending| lower.contains(ending)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FULL_TIP: &str = "This error means you ran out of memory on your GPU.\n\nTIPS: If the workflow worked before \
        you might have accidentally set the batch_size to a large number.";

    fn class(exception_type: &str, message: &str) -> FailureClass {
        let data = json!({"exception_type": exception_type, "exception_message": message});
        ExecutionFailure::from_data(&data).class
    }

    #[test]
    fn every_spelling_of_out_of_memory_is_recognised() {
        for (exception_type, message) in [
            ("torch.OutOfMemoryError", &*format!("Allocation on device \n{FULL_TIP}")),
            (
                "torch.OutOfMemoryError",
                "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB",
            ),
            ("torch.OutOfMemoryError", "HIP out of memory. Tried to allocate 20.00 MiB."),
            ("torch.cuda.OutOfMemoryError", "Allocation on device 0 would exceed allowed memory. (out of memory)\n"),
            ("torch._C._OutOfMemoryError", "CUDA out of memory."),
            (
                "torch.AcceleratorError",
                "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
            ),
            ("RuntimeError", "CUDA error: out of memory\n"),
            ("RuntimeError", "HIP error: out of memory"),
            ("RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
            ("RuntimeError", "MPS backend out of memory (MPS allocated: 17.00 GB, other allocations: 1.00 GB)\n"),
            (
                "RuntimeError",
                "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to \
                 allocate 99 bytes. Error code 12 (Cannot allocate memory)\n",
            ),
            (
                "RuntimeError",
                "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.",
            ),
            ("MemoryError", "\n"),
            ("numpy._core._exceptions._ArrayMemoryError", "Unable to allocate 74.5 GiB for an array with shape (1,)\n"),
            ("numpy.core._exceptions.MemoryError", "Unable to allocate 1 GiB"),
            ("OSError", "[Errno 12] Cannot allocate memory"),
        ] {
            assert_eq!(class(exception_type, message), FailureClass::OutOfMemory, "{exception_type}: {message}");
        }
    }

    #[test]
    fn the_general_advice_alone_does_not_make_an_error_out_of_memory() {
        for (exception_type, message) in [
            ("ValueError", "bad value\n"),
            ("RuntimeError", "mat1 and mat2 shapes cannot be multiplied (77x2048 and 768x320)\n"),
        ] {
            assert_eq!(class(exception_type, &format!("{message}{FULL_TIP}")), FailureClass::NodeError, "{message}");
        }
        let poisoned = format!("CUDA error: an illegal memory access was encountered\n{FULL_TIP}");
        assert_eq!(class("RuntimeError", &poisoned), FailureClass::CudaPoisoned);
    }

    #[test]
    fn other_device_errors_poison_the_process() {
        for (exception_type, message) in [
            ("RuntimeError", "CUDA error: device-side assert triggered\nCompile with `TORCH_USE_CUDA_DSA`"),
            ("torch.AcceleratorError", "CUDA error: an illegal memory access was encountered"),
            ("RuntimeError", "HIP error: invalid device function"),
            ("RuntimeError", "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        ] {
            assert_eq!(class(exception_type, message), FailureClass::CudaPoisoned, "{message}");
        }
    }

    #[test]
    fn a_model_that_is_not_there_is_told_from_other_errors() {
        let own = "Model in folder 'checkpoints' with filename 'x.safetensors' not found.\n";
        assert_eq!(class("FileNotFoundError", own), FailureClass::ModelMissing);
        assert_eq!(class("FileNotFoundError", "No such file or directory: '/m/x.gguf'"), FailureClass::ModelMissing);
        assert_eq!(class("FileNotFoundError", "No such file or directory: '/m/x.png'"), FailureClass::NodeError);
        assert_eq!(class("", ""), FailureClass::NodeError);
    }

    #[test]
    fn messages_are_trimmed_shortened_and_show_no_directories_or_inputs() {
        let failure = ExecutionFailure::from_data(&json!({
            "node_id": 1, "node_type": "LoadImage", "exception_type": "PIL.UnidentifiedImageError",
            "exception_message": "cannot identify image file '/comfyui/input/broken.png'\n",
            "traceback": ["File \"/comfyui/secret.py\""], "current_inputs": {"text": ["private"]},
        }));
        assert_eq!(failure.message, "cannot identify image file 'broken.png'");
        assert_eq!(
            failure.to_string(),
            "node 1 (LoadImage): PIL.UnidentifiedImageError: cannot identify image file 'broken.png'"
        );
        assert!(!format!("{failure:?}").contains("secret") && !format!("{failure:?}").contains("private"));
        let long = ExecutionFailure::from_data(&json!({"exception_message": "é".repeat(5_000)}));
        assert_eq!(long.message.chars().count(), MAX_MESSAGE_CHARS);
    }
}
