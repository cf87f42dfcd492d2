//! A word that stands in prompts and files is searched for everywhere that privacy mode keeps it out of: in the log at
//! its loudest, in the database byte for byte, in Redis, messages, answers, outputs and ComfyUI's history; with jobs that
//! end in every way, and a process that is killed. The same run without privacy mode shows that the search finds it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use comfyui_sim::{FailNode, SimConfig, Simulator};
use gateway_testkit::stack::{Postgres, Process as Server, Redis};
use gateway_testkit::{Receiver, copy_workflow, files_below, in_an_hour, paint_workflow, read_below, until};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::support::{Place, Process, server, url_of};

const CANARY: &str = "canary7prompt";
const NUMBER: u64 = 31_415_926;

/// Places that were searched, and what was found there.
#[derive(Default)]
struct Search {
    found: Vec<(&'static str, String)>,
}

impl Search {
    fn look(&mut self, place: &'static str, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let words = [CANARY.to_owned(), NUMBER.to_string()];
        for word in words {
            if let Some(at) = bytes.windows(word.len()).position(|window| window == word.as_bytes()) {
                let around = &bytes[at.saturating_sub(200)..(at + 200).min(bytes.len())];
                self.found.push((place, String::from_utf8_lossy(around).into_owned()));
            }
        }
    }

    fn look_into(&mut self, place: &'static str, folder: &Path) {
        for (_, bytes) in read_below(folder) {
            self.look(place, bytes);
        }
    }

    fn places(&self) -> Vec<&'static str> {
        let mut places: Vec<_> = self.found.iter().map(|(place, _)| *place).collect();
        places.sort_unstable();
        places.dedup();
        places
    }
}

/// A gateway under way, with those that it talks to.
struct Scene {
    place: Place,
    arguments: Vec<&'static str>,
    gateway: Option<Process>,
    base: String,
    log: String,
    client: Client,
    sim: Simulator,
    receiver: Receiver,
    answers: String,
}

impl Scene {
    async fn start(mut place: Place, arguments: &[&'static str], private: bool) -> Self {
        let sim = Simulator::start(SimConfig::default()).await.expect("a simulator");
        let receiver = Receiver::start().await;
        for (name, value) in [
            ("HOST", String::from("127.0.0.1")),
            ("PORT", String::from("0")),
            ("LOG_LEVEL", String::from("trace")),
            ("LOG_FORMAT", String::from("json")),
            ("COMFYUI_URL", sim.url()),
            ("COMFYUI_POLL_MS", String::from("200")),
            ("WORKER_LEASE_SECONDS", String::from("6")),
            ("WEBHOOK_ALLOWED_DOMAINS", format!("127.0.0.1:{}", receiver.port())),
            ("RATE_LIMIT_MAX", String::from("1000000")),
            ("PRIVACY_MODE", private.to_string()),
        ] {
            place.set(name, &value);
        }
        let client = Client::builder().timeout(Duration::from_secs(60)).build().expect("a client");
        let (log, answers) = (String::new(), String::new());
        let arguments = arguments.to_vec();
        let mut scene =
            Self { place, arguments, gateway: None, base: String::new(), log, client, sim, receiver, answers };
        scene.start_gateway().await;
        for (id, workflow) in [("paint", paint_workflow()), ("copy", copy_workflow())] {
            let mut body = workflow;
            body["id"] = json!(id);
            scene.send(Method::POST, "/workflows", Some(&body), 201).await;
        }
        scene
    }

    async fn start_gateway(&mut self) {
        let gateway = self.place.start(&self.arguments);
        let serves = |line: &str| line.contains("\"the gateway serves\"").then(|| url_of(line)).flatten();
        self.base = gateway.err.find("its URL", serves);
        self.gateway = Some(gateway);
        until("ComfyUI's node classes are known", || async {
            let workers: Value =
                self.client.get(format!("{}/workers", self.base)).send().await.ok()?.json().await.ok()?;
            let backend = &workers["items"][0]["backends"][0];
            (backend["state"] == "ready" && backend["nodeClasses"].is_u64()).then_some(())
        })
        .await;
    }

    /// Ends the gateway; by a signal that it can't hear where `hard` says so.
    fn stop_gateway(&mut self, hard: bool) {
        let gateway = self.gateway.take().expect("it runs");
        if hard {
            return self.log.push_str(&gateway.kill());
        }
        gateway.terminate();
        let ended = gateway.end();
        self.log.push_str(&ended.err);
        self.log.push_str(&ended.out);
    }

    /// Sends a request; what is answered is searched at the end.
    async fn send(&mut self, method: Method, path: &str, body: Option<&Value>, status: u16) -> Value {
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.expect("an answer");
        let (got, headers) = (answer.status().as_u16(), format!("{:?}", answer.headers()));
        let text = answer.text().await.expect("a body");
        assert!(status == 0 || got == status, "{method} {path}: {got} {text}");
        self.answers.push_str(&format!("{method} {path} {got} {headers}\n{text}\n"));
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Asks for a job that tells all that happens to it.
    async fn submit(&mut self, workflow: &str, inputs: Value, more: Value) -> String {
        let mut body = json!({
            "workflowId": workflow, "inputs": inputs, "callbackUrl": self.receiver.url("/hook"),
            "webhookEvents": ["job.started", "job.progress", "job.succeeded", "job.failed", "job.canceled"],
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let answer = self.client.post(format!("{}/jobs", self.base)).json(&body).send().await.expect("an answer");
        let (status, answer): (_, Value) = (answer.status().as_u16(), answer.json().await.expect("JSON"));
        assert_eq!(status, 202, "{answer}");
        answer["jobId"].as_str().expect("an id").to_owned()
    }

    async fn job(&self, id: &str) -> Value {
        let answer = self.client.get(format!("{}/jobs/{id}", self.base)).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    }

    async fn wait(&self, id: &str, status: &str) {
        until(&format!("a job is {status}"), || async {
            let job = self.job(id).await;
            let now = job["status"].as_str().unwrap_or_default().to_owned();
            let ended = matches!(now.as_str(), "succeeded" | "failed" | "canceled");
            assert!(!ended || now == status, "the job is {now}, not {status}: {job}");
            (now == status).then_some(())
        })
        .await;
    }

    async fn cancel(&mut self, id: &str) {
        self.send(Method::POST, &format!("/jobs/{id}/cancel"), Some(&json!({})), 202).await;
        self.wait(id, "canceled").await;
    }

    async fn upload(&self) -> String {
        let request = self.client.post(format!("{}/uploads", self.base)).body(picture());
        let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
        answer["uploadId"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }
}

/// Inputs that are about the word; it stands where the name of a model could, too.
fn about(more: Value) -> Value {
    let mut inputs = json!({"prompt": format!("a fox in the snow, {CANARY}.safetensors"), "seed": 7});
    for (name, value) in more.as_object().into_iter().flatten() {
        inputs[name] = value.clone();
    }
    inputs
}

/// A picture of one pixel with the word in its metadata.
fn picture() -> Vec<u8> {
    const HEAD: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";
    const REST: &[u8] = b"\0\0\0\x0aIDAT\x78\x9c\x63\0\x01\0\0\x05\0\x01\x0d\x0a\x2d\xb4\0\0\0\0IEND\xae\x42\x60\x82";
    let chunk = [&b"tEXtComment\0"[..], CANARY.as_bytes()].concat();
    let length = u32::try_from(chunk.len() - 4).expect("a short text").to_be_bytes();
    [HEAD, &length[..], &chunk[..], &crc(&chunk).to_be_bytes()[..], REST].concat()
}

fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

/// Has jobs end in every way; gives them with how each ended.
async fn run_jobs(scene: &mut Scene) -> Vec<(String, &'static str)> {
    let mut jobs = Vec::new();
    let upload = scene.upload().await;
    for (workflow, inputs) in [("paint", about(json!({"steps": 3}))), ("copy", json!({"image": {"uploadId": upload}}))]
    {
        jobs.push((scene.submit(workflow, inputs, json!({})).await, "succeeded"));
    }
    jobs.push((scene.submit("paint", about(json!({"sampler": CANARY})), json!({})).await, "failed"));
    for (id, status) in &jobs {
        scene.wait(id, status).await;
    }

    let waiting = scene.submit("paint", about(json!({})), json!({"notBefore": in_an_hour()})).await;
    scene.cancel(&waiting).await;
    scene.sim.update(|switches| switches.step_ms = 50);
    let running = scene.submit("paint", about(json!({"steps": 5_000})), json!({})).await;
    scene.wait(&running, "running").await;
    let url = format!("{}/jobs/{running}/events?previews=1", scene.base);
    let mut stream = scene.client.get(url).send().await.expect("an answer");
    let mut events = String::new();
    while events.matches("event: progress").count() < 3 {
        let chunk = stream.chunk().await.expect("the stream").expect("it goes on");
        events.push_str(&String::from_utf8_lossy(&chunk));
    }
    scene.cancel(&running).await;
    events.push_str(&stream.text().await.expect("its end"));
    scene.answers.push_str(&events);
    jobs.extend([(waiting, "canceled"), (running, "canceled")]);

    // One that outlives the process that has taken it.
    let survivor = scene.submit("paint", about(json!({"steps": 100})), json!({})).await;
    scene.wait(&survivor, "running").await;
    scene.stop_gateway(true);
    scene.start_gateway().await;
    scene.wait(&survivor, "succeeded").await;
    jobs.push((survivor, "succeeded"));

    let exception_type = String::from("ValueError");
    let message = format!("the text {CANARY} can't be read");
    let fault = FailNode { class_type: String::from("CLIPTextEncode"), exception_type, message };
    scene.sim.update(|switches| switches.fail_node = Some(fault));
    // Of a text that it has not read before.
    let other = json!({"prompt": format!("an owl, {CANARY}")});
    let failing = scene.submit("paint", about(other), json!({})).await;
    scene.wait(&failing, "failed").await;
    jobs.push((failing, "failed"));
    jobs
}

/// Sends what is refused, each for another reason.
async fn be_refused(scene: &mut Scene) {
    for inputs in [
        json!({"prompt": {"text": CANARY}}),
        json!({"prompt": CANARY.repeat(100)}),
        about(json!({"checkpoint": format!("{CANARY}.safetensors")})),
        about(json!({"width": NUMBER})),
        json!({"prompt": CANARY, "seed": CANARY}),
    ] {
        scene.send(Method::POST, "/jobs", Some(&json!({"workflowId": "paint", "inputs": inputs})), 422).await;
    }
    let image = json!({"image": {"base64": format!("{CANARY}!")}});
    scene.send(Method::POST, "/jobs", Some(&json!({"workflowId": "copy", "inputs": image})), 422).await;
    // The same, and one that is not refused, as an agent asks for it.
    for inputs in [json!({"prompt": CANARY, "seed": CANARY}), about(json!({"steps": 3}))] {
        let params = json!({"name": "paint", "arguments": inputs});
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        scene.send(Method::POST, "/mcp", Some(&call), 200).await;
    }
}

/// Waits until all that follows from the ends of jobs is done.
async fn settle(scene: &Scene, jobs: &[(String, &'static str)], private: bool) {
    until("every end, and how far a job is, was told", || async {
        let told: Vec<Value> = scene.receiver.requests().iter().map(|request| request.json()).collect();
        let is_told = |(id, status): &(String, &str)| {
            let kind = format!("job.{status}");
            told.iter().any(|message| message["type"] == kind.as_str() && message["data"]["jobId"] == id.as_str())
        };
        let progress = told.iter().any(|message| message["type"] == "job.progress");
        (progress && jobs.iter().all(is_told)).then_some(())
    })
    .await;
    if !private {
        return;
    }
    // What was to be removed by the process that was killed is found by the next.
    until("ComfyUI's history is empty", || async {
        let url = format!("{}/history", scene.sim.url());
        let history: Value = scene.client.get(url).send().await.ok()?.json().await.ok()?;
        (history == json!({})).then_some(())
    })
    .await;
    let uploads = scene.place.path("data/outputs/uploads");
    until("files of callers are gone", || async { files_below(&uploads).is_empty().then_some(()) }).await;
}

/// Reads all that there is to be read of the jobs.
async fn read_all(scene: &mut Scene, search: &mut Search, jobs: &[(String, &'static str)], private: bool) {
    for (id, _) in jobs {
        for path in ["", "/logs", "/events", "/webhooks"] {
            scene.send(Method::GET, &format!("/jobs/{id}{path}"), None, 200).await;
        }
        let outputs = scene.send(Method::GET, &format!("/outputs/{id}"), None, 0).await;
        for output in outputs["items"].as_array().into_iter().flatten() {
            let url = format!("{}{}", scene.base, output["url"].as_str().expect("a URL"));
            let answer = scene.client.get(url).send().await.expect("an answer");
            search.look("an output", answer.bytes().await.expect("bytes"));
        }
        if private {
            let refused = scene.send(Method::POST, &format!("/jobs/{id}/retry"), Some(&json!({})), 409).await;
            assert_eq!(refused["code"], "CONFLICT", "{refused}");
        }
    }
    for path in ["/jobs?limit=100", "/jobs/stats", "/queue/dead", "/workers", "/health", "/capabilities", "/metrics"] {
        scene.send(Method::GET, path, None, 0).await;
    }
}

/// Runs it all; gives where the word was found, but for what the database says.
async fn play(place: Place, arguments: &[&'static str], private: bool) -> (Search, Place) {
    let mut search = Search::default();
    let mut scene = Scene::start(place, arguments, private).await;
    let jobs = run_jobs(&mut scene).await;
    be_refused(&mut scene).await;
    settle(&scene, &jobs, private).await;
    read_all(&mut scene, &mut search, &jobs, private).await;
    scene.stop_gateway(false);
    for request in scene.receiver.requests() {
        search.look("a message", &request.body);
    }
    assert!(scene.log.contains("\"level\":\"TRACE\"") || scene.log.contains("\"level\":\"DEBUG\""), "the log is quiet");
    search.look("the log", &scene.log);
    search.look("an answer", &scene.answers);
    search.look_into("the storage", &scene.place.path("data/outputs"));
    (search, scene.place)
}

#[track_caller]
fn nowhere(search: &Search) {
    let found: Vec<String> = search.found.iter().map(|(place, text)| format!("{place}: {text}")).collect();
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

async fn with_a_file(private: bool) -> Search {
    let (mut search, place) = play(Place::new(), &["run"], private).await;
    let mut files = read_below(&place.path("data"));
    files.retain(|(path, _)| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("gateway.db")));
    assert!(files.iter().any(|(path, _)| path.ends_with("gateway.db")), "the database is not there");
    for (_, bytes) in files {
        search.look("the database", bytes);
    }
    search
}

#[tokio::test(flavor = "multi_thread")]
async fn in_privacy_mode_a_prompt_is_nowhere_once_its_job_has_ended() {
    nowhere(&with_a_file(true).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_privacy_mode_the_same_search_finds_it() {
    let search = with_a_file(false).await;
    assert_eq!(
        search.places(),
        ["a message", "an answer", "an output", "the database", "the log", "the storage"],
        "the search misses something"
    );
}

/// Where Postgres is; `None` where the test command has left out a server that is needed.
fn servers() -> Option<String> {
    server("POSTGRES").filter(|_| server("REDIS").is_some())
}

/// Every row of every table.
fn rows(url: &str) -> String {
    let ask = |sql: &str| {
        let output = Command::new("psql").args([url, "-v", "ON_ERROR_STOP=1", "-qtAc", sql]).output().expect("psql");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let tables = ask("SELECT quote_ident(table_name) FROM information_schema.tables WHERE table_schema = 'public'");
    assert!(tables.contains("jobs") && tables.contains("deliveries"), "{tables}");
    tables.lines().map(|table| ask(&format!("SELECT t::text FROM {table} t"))).collect()
}

async fn with_servers(server: &str, private: bool) -> Search {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::with(folder.path(), &["--appendonly", "yes"]).await;
    let url = redis.url();
    let port = url.rsplit(':').next().expect("a port");
    let mut command = Command::new("redis-cli");
    command.args(["-p", port, "monitor"]);
    let monitor = Server::start("monitor", command, folder.path());
    let postgres = Postgres::new(server, &format!("p_{}_{private}", std::process::id()));
    let mut place = Place::new();
    place.set("REDIS_URL", &url);
    place.set("DATABASE_URL", &postgres.url());
    let (mut search, _place) = play(place, &["run", "--with-worker"], private).await;
    search.look("the database", rows(&postgres.url()));
    drop(monitor);
    let told = std::fs::read(folder.path().join("monitor.out")).expect("what was said to Redis");
    assert!(told.len() > 1_000, "the monitor heard nothing");
    search.look("Redis", told);
    search.look_into("Redis", &folder.path().join("redis"));
    search
}

#[tokio::test(flavor = "multi_thread")]
async fn in_privacy_mode_it_is_in_no_row_of_postgres_and_nothing_that_redis_hears() {
    if let Some(server) = servers() {
        nowhere(&with_servers(&server, true).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_privacy_mode_rows_of_postgres_and_redis_have_it() {
    if let Some(server) = servers() {
        let found = with_servers(&server, false).await.places();
        assert!(found.contains(&"the database") && found.contains(&"Redis"), "{found:?}");
    }
}
