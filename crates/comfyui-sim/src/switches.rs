//! The switches of a running simulator: speed, pictures and faults.
//! One flat struct that serde reads and writes; the code that acts on a switch lives where it acts.

use serde::{Deserialize, Serialize};

use crate::config::Profile;

/// Which error a device out of memory raises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OomStyle {
    /// `torch.OutOfMemoryError`, the usual one on NVIDIA cards.
    #[default]
    Cuda,
    /// `torch.cuda.OutOfMemoryError` of older releases.
    CudaOld,
    /// `torch.AcceleratorError` of the driver.
    Accelerator,
    /// AMD cards.
    Hip,
    /// Apple computers.
    Mps,
    /// No card at all: the allocator of the processor.
    Cpu,
    /// The allocator of the processor on Windows.
    Windows,
    /// Python's own `MemoryError`.
    Python,
    /// An array too large for numpy.
    Numpy,
}

/// How a sampler shows its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreviewMethod {
    /// Not at all, as ComfyUI by default.
    #[default]
    None,
    /// JPEG frames.
    Jpeg,
    /// PNG frames.
    Png,
}

/// What is wrong with the answers of `/view`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewFault {
    /// Nothing.
    #[default]
    None,
    /// A complete answer that holds only the first half of the file.
    Truncate,
    /// Announces the whole length, sends half of it, then cuts the connection.
    WrongLength,
    /// 200 with an HTML page.
    Html,
    /// 200 without a body.
    Empty,
    /// 502 with an HTML page.
    #[serde(rename = "status_502")]
    Status502,
}

/// What is wrong with every answer of the HTTP interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpFault {
    /// Nothing.
    #[default]
    None,
    /// 200 with an HTML page, like the login page of a proxy.
    #[serde(rename = "html_200")]
    Html200,
    /// 502 with an HTML page.
    #[serde(rename = "status_502")]
    Status502,
    /// No answer.
    Timeout,
}

/// What the names of saved files look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostileFilenames {
    /// As ComfyUI writes them.
    #[default]
    None,
    /// `../../etc/passwd.png`.
    Traversal,
    /// A NUL inside.
    Nul,
    /// Three hundred characters.
    Long,
    /// A right-to-left override that hides the ending.
    Rtl,
    /// `/etc/passwd.png`.
    Absolute,
    /// Every picture under one name.
    Duplicate,
}

/// A node class that fails, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FailNode {
    /// The class that fails.
    pub class_type: String,
    /// The Python type that the error names.
    pub exception_type: String,
    /// The message, without the newline that ComfyUI adds.
    pub message: String,
}

/// Everything that can be changed while a simulator runs. The default is a healthy, instant ComfyUI.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Switches {
    /// Milliseconds an ordinary node takes.
    pub node_ms: u64,
    /// Milliseconds a step of a sampler takes.
    pub step_ms: u64,
    /// Milliseconds the first use of a checkpoint takes.
    pub load_ms: u64,
    /// A sampler, decoder or upscaler with more pixels (width × height × batch) runs out of memory.
    pub memory_limit_pixels: Option<u64>,
    /// The error of a device out of memory.
    pub oom_style: OomStyle,
    /// How samplers show their steps.
    pub preview_method: PreviewMethod,
    /// Saved PNG files are padded to at least so many bytes.
    pub output_bytes: u64,
    /// Every generated picture is a tiny one, in constant time.
    pub fast_render: bool,
    /// Saved PNG files carry neither prompt nor workflow.
    pub disable_metadata: bool,
    /// The largest request body in bytes.
    pub max_upload_bytes: u64,
    /// How many finished prompts the history keeps.
    pub history_cap: usize,
    /// Milliseconds until an interrupt is noticed.
    pub interrupt_delay_ms: u64,
    /// A websocket goes silent after so many messages.
    pub socket_stall_after: Option<u64>,
    /// When an older socket of a client id closes, the newer one goes deaf, as in reality.
    pub deaf_socket_bug: bool,
    /// Prompts succeed without outputs.
    pub empty_outputs: bool,
    /// Failed prompts say `completed: true`.
    pub error_completed_true: bool,
    /// What is wrong with `/view`.
    pub view_fault: ViewFault,
    /// Milliseconds before `/history` answers.
    pub history_delay_ms: u64,
    /// Connections are accepted and nothing is answered.
    pub hang_accept: bool,
    /// The process dies when a node of this class begins.
    pub die_on_node: Option<String>,
    /// The process dies so many milliseconds after a prompt began.
    pub die_after_ms: Option<u64>,
    /// A process that died comes back after so many milliseconds; None: it stays down until it is restarted.
    pub down_ms: Option<u64>,
    /// So many of the next prompts are queued and get no answer: the connection is cut.
    pub lose_prompt_reply: u32,
    /// What the names of saved files look like.
    pub hostile_filenames: HostileFilenames,
    /// Previews are padded to so many bytes, at most 64 MiB.
    pub preview_bytes: u64,
    /// Websocket messages arrive in many small frames.
    pub fragment_frames: bool,
    /// Milliseconds the clock is off.
    pub clock_skew_ms: i64,
    /// An unread socket stalls the events of all clients, as in reality.
    pub slow_consumer_stall: bool,
    /// History entries hold bare `NaN` and `Infinity`.
    pub nan_in_history: bool,
    /// Prompts that finish make `/history` answer 500 until they are deleted.
    pub poison_history: bool,
    /// Milliseconds between the success event and the history entry.
    pub history_after_success_ms: u64,
    /// `POST /prompt` answers only after the prompt has begun.
    pub event_before_response: bool,
    /// HTTP works and nothing runs any more.
    pub zombie: bool,
    /// Events are kept back until this is off again.
    pub hold_events: bool,
    /// Events are lost.
    pub drop_events: bool,
    /// Events come twice.
    pub duplicate_events: bool,
    /// Progress sometimes goes back a step.
    pub progress_backwards: bool,
    /// `POST /prompt` answers this status with an HTML page and queues nothing.
    pub refuse_prompt_status: Option<u16>,
    /// What is wrong with every HTTP answer.
    pub http_fault: HttpFault,
    /// Progress of prompts that nobody here knows is broadcast.
    pub foreign_events: bool,
    /// `GET /queue` answers 500.
    pub queue_fault: bool,
    /// So many of the next prompts find one of a stranger before them in the queue.
    pub foreign_jobs: u32,
    /// So many of the next prompts are taken out of the queue by a stranger who clears it.
    pub foreign_clear: u32,
    /// The release to behave as from the next start of the process on; `None`: the one it was started with.
    pub profile: Option<Profile>,
    /// Events and binary frames of unknown types are broadcast.
    pub unknown_events: bool,
    /// A node class that fails.
    pub fail_node: Option<FailNode>,
    /// Finished prompts are never found in the history.
    pub evict_history: bool,
    /// Output nodes of this class are blocked instead of run: an error that does not end the prompt.
    pub block_node: Option<String>,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            node_ms: 0,
            step_ms: 0,
            load_ms: 0,
            memory_limit_pixels: None,
            oom_style: OomStyle::default(),
            preview_method: PreviewMethod::default(),
            output_bytes: 0,
            fast_render: false,
            disable_metadata: false,
            max_upload_bytes: 104_857_600,
            history_cap: 10_000,
            interrupt_delay_ms: 0,
            socket_stall_after: None,
            deaf_socket_bug: true,
            empty_outputs: false,
            error_completed_true: false,
            view_fault: ViewFault::default(),
            history_delay_ms: 0,
            hang_accept: false,
            die_on_node: None,
            die_after_ms: None,
            down_ms: None,
            lose_prompt_reply: 0,
            hostile_filenames: HostileFilenames::default(),
            preview_bytes: 0,
            fragment_frames: false,
            clock_skew_ms: 0,
            slow_consumer_stall: false,
            nan_in_history: false,
            poison_history: false,
            history_after_success_ms: 0,
            event_before_response: false,
            zombie: false,
            hold_events: false,
            drop_events: false,
            duplicate_events: false,
            progress_backwards: false,
            refuse_prompt_status: None,
            http_fault: HttpFault::default(),
            foreign_events: false,
            queue_fault: false,
            foreign_jobs: 0,
            foreign_clear: 0,
            profile: None,
            unknown_events: false,
            fail_node: None,
            evict_history: false,
            block_node: None,
        }
    }
}
