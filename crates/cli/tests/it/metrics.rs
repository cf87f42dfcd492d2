//! What `/metrics` shows: every line of the table, by whoever is to show it, and nothing else; and what it counts.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use comfyui_sim::{SimConfig, Simulator};
use gateway_metrics::{ALL, Kind, Shown};
use gateway_testkit::stack::{Redis, free_port};
use gateway_testkit::{Receiver, in_an_hour, sampler_workflow, tiny_workflow, until};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::monitoring::promtool;
use crate::scrape::Scrape;
use crate::support::{Place, Process, url_of};

const KEY: &str = "operator-0123456789abcdef";
/// What a test owns and says, which metrics must not.
const OWNER: &str = "alice7owner";
const PROMPT: &str = "canary7prompt";

/// A gateway and whoever it talks to.
struct Scene {
    place: Place,
    client: Client,
    sim: Simulator,
    receiver: Receiver,
    base: String,
    gateway: Process,
}

impl Scene {
    /// `run` with these further variables, in which HOST stands for that of ComfyUI, and the workflows `tiny` and `sampler`.
    async fn start(variables: &[(&str, &str)]) -> Self {
        let sim = Simulator::start(SimConfig::default()).await.expect("a simulator");
        let receiver = Receiver::start().await;
        let mut place = Place::new();
        for (name, value) in [
            ("HOST", String::from("127.0.0.1")),
            ("PORT", String::from("0")),
            ("LOG_FORMAT", String::from("json")),
            ("COMFYUI_URL", sim.url()),
            ("COMFYUI_POLL_MS", String::from("200")),
            ("API_KEYS", format!("{KEY}:admin:{OWNER}")),
            ("WEBHOOK_ALLOWED_DOMAINS", format!("127.0.0.1:{}", receiver.port())),
            ("RATE_LIMIT_MAX", String::from("1000000")),
        ] {
            place.set(name, &value);
        }
        let host = sim.address().to_string();
        variables.iter().for_each(|(name, value)| place.set(name, &value.replace("HOST", &host)));
        let client = Client::builder().timeout(Duration::from_secs(60)).build().expect("a client");
        let gateway = place.start(&["run"]);
        let serves = |line: &str| line.contains("\"the gateway serves\"").then(|| url_of(line)).flatten();
        let base = gateway.err.find("its URL", serves);
        let scene = Self { place, client, sim, receiver, base, gateway };
        for (id, mut workflow) in [("tiny", tiny_workflow()), ("sampler", sampler_workflow())] {
            workflow["id"] = json!(id);
            scene.send(Method::POST, "/workflows", Some(&workflow), 201).await;
        }
        scene
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>, status: u16) -> Value {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).header("x-api-key", KEY);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.expect("an answer");
        let (got, text) = (answer.status().as_u16(), answer.text().await.expect("a body"));
        assert_eq!(got, status, "{path}: {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    async fn submit(&self, body: &Value, status: u16) -> String {
        let answer = self.send(Method::POST, "/jobs", Some(body), status).await;
        answer["jobId"].as_str().expect("an id").to_owned()
    }

    async fn wait(&self, job: &str, status: &str) -> Value {
        until(&format!("the job is {status}"), || async {
            let job = self.send(Method::GET, &format!("/jobs/{job}"), None, 200).await;
            (job["status"] == status).then_some(job)
        })
        .await
    }

    async fn scrape(&self) -> Scrape {
        Scrape::of(&self.client, &self.base).await
    }

    /// Has jobs end in several ways: a success that is told by a webhook, the same from the cache, and one that somebody
    /// interrupts, so that it is tried again.
    async fn work(&self) {
        let tiny = json!({"workflowId": "tiny", "inputs": {"color": 7}, "metadata": {"note": PROMPT},
            "callbackUrl": self.receiver.url("/hook")});
        let first = self.submit(&tiny, 202).await;
        self.wait(&first, "succeeded").await;
        self.submit(&tiny, 200).await;
        self.receiver.until_count(2).await;
        self.sim.update(|switches| switches.step_ms = 20);
        let long = json!({"workflowId": "sampler", "inputs": {"seed": 1, "steps": 5000}});
        let long = self.submit(&long, 202).await;
        until("the run is interrupted and tried again", || async {
            let interrupt = self.client.post(format!("{}/interrupt", self.sim.url())).send().await;
            interrupt.expect("an answer");
            self.scrape().await.sum("gateway_job_retries_total", &[("code", "COMFYUI_UNREACHABLE")])
        })
        .await;
        self.send(Method::POST, &format!("/jobs/{long}/cancel"), Some(&json!({})), 202).await;
        self.wait(&long, "canceled").await;
    }
}

/// The families of the table that somebody shows who has these parts.
fn table(parts: &[Shown]) -> BTreeSet<&'static str> {
    ALL.iter().filter(|family| parts.contains(&family.shown)).map(|family| family.name).collect()
}

/// Waits until `base` shows the families of `parts`; gives the text. Each has the type and the labels of the table.
async fn shows(client: &Client, base: &str, parts: &[Shown]) -> Scrape {
    let wanted = table(parts);
    let deadline = tokio::time::Instant::now() + gateway_testkit::DEADLINE;
    let scrape = loop {
        let scrape = Scrape::of(client, base).await;
        let seen = scrape.families();
        if seen == wanted {
            break scrape;
        }
        let differ: Vec<_> = seen.symmetric_difference(&wanted).collect();
        assert!(tokio::time::Instant::now() < deadline, "{differ:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    for sample in &scrape.samples {
        let name = scrape.family(sample);
        let family = ALL.iter().find(|family| family.name == name).expect("a line of the table");
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        assert_eq!(scrape.types.get(name).map(String::as_str), Some(kind), "{name}");
        let labels: BTreeSet<&str> = sample.labels.keys().map(String::as_str).filter(|label| *label != "le").collect();
        assert_eq!(labels, family.labels.iter().copied().collect(), "{name}");
    }
    scrape
}

/// What promtool says of a text of metrics.
fn lint(scrape: &Scrape) {
    use std::io::Write as _;
    let Some(promtool) = promtool() else { return };
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    check.stdin.take().expect("its input").write_all(scrape.text.as_bytes()).expect("it reads");
    let output = check.wait_with_output().expect("it ends");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{}", scrape.text);
}

#[tokio::test]
async fn where_metrics_are_off_there_is_nothing_to_see() {
    let scene = Scene::start(&[("METRICS_ENABLED", "false")]).await;
    let job = scene.submit(&json!({"workflowId": "tiny", "inputs": {"color": 7}}), 202).await;
    scene.wait(&job, "succeeded").await;
    let problem = scene.send(Method::GET, "/metrics", None, 404).await;
    assert_eq!(
        (&problem["code"], &problem["detail"]),
        (&json!("NOT_FOUND"), &json!("metrics are off (METRICS_ENABLED)"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_shows_each_line_of_the_table_but_those_of_redis_and_nothing_of_callers() {
    let scene = Scene::start(&[("COMFYUI_URL", "http://artist:hunter2secret@HOST")]).await;
    scene.work().await;
    let parts = [Shown::Api, Shown::Fleet, Shown::Worker, Shown::Every];
    let scrape = shows(&scene.client, &scene.base, &parts).await;
    lint(&scrape);
    for secret in [KEY, OWNER, PROMPT, "/hook", "a fox", "artist", "hunter2secret"] {
        assert!(!scrape.text.contains(secret), "{secret}: {}", scrape.text);
    }
    let info = [("server", "0"), ("url", &*scene.sim.url()), ("version", "0.3.64")];
    assert_eq!(scrape.sum("gateway_comfyui_info", &info), Some(1.0), "{}", scrape.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_counted_once_under_its_labels() {
    let scene = Scene::start(&[]).await;
    scene.work().await;
    let scrape = scene.scrape().await;
    let sum = |name: &str, labels: &[(&str, &str)]| scrape.sum(name, labels).unwrap_or_default();
    let posts =
        |status| sum("gateway_http_requests_total", &[("method", "POST"), ("route", "/jobs"), ("status", status)]);
    assert_eq!((posts("202"), posts("200")), (2.0, 1.0));
    let times = [("method", "POST"), ("route", "/jobs")];
    assert_eq!(sum("gateway_http_request_duration_seconds_count", &times), 3.0);
    let accepted = |outcome| sum("gateway_jobs_accepted_total", &[("workflow", "tiny"), ("outcome", outcome)]);
    assert_eq!((accepted("queued"), accepted("cache_hit"), accepted("joined")), (1.0, 1.0, 0.0));
    let looked = |result| sum("gateway_cache_lookups_total", &[("workflow", "tiny"), ("result", result)]);
    assert_eq!((looked("miss"), looked("hit")), (1.0, 1.0));
    let ended = |workflow, status| sum("gateway_jobs_ended_total", &[("workflow", workflow), ("status", status)]);
    assert_eq!((ended("tiny", "succeeded"), ended("sampler", "canceled"), ended("sampler", "failed")), (2.0, 1.0, 0.0));
    for (part, workflow, count) in [
        ("wait", "tiny", 1.0),
        ("run", "tiny", 1.0),
        ("store", "tiny", 1.0),
        ("wait", "sampler", 1.0),
        ("run", "sampler", 0.0),
    ] {
        let name = format!("gateway_job_{part}_seconds_count");
        assert_eq!(sum(&name, &[("workflow", workflow)]), count, "{part} of {workflow}");
    }
    assert_eq!(sum("gateway_webhook_tries_total", &[("outcome", "delivered")]), 2.0);
    assert_eq!(sum("gateway_webhook_try_duration_seconds_count", &[]), 2.0);

    // Paths that are not there, and methods that nobody knows, are one each; /v1 is the same route.
    for path in ["/nowhere/a", "/nowhere/b", "/v1/nowhere"] {
        scene.send(Method::GET, path, None, 404).await;
    }
    let brew = Method::from_bytes(b"BREW").expect("a method");
    scene.send(brew, "/jobs", None, 405).await;
    scene.send(Method::GET, "/v1/jobs", None, 200).await;
    scene.send(Method::GET, "/jobs", None, 200).await;
    let scrape = scene.scrape().await;
    let requests = |labels: &[(&str, &str)]| scrape.sum("gateway_http_requests_total", labels).unwrap_or_default();
    assert_eq!(requests(&[("route", "-"), ("status", "404")]), 3.0);
    assert_eq!(requests(&[("method", "other"), ("route", "/jobs"), ("status", "405")]), 1.0);
    assert_eq!(requests(&[("method", "GET"), ("route", "/jobs"), ("status", "200")]), 2.0);
    assert!(!scrape.text.contains("nowhere") && !scrape.text.contains("BREW"), "{}", scrape.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_is_counted_by_what_for() {
    let scene =
        Scene::start(&[("RATE_LIMIT_MAX", "8"), ("RATE_LIMIT_WINDOW_MS", "3600000"), ("OWNER_QUEUE_LIMIT", "1")]).await;
    let get = async |key: Option<&str>| {
        let mut request = scene.client.get(format!("{}/jobs", scene.base));
        if let Some(key) = key {
            request = request.header("x-api-key", key);
        }
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!((get(None).await, get(Some("nobody's")).await), (401, 401));
    let later = json!({"workflowId": "tiny", "inputs": {"color": 1}, "notBefore": in_an_hour()});
    scene.submit(&later, 202).await;
    scene.send(Method::POST, "/jobs", Some(&later), 429).await;
    // Two workflows and two jobs were sent before.
    for _ in 0..4 {
        assert_eq!(get(Some(KEY)).await, 200);
    }
    assert_eq!((get(Some(KEY)).await, get(Some(KEY)).await), (429, 429));
    let scrape = scene.scrape().await;
    let counted = |name: &str, label: &str, value: &str| scrape.sum(name, &[(label, value)]);
    assert_eq!(counted("gateway_rate_limit_refusals_total", "counted", "key"), Some(2.0));
    assert_eq!(counted("gateway_rate_limit_refusals_total", "counted", "address"), Some(0.0));
    assert_eq!(counted("gateway_auth_failures_total", "reason", "none"), Some(1.0));
    assert_eq!(counted("gateway_auth_failures_total", "reason", "unknown"), Some(1.0));
    assert_eq!(counted("gateway_queue_refusals_total", "bound", "owner"), Some(1.0));
    assert_eq!(scrape.sum("gateway_queue_delayed", &[]), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_and_what_is_away_is_shown_as_it_is_now() {
    let scene = Scene::start(&[("GATEWAY_ENV", "production")]).await;
    until("ComfyUI can be used", || async {
        let scrape = scene.scrape().await;
        let ready = [("state", "ready")];
        (scrape.sum("gateway_comfyui_up", &[("server", "0")]) == Some(1.0)
            && scrape.sum("gateway_comfyui_servers", &ready) == Some(1.0)
            && scrape.sum("gateway_comfyui_state", &ready) == Some(1.0)
            && scrape.sum("gateway_comfyui_vram_bytes", &[("server", "0"), ("device", "0")]) > Some(1e6)
            && scrape.sum("gateway_workers", &[("state", "running")]) == Some(1.0))
        .then_some(())
    })
    .await;
    // While one job is there it is busy.
    scene.sim.update(|switches| switches.step_ms = 100);
    let long = json!({"workflowId": "sampler", "inputs": {"seed": 1, "steps": 5000}});
    let running = scene.submit(&long, 202).await;
    until("a second of work is counted", || async {
        let scrape = scene.scrape().await;
        let seconds = |name: &str| scrape.sum(name, &[("server", "0")]);
        (seconds("gateway_comfyui_busy_seconds_total") >= Some(1.0)
            && seconds("gateway_comfyui_up_seconds_total") >= seconds("gateway_comfyui_busy_seconds_total")
            && seconds("gateway_comfyui_prompts") == Some(1.0)
            && scrape.sum("gateway_worker_jobs", &[]) == Some(1.0)
            && scrape.sum("gateway_jobs", &[("status", "running")]) == Some(1.0))
        .then_some(())
    })
    .await;
    scene.send(Method::POST, &format!("/jobs/{running}/cancel"), Some(&json!({})), 202).await;
    scene.wait(&running, "canceled").await;

    scene.sim.crash().await;
    until("the loss is seen", || async {
        (scene.scrape().await.sum("gateway_comfyui_up", &[("server", "0")]) == Some(0.0)).then_some(())
    })
    .await;
    let urgent = json!({"workflowId": "tiny", "inputs": {"color": 1}, "priority": "high"});
    scene.submit(&urgent, 202).await;
    scene.send(Method::POST, "/queue/pause", Some(&json!({})), 200).await;
    let scrape = until("what waits is seen", || async {
        let scrape = scene.scrape().await;
        (scrape.sum("gateway_queue_depth", &[("lane", "high")]) == Some(1.0)
            && scrape.sum("gateway_queue_oldest_wait_seconds", &[("lane", "high")]) > Some(0.0)
            && scrape.sum("gateway_jobs", &[("status", "queued")]) == Some(1.0)
            && scrape.sum("gateway_queue_paused", &[]) == Some(1.0)
            && scrape.sum("gateway_comfyui_servers", &[("state", "unreachable")]) == Some(1.0)
            && scrape.sum("gateway_comfyui_servers", &[("state", "ready")]) == Some(0.0))
        .then_some(scrape)
    })
    .await;
    assert_eq!(scrape.sum("gateway_queue_oldest_wait_seconds", &[("lane", "low")]), Some(0.0));
    assert_eq!(scrape.sum("gateway_comfyui_state", &[("state", "unreachable")]), Some(1.0));
    assert_eq!(scrape.sum("gateway_comfyui_vram_bytes", &[]), None, "what is away has no memory");
    assert_eq!((scrape.sum("gateway_database_up", &[]), scrape.sum("gateway_queue_up", &[])), (Some(1.0), Some(1.0)));
    // In production nobody learns where ComfyUI is.
    assert_eq!(scrape.sum("gateway_comfyui_info", &[("url", "hidden")]), Some(1.0));
    assert!(!scrape.text.contains(&format!(":{}", scene.sim.address().port())), "{}", scrape.text);
}

/// Whether the tests of Redis are left out.
#[expect(clippy::disallowed_methods, reason = "the test command tells where its servers are")]
fn without_redis() -> bool {
    std::env::var("TEST_WITHOUT_REDIS").is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_and_a_worker_each_show_their_own_and_both_what_every_process_has() {
    if without_redis() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut redis = Redis::with(folder.path(), &["--appendonly", "yes"]).await;
    let mut scene = Scene::start(&[("REDIS_URL", &redis.url())]).await;
    let port = free_port().to_string();
    scene.place.set("WORKER_PORT", &port);
    let worker = scene.place.start(&["--json", "worker"]);
    let told = worker.out.find("it works", |line| serde_json::from_str::<Value>(line).ok());
    assert_eq!(told["health"], format!("127.0.0.1:{port}"));
    let worker_base = format!("http://127.0.0.1:{port}");
    let tiny = json!({"workflowId": "tiny", "inputs": {"color": 7}});
    let first = scene.submit(&tiny, 202).await;
    scene.wait(&first, "succeeded").await;
    scene.submit(&tiny, 200).await;
    let api = [Shown::Api, Shown::Fleet, Shown::Every, Shown::Redis];
    let scrape = shows(&scene.client, &scene.base, &api).await;
    assert_eq!(scrape.sum("gateway_jobs_ended_total", &[]), Some(1.0), "the one from the cache");
    lint(&scrape);
    let of_worker = Scrape::of(&scene.client, &worker_base).await;
    assert_eq!(of_worker.sum("gateway_jobs_ended_total", &[]), Some(1.0), "the one that was run");
    assert!(of_worker.sum("gateway_redis_duration_seconds_count", &[]) > Some(0.0), "{}", of_worker.text);
    lint(&of_worker);
    let strangers: Vec<&str> = of_worker
        .families()
        .into_iter()
        .filter(|name| !table(&[Shown::Worker, Shown::Every, Shown::Redis]).contains(name))
        .collect();
    assert!(strangers.is_empty(), "{strangers:?}");

    // Without Redis nobody knows who lives, and that is not nobody.
    redis.kill();
    let scrape = until("the loss is seen", || async {
        let scrape = scene.scrape().await;
        (scrape.sum("gateway_queue_up", &[]) == Some(0.0)).then_some(scrape)
    })
    .await;
    assert_eq!((scrape.sum("gateway_workers", &[]), scrape.sum("gateway_database_up", &[])), (None, Some(1.0)));
    assert!(scrape.sum("gateway_redis_errors_total", &[]) > Some(0.0));
    worker.terminate();
    scene.gateway.terminate();
}
