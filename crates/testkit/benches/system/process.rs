//! The processes that are measured.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A process that ends with its owner.
pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    pub(crate) async fn start(mut command: Command, url: String, probe: &str) -> Self {
        Self::start_telling(command.stderr(Stdio::null()), url, probe).await
    }

    /// One whose standard error is where `command` has it.
    async fn start_telling(command: &mut Command, url: String, probe: &str) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("it starts");
        let process = Self { child, url };
        let client = Client::builder().build().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !matches!(client.get(format!("{}{probe}", process.url)).send().await, Ok(answer) if answer.status().is_success())
        {
            assert!(Instant::now() < deadline, "{} did not come up", process.url);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        process
    }

    /// The bare handler over `database`.
    pub(crate) async fn bare(binary: &Path, database: &str, redis: Option<&str>) -> Self {
        let port = free_port();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("--binary").arg(binary).args(["bare-server", &port.to_string(), database]).args(redis);
        Self::start(command, format!("http://127.0.0.1:{port}"), "/").await
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// The time that processors have worked for it.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // In its own code and in the kernel's, in hundredths of a second; what comes before may hold spaces.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let hundredths: u64 = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(hundredths * 10)
    }

    /// Resident memory in bytes: now, and the highest so far.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
        };
        (field("VmRSS:"), field("VmHWM:"))
    }
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A gateway and a simulated ComfyUI, each a process.
pub(crate) struct System {
    pub(crate) gateway: Process,
    pub(crate) sim: Option<Process>,
    _folder: TempDir,
}

/// How the two differ from the usual.
#[derive(Default)]
pub(crate) struct Shape<'a> {
    /// Switches of the simulator; none: ComfyUI is not there.
    pub(crate) sim: Option<Value>,
    pub(crate) env: &'a [(&'a str, &'a str)],
    /// Further arguments of `run`.
    pub(crate) args: &'a [&'a str],
    /// Whether what the gateway says goes into a file, as where it is kept.
    pub(crate) keep_log: bool,
}

pub(crate) async fn system(binary: &Path, shape: Shape<'_>) -> System {
    let comfyui = free_port();
    let sim = match &shape.sim {
        Some(switches) => {
            let mut command = Command::new(binary);
            command.args(["sim", "--port", &comfyui.to_string(), "--node-ms", "0", "--step-ms", "0", "--load-ms", "0"]);
            command.args(["--switches", &switches.to_string()]);
            let url = format!("http://127.0.0.1:{comfyui}");
            Some(Process::start(command, url, "/system_stats").await)
        }
        None => None,
    };
    let folder = tempfile::tempdir().unwrap();
    let probe = if sim.is_some() { "/health/ready" } else { "/health/live" };
    let gateway = gateway(binary, folder.path(), comfyui, &shape, probe).await;
    let system = System { gateway, sim, _folder: folder };
    system.register_tiny().await;
    system
}

/// Starts a gateway on the database in `folder`.
pub(crate) async fn gateway(binary: &Path, folder: &Path, comfyui: u16, shape: &Shape<'_>, probe: &str) -> Process {
    let port = free_port();
    let mut command = Command::new(binary);
    command
        .arg("run")
        .args(shape.args)
        .current_dir(folder)
        .env("HOST", "127.0.0.1")
        .env("PORT", port.to_string())
        .env("COMFYUI_URL", format!("http://127.0.0.1:{comfyui}"))
        .env("DATABASE_URL", folder.join("gateway.db"))
        .env("STORAGE_LOCAL_PATH", folder.join("outputs"))
        .env("QUEUE_MAX_DEPTH", "10000000")
        .env("LOG_LEVEL", "warn")
        // What is measured is the work, not its absence.
        .env("CACHE_ENABLED", "false")
        .env("RATE_LIMIT_MAX", "1000000000")
        .envs(shape.env.iter().copied());
    let log = if shape.keep_log { std::fs::File::create(folder.join("log")).unwrap().into() } else { Stdio::null() };
    Process::start_telling(command.stderr(log), format!("http://127.0.0.1:{port}"), probe).await
}

impl System {
    async fn register_tiny(&self) {
        let mut body = gateway_testkit::tiny_workflow();
        body["id"] = json!("tiny");
        let url = format!("{}/workflows", self.gateway.url);
        let answer = Client::builder().build().unwrap().post(url).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 201);
    }

    pub(crate) fn job(color: usize) -> Value {
        json!({"workflowId": "tiny", "inputs": {"color": color % 16_777_216}})
    }
}

/// The `share` quantile (0 to 1) of `times`, in milliseconds.
pub(crate) fn quantile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    let index = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len()) - 1;
    times[index].as_secs_f64() * 1000.0
}

/// Posts `job` and waits until it has succeeded.
pub(crate) async fn ended(client: &Client, url: &str, job: &Value) -> Value {
    let request = client.post(format!("{url}/jobs")).header("prefer", "wait=60").json(job);
    let job: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(job["status"], "succeeded", "{job}");
    job
}

/// Puts the graph of the workflow `tiny` straight into ComfyUI's queue; gives the prompt's id.
pub(crate) async fn prompt(client: &Client, sim: &str, color: usize) -> String {
    let prompt = json!({"prompt": {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": color % 16_777_216}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": format!("straight/{color}")}},
    }, "client_id": "straight"});
    let answer: Value = client.post(format!("{sim}/prompt")).json(&prompt).send().await.unwrap().json().await.unwrap();
    answer["prompt_id"].as_str().unwrap().to_owned()
}
