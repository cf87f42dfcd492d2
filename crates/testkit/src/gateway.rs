//! A gateway of a test's own.

use std::path::Path;
use std::time::Duration;

use comfyui_gateway::Gateway;
use comfyui_sim::{SimConfig, Simulator, Switches};
use gateway_config::{Overrides, Settings};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::answer::Answer;
use crate::wait::until;
use crate::workflows::tiny_workflow;

/// Waits between attempts are this much shorter than in production.
const BACKOFF_SCALE: f64 = 0.01;

/// Requests that a test may send: more than it does.
const UNLIMITED: u32 = 1_000_000_000;

type Tweak = Box<dyn Fn(&mut Settings) + Send + Sync>;

/// How a test's gateway differs from the usual.
pub struct TestBuilder {
    database: Option<String>,
    sim: SimConfig,
    url: Option<String>,
    api_alone: bool,
    variables: Vec<(&'static str, String)>,
    key: Option<String>,
    tweak: Tweak,
}

/// A gateway, its simulator, and a client for it. All of it is gone when it is dropped.
pub struct TestGateway {
    /// The simulated ComfyUI.
    pub sim: Simulator,
    gateway: Option<Gateway>,
    base: String,
    client: Client,
    folder: TempDir,
    database: Option<String>,
    url: String,
    api_alone: bool,
    variables: Vec<(&'static str, String)>,
    key: Option<String>,
    tweak: Tweak,
}

impl Default for TestBuilder {
    fn default() -> Self {
        Self {
            database: None,
            sim: SimConfig::default(),
            url: None,
            api_alone: false,
            variables: Vec::new(),
            key: None,
            tweak: Box::new(|_settings| {}),
        }
    }
}

impl TestBuilder {
    /// With the database at `url` in place of a file of its own.
    #[must_use]
    pub fn database(mut self, url: impl Into<String>) -> Self {
        self.database = Some(url.into());
        self
    }

    /// With a simulator like this.
    #[must_use]
    pub fn sim(mut self, config: SimConfig) -> Self {
        self.sim = config;
        self
    }

    /// With these switches of the simulator.
    #[must_use]
    pub fn switches(mut self, change: impl FnOnce(&mut Switches)) -> Self {
        change(&mut self.sim.switches);
        self
    }

    /// With another URL for ComfyUI than the simulator's own, made from that.
    #[must_use]
    pub fn comfyui_url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Without a worker, where its settings name a queue that processes share.
    #[must_use]
    pub fn api_alone(mut self) -> Self {
        self.api_alone = true;
        self
    }

    /// With this variable, as an operator sets it.
    #[must_use]
    pub fn variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Its own requests show this key; those of [`TestGateway::client`] do not.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With other settings.
    #[must_use]
    pub fn settings(mut self, tweak: impl Fn(&mut Settings) + Send + Sync + 'static) -> Self {
        self.tweak = Box::new(tweak);
        self
    }

    /// Starts it and waits until it can use ComfyUI.
    pub async fn start(self) -> TestGateway {
        let test = self.start_unready().await;
        test.wait_ready().await;
        test
    }

    /// Starts it; ComfyUI may not be usable.
    pub async fn start_unready(self) -> TestGateway {
        // Two crates bring a TLS provider each; a second choice is refused, and that is fine.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let sim = Simulator::start(self.sim).await.expect("the simulator starts");
        let url = self.url.unwrap_or_else(|| sim.url());
        let folder = tempfile::tempdir().expect("a folder");
        let mut test = TestGateway {
            sim,
            gateway: None,
            base: String::new(),
            client: Client::builder().timeout(Duration::from_secs(60)).build().expect("a client"),
            folder,
            database: self.database,
            url,
            api_alone: self.api_alone,
            variables: self.variables,
            key: self.key,
            tweak: self.tweak,
        };
        test.start_gateway().await;
        test
    }
}

impl TestGateway {
    /// A gateway with a healthy simulator and the workflow `tiny`.
    pub async fn start() -> Self {
        let test = TestBuilder::default().start().await;
        test.register("tiny", tiny_workflow()).await;
        test
    }

    /// Starts the gateway, again or for the first time, on the same database.
    pub async fn start_gateway(&mut self) {
        let settings = self.settings();
        let gateway = Gateway::start(settings, !self.api_alone).await.expect("the gateway starts");
        self.base = gateway.url();
        self.gateway = Some(gateway);
    }

    /// Stops the gateway gracefully; the database stays.
    pub async fn stop_gateway(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            gateway.stop().await;
        }
    }

    /// The folder that holds its database and outputs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The URL of `path`.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The HTTP client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The running gateway.
    pub fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("the gateway runs")
    }

    fn settings(&self) -> Settings {
        let folder = self.folder.path();
        let overrides = Overrides::default()
            .with("HOST", Some("127.0.0.1"))
            .with("PORT", Some(0))
            .with("COMFYUI_URL", Some(&self.url))
            .with("COMFYUI_POLL_MS", Some(200))
            .with(
                "DATABASE_URL",
                Some(self.database.clone().unwrap_or_else(|| folder.join("gateway.db").display().to_string())),
            )
            .with("STORAGE_LOCAL_PATH", Some(folder.join("outputs").display()))
            .with("RATE_LIMIT_MAX", Some(UNLIMITED));
        let named = |overrides: Overrides, (name, value): &(&'static str, String)| overrides.with(name, Some(value));
        let overrides = self.variables.iter().fold(overrides, named);
        let mut settings = gateway_config::load(&folder.join("no.env"), &overrides).expect("settings");
        settings.queue.backoff_scale = BACKOFF_SCALE;
        settings.worker.grace = Duration::from_secs(5);
        (self.tweak)(&mut settings);
        settings
    }

    /// A request that shows the test's key, where it has one.
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, self.url(path));
        match &self.key {
            Some(key) => request.header("x-api-key", key),
            None => request,
        }
    }

    /// Sends a request with an optional JSON body.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(body);
        }
        Answer::read(request.send().await.expect("an answer")).await
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    /// `POST path` with `body`.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    /// `POST path` with raw bytes as JSON.
    pub async fn post_raw(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        let request = self.request(Method::POST, path).header("content-type", "application/json").body(body.into());
        Answer::read(request.send().await.expect("an answer")).await
    }

    /// `GET path` with one header.
    pub async fn get_with(&self, path: &str, header: &str, value: &str) -> Answer {
        let request = self.request(Method::GET, path).header(header, value);
        Answer::read(request.send().await.expect("an answer")).await
    }

    /// Registers `body` (without its id) as the workflow `id`.
    pub async fn register(&self, id: &str, mut body: Value) {
        body["id"] = json!(id);
        let _created = self.post("/workflows", &body).await.expect(201);
    }

    /// Submits a job; gives its id.
    pub async fn submit(&self, workflow: &str, inputs: Value) -> String {
        let answer = self.post("/jobs", &json!({"workflowId": workflow, "inputs": inputs})).await.expect(202);
        answer.json()["jobId"].as_str().expect("an id").to_owned()
    }

    /// The job as the API shows it.
    pub async fn job(&self, id: &str) -> Value {
        self.get(&format!("/jobs/{id}")).await.expect(200).json()
    }

    /// Waits until a job has ended; gives it.
    pub async fn wait_ended(&self, id: &str) -> Value {
        until("the job ends", || async {
            let job = self.job(id).await;
            matches!(job["status"].as_str(), Some("succeeded" | "failed" | "canceled")).then_some(job)
        })
        .await
    }

    /// Waits until a job is in `status`; panics if it ends otherwise.
    pub async fn wait_status(&self, id: &str, status: &str) -> Value {
        until(&format!("the job is {status}"), || async {
            let job = self.job(id).await;
            let now = job["status"].as_str().unwrap_or_default().to_owned();
            let ended = matches!(now.as_str(), "succeeded" | "failed" | "canceled");
            assert!(!ended || now == status, "the job is {now}, not {status}: {job}");
            (now == status).then_some(job)
        })
        .await
    }

    /// Waits until the gateway can use ComfyUI.
    pub async fn wait_ready(&self) {
        until("the gateway is ready", || async { (self.get("/health/ready").await.status == 200).then_some(()) }).await;
    }

    /// Submits a job and waits until it has ended.
    pub async fn run(&self, workflow: &str, inputs: Value) -> Value {
        let id = self.submit(workflow, inputs).await;
        self.wait_ended(&id).await
    }
}
