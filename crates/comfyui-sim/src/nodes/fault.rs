//! How nodes fail: the exceptions of Python, and of devices out of memory.

use crate::switches::OomStyle;

const TIPS: &str = "This error means you ran out of memory on your GPU.\n\nTIPS: If the workflow worked before you \
                    might have accidentally set the batch_size to a large number.";

/// An exception that ends a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeError {
    /// As ComfyUI names it: `module.Class`, bare for what is built into Python.
    pub(crate) exception_type: String,
    /// With the newline or the tips that ComfyUI puts behind it.
    pub(crate) message: String,
}

impl NodeError {
    pub(crate) fn new(exception_type: &str, message: &str) -> Self {
        Self { exception_type: exception_type.to_owned(), message: format!("{message}\n") }
    }

    pub(crate) fn out_of_memory(style: OomStyle, pixels: u64) -> Self {
        let bytes = pixels.saturating_mul(64);
        let gib = bytes / (1 << 30);
        let (exception_type, message, tips) = match style {
            OomStyle::Cuda => ("torch.OutOfMemoryError", "Allocation on device ".to_owned(), TIPS),
            OomStyle::CudaOld => (
                "torch.cuda.OutOfMemoryError",
                "Allocation on device 0 would exceed allowed memory. (out of memory)".to_owned(),
                TIPS,
            ),
            OomStyle::Accelerator => ("torch.AcceleratorError", "CUDA error: out of memory".to_owned(), ""),
            OomStyle::Hip => (
                "torch.OutOfMemoryError",
                format!("HIP out of memory. Tried to allocate {gib}.00 GiB. GPU 0 has a total capacity of 16.00 GiB"),
                TIPS,
            ),
            OomStyle::Mps => (
                "RuntimeError",
                format!(
                    "MPS backend out of memory (MPS allocated: 17.00 GB, max allowed: 18.13 GB). Tried to allocate {gib}.00 GB on private pool."
                ),
                "",
            ),
            OomStyle::Cpu => (
                "RuntimeError",
                format!(
                    "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate {bytes} bytes. Error code 12 (Cannot allocate memory)"
                ),
                "",
            ),
            OomStyle::Windows => (
                "RuntimeError",
                format!(
                    "[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough memory: you tried to allocate {bytes} bytes."
                ),
                "",
            ),
            OomStyle::Python => ("MemoryError", String::new(), ""),
            OomStyle::Numpy => (
                "numpy._core._exceptions._ArrayMemoryError",
                format!("Unable to allocate {gib}.0 GiB for an array with shape ({pixels}, 16) and data type float32"),
                "",
            ),
        };
        Self { exception_type: exception_type.to_owned(), message: format!("{message}\n{tips}") }
    }
}
