//! One trace of a job through the processes of a gateway, to ComfyUI and to its owner, as a collector gets it; and that
//! nothing waits for the collector.

use std::collections::BTreeMap;
use std::time::Duration;

use comfyui_sim::{SimConfig, Simulator};
use gateway_testkit::stack::Redis;
use gateway_testkit::{Receiver, Reply, until};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Kind};
use prost::Message as _;
use reqwest::Client;
use serde_json::{Value, json};

use crate::support::{Place, Process, url_of};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
const CANARY: &str = "canary7prompt";
const CORRELATION: &str = "trace-me";
/// Of one pixel.
const PICTURE: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// A span as the collector got it.
#[derive(Debug, Clone)]
struct Traced {
    name: String,
    trace: String,
    id: String,
    parent: String,
    service: String,
    kind: i32,
    attributes: BTreeMap<String, String>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Kind::StringValue(text)) => text.clone(),
        Some(Kind::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn table(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute.value.as_ref()))).collect()
}

/// All that the collector got so far.
fn traced(collector: &Receiver) -> Vec<Traced> {
    let mut found = Vec::new();
    for request in collector.requests() {
        assert_eq!((request.path.as_str(), request.header("x-collector")), ("/v1/traces", "s3same"));
        let body = ExportTraceServiceRequest::decode(request.body.as_slice()).expect("OTLP");
        for resource in body.resource_spans {
            let of = table(&resource.resource.expect("a resource").attributes);
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                found.push(Traced {
                    trace: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                    service: of["service.name"].clone(),
                    kind: span.kind,
                    attributes: table(&span.attributes),
                    name: span.name,
                });
            }
        }
    }
    found
}

#[track_caller]
fn one<'a>(spans: &'a [Traced], name: &str) -> &'a Traced {
    let found: Vec<&Traced> = spans.iter().filter(|span| span.trace == TRACE && span.name == name).collect();
    let [span] = found.as_slice() else { panic!("{name}: {found:?}\nof {spans:#?}") };
    span
}

/// What a gateway talks to.
struct Scene {
    place: Place,
    sim: Simulator,
    owner: Receiver,
    client: Client,
    base: String,
    processes: Vec<Process>,
}

impl Scene {
    async fn new() -> Self {
        let (sim, owner) =
            (Simulator::start(SimConfig::default()).await.expect("a simulator"), Receiver::start().await);
        let mut place = Place::new();
        for (name, value) in [
            ("HOST", String::from("127.0.0.1")),
            ("PORT", String::from("0")),
            ("LOG_FORMAT", String::from("json")),
            ("COMFYUI_URL", sim.url()),
            ("WEBHOOK_ALLOWED_DOMAINS", format!("127.0.0.1:{}", owner.port())),
            ("WEBHOOK_SECRET", String::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")),
        ] {
            place.set(name, &value);
        }
        let client = Client::builder().timeout(Duration::from_secs(60)).build().expect("a client");
        Self { place, sim, owner, client, base: String::new(), processes: Vec::new() }
    }

    fn send_traces_to(&mut self, collector: &Receiver) {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url("")),
            ("OTEL_EXPORTER_OTLP_HEADERS", String::from("x-collector=s3same")),
            ("OTEL_BSP_SCHEDULE_DELAY", String::from("50")),
        ] {
            self.place.set(name, &value);
        }
    }

    /// Starts the gateway, beside it a worker where there is a queue for both.
    async fn start(&mut self, redis: Option<&Redis>) {
        if let Some(redis) = redis {
            self.place.set("REDIS_URL", &redis.url());
        }
        self.place.run(&["init"]).expect(0);
        self.place.set("OTEL_SERVICE_NAME", "the-api");
        let api = self.place.start(&["run"]);
        let serves = |line: &str| line.contains("\"the gateway serves\"").then(|| url_of(line)).flatten();
        self.base = api.err.find("its URL", serves);
        self.processes.push(api);
        if redis.is_some() {
            self.place.set("OTEL_SERVICE_NAME", "the-worker");
            self.processes.push(self.place.start(&["worker"]));
        }
        until("ComfyUI can be used", || async {
            let workers: Value =
                self.client.get(format!("{}/workers", self.base)).send().await.ok()?.json().await.ok()?;
            (workers["items"][0]["backends"][0]["state"] == "ready").then_some(())
        })
        .await;
    }

    /// Runs a job with a file of its own, sent with this `traceparent`; gives its id and what its owner was told.
    async fn run(&self, trace_parent: Option<&str>) -> (String, gateway_testkit::Received) {
        let before = self.owner.count();
        let mut request = self.client.post(format!("{}/jobs", self.base)).header("x-request-id", CORRELATION);
        if let Some(parent) = trace_parent {
            request = request.header("traceparent", parent);
        }
        let body = json!({
            "workflowId": "img2img",
            "inputs": {"prompt": format!("a fox, {CANARY}"), "steps": 1, "width": 256, "height": 256, "image": {"base64": PICTURE}},
            "callbackUrl": self.owner.url("/hook"),
        });
        let answer = request.json(&body).send().await.expect("an answer");
        let (status, answer): (_, Value) = (answer.status().as_u16(), answer.json().await.expect("JSON"));
        assert_eq!(status, 202, "{answer}");
        let told = self.owner.until_count(before + 1).await.pop().expect("one");
        assert_eq!(told.json()["type"], "job.succeeded", "{}", told.json());
        (answer["jobId"].as_str().expect("an id").to_owned(), told)
    }

    /// Ends all; gives what was logged.
    fn stop(&mut self) -> Vec<Value> {
        let mut lines = Vec::new();
        for process in self.processes.drain(..).rev() {
            process.terminate();
            let ended = process.end().expect(0);
            assert!(!ended.err.contains("s3same"), "{}", ended.err);
            lines.extend(ended.err.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")));
        }
        lines
    }
}

/// Runs a job and looks at all that is left of it.
async fn one_trace(redis: Option<&Redis>) {
    let collector = Receiver::start().await;
    let mut scene = Scene::new().await;
    scene.send_traces_to(&collector);
    scene.start(redis).await;
    let (job, told) = scene.run(Some(&format!("00-{TRACE}-{CALLER}-01"))).await;
    let asked = scene.sim.stats().trace_parents;
    let lines = scene.stop();
    let spans = traced(&collector);

    let request = one(&spans, "POST /jobs");
    assert_eq!((request.parent.as_str(), request.kind), (CALLER, 2));
    assert_eq!(
        (&*request.attributes["correlationId"], &*request.attributes["http.response.status_code"]),
        (CORRELATION, "202")
    );
    let run = one(&spans, "run");
    assert_eq!((&run.parent, run.kind), (&request.id, 5));
    let about = ["jobId", "workflowId", "correlationId", "attempt"].map(|name| &*run.attributes[name]);
    assert_eq!(about, [&*job, "img2img", CORRELATION, "1"]);
    // Where processes share a queue, a server of this machine has its name behind it.
    assert_eq!(run.attributes["backend"].split('@').next(), Some(scene.place.get("COMFYUI_URL")));
    for name in ["upload", "prompt", "execution", "collect", "store"] {
        assert_eq!(one(&spans, name).parent, run.id, "{name}");
    }
    let webhook = one(&spans, "webhook");
    assert_eq!(
        (&webhook.parent, webhook.kind, &*webhook.attributes["http.response.status_code"]),
        (&request.id, 3, "200")
    );
    let services = if redis.is_some() { ["the-api", "the-worker", "the-worker"] } else { ["the-api"; 3] };
    assert_eq!([&*request.service, &*run.service, &*webhook.service], services);
    let ours = spans.iter().filter(|span| span.trace == TRACE).count();
    assert_eq!(ours, 8, "{spans:#?}");
    assert!(!format!("{spans:?}").contains(CANARY), "a prompt is in a trace");

    // Those who were asked were told which span it was for.
    let parent = |span: &Traced| format!("00-{TRACE}-{}-01", span.id);
    assert_eq!(told.header("traceparent"), parent(webhook));
    for (route, span) in [("POST /prompt", "prompt"), ("POST /upload/image", "upload"), ("GET /view", "collect")] {
        assert_eq!(asked.get(route), Some(&parent(one(&spans, span))), "{route}");
    }

    for (target, to) in [
        ("gateway_request", None),
        ("gateway_job", Some("queued")),
        ("gateway_job", Some("running")),
        ("gateway_job", Some("succeeded")),
    ] {
        let is_it = |line: &&Value| {
            line["target"] == target && line["correlationId"] == CORRELATION && to.is_none_or(|to| line["to"] == to)
        };
        let line = lines.iter().find(is_it).unwrap_or_else(|| panic!("{target} {to:?}"));
        assert_eq!(line["traceId"], TRACE, "{line}");
    }
    let delivered = lines.iter().find(|line| line["message"] == "webhook delivered").expect("its line");
    assert_eq!((&delivered["jobId"], &delivered["traceId"]), (&json!(job), &json!(TRACE)), "{delivered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_one_trace_from_its_request_to_comfyui_and_its_webhook() {
    one_trace(None).await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "the test command tells where its servers are")]
async fn a_trace_goes_over_the_queue_to_another_process() {
    if std::env::var("TEST_WITHOUT_REDIS").is_ok() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::start(folder.path(), false).await;
    one_trace(Some(&redis)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_trace_begins_one_and_one_that_is_not_to_be_recorded_is_not() {
    let collector = Receiver::start().await;
    let mut scene = Scene::new().await;
    scene.send_traces_to(&collector);
    scene.start(None).await;
    let (_, told) = scene.run(Some("00-nonsense-01")).await;
    let begun = told.header("traceparent").to_owned();
    let (_, unrecorded) = scene.run(Some(&format!("00-{TRACE}-{CALLER}-00"))).await;
    scene.stop();
    let spans = traced(&collector);
    let trace = begun.split('-').nth(1).expect("a trace");
    let request = spans.iter().find(|span| span.trace == trace && span.name == "POST /jobs").expect("its request");
    assert_eq!(request.parent, "");
    assert!(spans.iter().all(|span| span.trace != TRACE), "{spans:#?}");
    assert!(unrecorded.header("traceparent").starts_with(&format!("00-{TRACE}-")));
    assert!(unrecorded.header("traceparent").ends_with("-00"), "{}", unrecorded.header("traceparent"));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_collector_is_named_webhooks_have_the_callers_trace_as_it_came() {
    let mut scene = Scene::new().await;
    scene.start(None).await;
    let given = format!("00-{TRACE}-{CALLER}-01");
    let (_, told) = scene.run(Some(&given)).await;
    assert_eq!(told.header("traceparent"), given);
    let (_, told) = scene.run(Some("00-nonsense-01")).await;
    assert_eq!(told.header("traceparent"), "");
    assert!(scene.sim.stats().trace_parents.is_empty());
    let lines = scene.stop();
    let request = lines.iter().find(|line| line["target"] == "gateway_request" && line["method"] == "POST");
    assert_eq!(request.expect("its line")["traceId"], TRACE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_refuses_is_told_of_once_and_spoils_nothing() {
    let collector = Receiver::scripted([400, 400, 200].map(Reply::status)).await;
    let mut scene = Scene::new().await;
    scene.send_traces_to(&collector);
    scene.start(None).await;
    scene.run(None).await;
    until("the collector takes traces again", || async {
        scene.client.get(format!("{}/health/live", scene.base)).send().await.expect("an answer");
        (collector.count() >= 3).then_some(())
    })
    .await;
    let lines = scene.stop();
    let told =
        |text: &str| lines.iter().filter(|line| line["message"].as_str().is_some_and(|m| m.starts_with(text))).count();
    assert_eq!((told("the collector takes no traces"), told("the collector takes traces again")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_or_is_not_there_keeps_nobody() {
    let hanging = Receiver::scripted([Reply::hang()]).await;
    let gone = Receiver::start().await;
    let nowhere = gone.url("");
    drop(gone);
    for endpoint in [hanging.url(""), nowhere] {
        let mut scene = Scene::new().await;
        scene.send_traces_to(&hanging);
        scene.place.set("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
        scene.start(None).await;
        scene.run(None).await;
        scene.stop();
    }
}
