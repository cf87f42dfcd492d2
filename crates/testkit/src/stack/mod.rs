//! The whole of a gateway that is more than one process, as processes: two APIs behind HAProxy, workers with a simulator
//! each, a Redis of its own, a database of its own in Postgres, an S3 server.

mod audit;
mod load;
mod process;
mod servers;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use comfyui_sim::{SimConfig, Simulator, Switches};
use gateway_config::{DatabaseSettings, DatabaseTarget};
use gateway_db::{Access, Database, Job};
use reqwest::Client;
use s3_testserver::{BUCKET, OWNER, S3Server};
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::receiver::{Receiver, Reply};
use crate::wait::until;
use crate::workflows::tiny_workflow;
use audit::all_jobs;
pub use audit::{Audit, Watch};
pub use load::{Load, Submitted};
pub use process::{Process, free_port};
pub use servers::{HaProxy, Postgres, Redis};

/// What messages are signed with.
pub const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What a stack is made of.
#[derive(Debug, Clone)]
pub struct StackConfig {
    /// The gateway's binary.
    pub binary: PathBuf,
    /// The Postgres server.
    pub postgres: String,
    /// How many workers.
    pub workers: usize,
    /// Seconds that a claim holds.
    pub lease: u64,
    /// Seconds that running jobs may go on after SIGTERM.
    pub grace: u64,
    /// How the simulators behave.
    pub switches: Switches,
    /// What messages about jobs are answered with.
    pub reply: Reply,
    /// Whether Redis has an append-only file.
    pub redis_appends: bool,
    /// Further variables.
    pub variables: Vec<(String, String)>,
}

impl StackConfig {
    /// Two APIs and three workers, quick to notice what died.
    pub fn new(binary: PathBuf, postgres: String) -> Self {
        Self {
            binary,
            postgres,
            workers: 3,
            lease: 6,
            grace: 5,
            switches: Switches { node_ms: 15, ..Switches::default() },
            reply: Reply::default(),
            redis_appends: true,
            variables: Vec::new(),
        }
    }
}

/// A worker: its process and the simulator that it drives.
pub struct WorkerNode {
    /// The process.
    pub process: Process,
    /// Its id in the gateway.
    pub id: String,
}

/// A running stack. All of it is gone when it is dropped.
pub struct Stack {
    /// What it was made from.
    pub config: StackConfig,
    /// The API processes.
    pub apis: Vec<Process>,
    api_ports: [u16; 2],
    /// The workers.
    pub workers: Vec<WorkerNode>,
    /// The simulators, one a worker.
    pub sims: Vec<Simulator>,
    /// The load balancer.
    pub proxy: HaProxy,
    /// The queue.
    pub redis: Redis,
    /// The database.
    pub postgres: Postgres,
    /// The outputs.
    pub s3: S3Server,
    /// Whoever is told of the ends of jobs.
    pub receiver: Receiver,
    client: Client,
    folder: TempDir,
}

impl Stack {
    /// Starts everything, and registers the workflow `tiny`.
    pub async fn start(config: StackConfig) -> Self {
        // Two crates bring a TLS provider each; a second choice is refused, and that is fine.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().expect("a folder");
        let redis = Redis::start(folder.path(), config.redis_appends).await;
        let unique = folder.path().file_name().map(|name| name.to_string_lossy().replace('.', "").to_lowercase());
        let postgres =
            Postgres::new(&config.postgres, &format!("s_{}_{}", std::process::id(), unique.expect("a name")));
        let s3 = S3Server::start(None).await.expect("an S3 server");
        let receiver = Receiver::scripted([config.reply.clone()]).await;
        let mut sims = Vec::new();
        for _ in 0..config.workers {
            let sim = SimConfig { switches: config.switches.clone(), ..SimConfig::default() };
            sims.push(Simulator::start(sim).await.expect("a simulator"));
        }
        let api_ports = [free_port(), free_port()];
        let proxy = HaProxy::start(folder.path(), api_ports);
        let client = Client::builder().timeout(Duration::from_secs(30)).build().expect("a client");
        let (apis, workers) = (Vec::new(), Vec::new());
        let mut stack =
            Self { config, apis, api_ports, workers, sims, proxy, redis, postgres, s3, receiver, client, folder };
        for number in 0..2 {
            let api = stack.spawn_api(number);
            stack.apis.push(api);
        }
        for number in 0..2 {
            stack.wait_live(number).await;
        }
        for number in 0..stack.config.workers {
            let worker = stack.spawn_worker(number).await;
            stack.workers.push(worker);
        }
        until("the load balancer answers", || async {
            let answer = stack.client.get(stack.url("/health/live")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        let mut workflow = tiny_workflow();
        workflow["id"] = json!("tiny");
        let created = stack.client.post(stack.url("/workflows")).json(&workflow).send().await.expect("an answer");
        assert_eq!(created.status(), 201);
        stack.wait_workers(stack.config.workers).await;
        stack
    }

    /// The URL of `path` at the load balancer.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.proxy.url())
    }

    /// The URL of an API.
    pub fn api_url(&self, number: usize) -> String {
        format!("http://127.0.0.1:{}", self.api_ports[number])
    }

    /// Jobs to submit, with somebody who is told of their ends.
    pub fn load(&self, name: &str, jobs: usize, rate: Option<f64>) -> Load {
        let callback = Some(self.receiver.url("/hook"));
        Load { jobs, rate, name: name.to_owned(), url: self.url(""), callback }
    }

    /// The HTTP client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Where logs lie.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills an API, or the one that is gone already, and starts it again.
    pub fn restart_api(&mut self, number: usize) {
        self.apis[number].kill();
        self.apis[number] = self.spawn_api(number);
    }

    /// Waits until an API answers.
    pub async fn wait_live(&self, number: usize) {
        let url = format!("http://127.0.0.1:{}/health/live", self.api_ports[number]);
        until(&format!("API {number} answers: {}", self.apis[number].log_tail()), || async {
            let answer = self.client.get(&url).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// Waits until the load balancer sends requests to both APIs.
    pub async fn wait_balanced(&self) {
        until("the load balancer sees both APIs", || async {
            let text = self.client.get(self.proxy.statistics()).send().await.ok()?.text().await.ok()?;
            let up = |line: &str| line.starts_with("api,api-") && line.split(',').nth(17) == Some("UP");
            (text.lines().filter(|line| up(line)).count() == 2).then_some(())
        })
        .await;
    }

    /// Kills a worker, or the one that is gone already, and starts another in its place.
    pub async fn restart_worker(&mut self, number: usize) {
        self.workers[number].process.kill();
        self.workers[number] = self.spawn_worker(number).await;
    }

    /// Starts an API; nobody waits for it.
    pub fn spawn_api(&self, number: usize) -> Process {
        let mut command = self.command(&["run"]);
        command.env("PORT", self.api_ports[number].to_string());
        Process::start(&format!("api-{number}"), command, self.folder.path())
    }

    /// Starts a worker beside whatever drives the simulator `number` already, and waits until it works.
    pub async fn spawn_worker(&self, number: usize) -> WorkerNode {
        let mut command = self.command(&["--json", "worker"]);
        command.env("COMFYUI_URL", self.sims[number].url()).env("WORKER_NODE", format!("node-{number}"));
        let mut process = Process::start(&format!("worker-{number}"), command, self.folder.path());
        let said: Value = serde_json::from_str(&process.first_line().await).expect("JSON");
        let id = said["worker"].as_str().expect("the worker's id").to_owned();
        WorkerNode { process, id }
    }

    /// Waits until so many workers say that they live and can use ComfyUI.
    pub async fn wait_workers(&self, many: usize) {
        until(&format!("{many} workers live"), || async {
            let answer: Value = self.client.get(self.url("/workers")).send().await.ok()?.json().await.ok()?;
            let workers = answer["items"].as_array()?;
            let ready = |worker: &&Value| worker["backends"][0]["state"] == "ready";
            (workers.iter().filter(ready).count() >= many).then_some(())
        })
        .await;
    }

    /// The database, to look into.
    pub async fn database(&self) -> Database {
        let settings = DatabaseSettings {
            target: DatabaseTarget::Postgres {
                url: SecretString::from(self.postgres.url()),
                shown: String::from("postgres"),
            },
            connections: 2,
            statement_timeout: Duration::from_secs(30),
            redact: false,
        };
        let open = move || Database::open(&settings, Access::Beside);
        tokio::task::spawn_blocking(open).await.expect("a thread").expect("the database")
    }

    /// All jobs that there are.
    pub async fn jobs(&self) -> Vec<Job> {
        all_jobs(&self.database().await).await.expect("the jobs")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.config.binary);
        for variable in gateway_config::VARIABLES {
            command.env_remove(variable.name);
        }
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("HOST", "127.0.0.1")
            .env("LOG_LEVEL", "info")
            .env("LOG_FORMAT", "json")
            .env("REDIS_URL", self.redis.url())
            .env("DATABASE_URL", self.postgres.url())
            .env("DATABASE_POOL_SIZE", "4")
            .env("STORAGE_PROVIDER", "s3")
            .env("S3_ENDPOINT", self.s3.endpoint())
            .env("S3_BUCKET", BUCKET)
            .env("S3_ACCESS_KEY", OWNER.0)
            .env("S3_SECRET_KEY", OWNER.1)
            .env("WORKER_LEASE_SECONDS", self.config.lease.to_string())
            .env("SHUTDOWN_DELAY_SECONDS", "3")
            .env("SHUTDOWN_GRACE_SECONDS", self.config.grace.to_string())
            .env("COMFYUI_POLL_MS", "200")
            .env("WEBHOOK_SECRET", WEBHOOK_SECRET)
            .env("WEBHOOK_ALLOWED_DOMAINS", format!("127.0.0.1:{}", self.receiver.port()))
            // Each job is to be run: what is counted is its run.
            .env("CACHE_ENABLED", "false")
            .env("RATE_LIMIT_MAX", "1000000000")
            .env("RUST_BACKTRACE", "0");
        for (name, value) in &self.config.variables {
            command.env(name, value);
        }
        command
    }
}
