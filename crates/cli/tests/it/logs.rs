//! The log of a gateway as it runs: one JSON object a line, one line a request and one a job's change of state, the same
//! names everywhere, an error once and with all its causes.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::support::{Ended, Place, Process, until};

const PAGE: &str = include_str!("../../../../docs/OPERATIONS.md");

/// The names in the table of fields.
fn documented() -> BTreeSet<&'static str> {
    let (_, after) = PAGE.split_once("\n### Fields\n").expect("the section");
    let section = after.split("\n#").next().expect("its text");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.flat_map(|row| row.split(" |").next().expect("a cell").split("`, `"))
        .map(|name| name.trim_end_matches('`'))
        .collect()
}

fn lines(ended: &Ended) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in: {line}"));
    ended.err.lines().map(parse).collect()
}

/// The lines in which each of these names has this value.
fn with<'a>(lines: &'a [Value], wanted: &[(&str, &str)]) -> Vec<&'a Value> {
    lines.iter().filter(|line| wanted.iter().all(|(name, value)| line[*name] == *value)).collect()
}

/// A gateway with the workflow `icon_512`.
struct Scene {
    gateway: Process,
    base: String,
    client: Client,
}

impl Scene {
    fn start(place: &mut Place) -> Self {
        place.run(&["init"]).expect(0);
        let gateway = place.start_gateway();
        let client = Client::builder().timeout(Duration::from_secs(30)).build().expect("a client");
        Self { base: format!("http://127.0.0.1:{}", place.get("PORT")), gateway, client }
    }

    async fn send(&self, method: Method, path: &str, id: &str, body: Option<&Value>) -> Value {
        self.send_in(None, method, path, id, body).await
    }

    /// The same as part of a trace.
    async fn send_in(&self, trace: Option<&str>, method: Method, path: &str, id: &str, body: Option<&Value>) -> Value {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).header("x-request-id", id);
        if let Some(trace) = trace {
            request = request.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.expect("an answer").json().await.unwrap_or_default()
    }

    /// Submits a job under a correlation id; gives its own.
    async fn submit(&self, id: &str, body: &Value) -> String {
        let answer = self.send(Method::POST, "/jobs", id, Some(body)).await;
        answer["jobId"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// Waits for the line of a job's last change.
    fn wait(&self, job: &str, to: &str) {
        let is_it = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["target"] == "gateway_job" && line["jobId"] == job && line["to"] == to).then_some(())
        };
        self.gateway.err.find(&format!("that {job} is {to}"), is_it);
    }

    fn stop(self) -> Vec<Value> {
        self.gateway.terminate();
        lines(&self.gateway.end().expect(0))
    }
}

fn icon(more: Value) -> Value {
    let mut body = json!({"workflowId": "icon_512", "inputs": {"prompt": "a paper plane", "steps": 1}});
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_and_each_change_of_a_job_is_one_line_of_documented_fields() {
    let (mut place, _comfyui) = Place::with_comfyui(&[]);
    place.set("LOG_LEVEL", "debug");
    let scene = Scene::start(&mut place);
    let job = scene.submit("made", &icon(json!({}))).await;
    scene.wait(&job, "succeeded");
    scene.send(Method::GET, &format!("/jobs/{job}"), "read", None).await;
    scene.send(Method::GET, "/v1/health/live", "probe", None).await;
    scene.send(Method::GET, "/jobs/nonsense", "missing", None).await;
    scene.send(Method::POST, "/health", "wrong-method", None).await;
    scene.send(Method::GET, "/nowhere", "nowhere", None).await;
    scene.send(Method::POST, "/queue/pause", "paused", Some(&json!({}))).await;
    let waiting = scene.submit("kept", &icon(json!({"cache": false}))).await;
    scene.send(Method::POST, &format!("/jobs/{waiting}/cancel"), "canceled", Some(&json!({}))).await;
    let lines = scene.stop();

    let documented = documented();
    for line in &lines {
        let object = line.as_object().expect("an object");
        let time = line["timestamp"].as_str().expect("a time");
        assert!(time.len() == 27 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{line}");
        let target = line["target"].as_str().expect("a target");
        if target.starts_with("gateway") || target.starts_with("comfyui") {
            let unknown: Vec<&String> = object.keys().filter(|name| !documented.contains(name.as_str())).collect();
            assert!(unknown.is_empty(), "{unknown:?} in {line}");
        }
    }

    for (id, method, route, path, status, code, level) in [
        ("made", "POST", Some("/jobs"), "/jobs", 202, None, "INFO"),
        ("read", "GET", Some("/jobs/{id}"), &*format!("/jobs/{job}"), 200, None, "INFO"),
        ("probe", "GET", Some("/health/live"), "/v1/health/live", 200, None, "DEBUG"),
        ("missing", "GET", Some("/jobs/{id}"), "/jobs/nonsense", 404, Some("JOB_NOT_FOUND"), "INFO"),
        ("wrong-method", "POST", Some("/health"), "/health", 405, Some("METHOD_NOT_ALLOWED"), "DEBUG"),
        ("nowhere", "GET", None, "/nowhere", 404, Some("NOT_FOUND"), "INFO"),
    ] {
        let found = with(&lines, &[("target", "gateway_request"), ("correlationId", id)]);
        let [line] = found.as_slice() else { panic!("{id}: {found:?}") };
        let told = (&line["method"], &line["route"], &line["path"], &line["status"], &line["code"], &line["level"]);
        let wanted = (json!(method), json!(route), json!(path), json!(status), json!(code), json!(level));
        assert_eq!(told, (&wanted.0, &wanted.1, &wanted.2, &wanted.3, &wanted.4, &wanted.5), "{id}");
        assert!(line["durationMs"].is_number(), "{line}");
    }
    let [made] = with(&lines, &[("target", "gateway_request"), ("correlationId", "made")])[..] else { panic!() };
    assert_eq!(made["actor"], "local");

    let changes = |job: &str| -> Vec<(Value, Value)> {
        let told = with(&lines, &[("target", "gateway_job"), ("jobId", job)]);
        told.iter().map(|line| (line["from"].clone(), line["to"].clone())).collect()
    };
    assert_eq!(
        changes(&job),
        [(json!(null), json!("queued")), (json!("queued"), json!("running")), (json!("running"), json!("succeeded"))]
    );
    assert_eq!(changes(&waiting), [(json!(null), json!("queued")), (json!("queued"), json!("canceled"))]);
    for line in with(&lines, &[("target", "gateway_job"), ("jobId", &job)]) {
        assert_eq!((&line["correlationId"], &line["workflowId"]), (&json!("made"), &json!("icon_512")), "{line}");
        assert_eq!(line["level"], "INFO");
    }
    let [ended] = with(&lines, &[("target", "gateway_job"), ("jobId", &job), ("to", "succeeded")])[..] else {
        panic!()
    };
    assert!(ended["durationMs"].is_number() && ended["worker"].is_string(), "{ended}");
    assert_eq!((&ended["backend"], &ended["attempt"]), (&json!(place.get("COMFYUI_URL")), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_told_once_with_all_its_causes_where_the_job_changes() {
    let (mut place, _comfyui) = Place::with_comfyui(&[]);
    place.set("JOB_MAX_ATTEMPTS", "2");
    let scene = Scene::start(&mut place);
    // Nothing can be stored below a file.
    let outputs = place.path("data/outputs");
    std::fs::remove_dir_all(&outputs).expect("the folder goes");
    std::fs::write(&outputs, b"in the way").expect("a file");
    let job = scene.submit("spoilt", &icon(json!({}))).await;
    scene.wait(&job, "failed");
    let lines = scene.stop();
    // Besides, the sweep says that it can't remove what may lie there.
    let of_job = lines.iter().filter(|line| line["jobId"] == json!(job));
    let told: Vec<&Value> = of_job.filter(|line| line.to_string().contains("os error 20")).collect();
    let [first, last] = told.as_slice() else { panic!("{told:?}") };
    for (line, to, attempt) in [(first, "queued", 1), (last, "failed", 2)] {
        assert_eq!((&line["jobId"], &line["from"], &line["to"]), (&json!(job), &json!("running"), &json!(to)));
        assert_eq!((&line["attempt"], &line["code"]), (&json!(attempt), &json!("STORAGE_ERROR")), "{line}");
        let error = line["error"].as_str().expect("words");
        assert!(error.starts_with("an output could not be stored: storage failed to "), "{error}");
        assert!(error.ends_with(": Not a directory (os error 20)"), "{error}");
        assert_eq!(line["notBefore"].is_string(), to == "queued", "{line}");
    }
    let changes: Vec<String> = with(&lines, &[("target", "gateway_job"), ("jobId", &job)])
        .iter()
        .map(|line| format!("{} {} {}", line["from"], line["to"], line["attempt"]))
        .collect();
    assert_eq!(
        changes,
        [
            r#"null "queued" 0"#,
            r#""queued" "running" 1"#,
            r#""running" "queued" 1"#,
            r#""queued" "running" 2"#,
            r#""running" "failed" 2"#,
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn levels_are_those_of_single_targets() {
    let (mut place, _comfyui) = Place::with_comfyui(&[]);
    place.set("LOG_LEVEL", "warn,gateway_job=info,comfyui_gateway=info");
    let scene = Scene::start(&mut place);
    let job = scene.submit("made", &icon(json!({}))).await;
    scene.wait(&job, "succeeded");
    let lines = scene.stop();
    assert_eq!(with(&lines, &[("target", "gateway_job"), ("jobId", &job)]).len(), 3);
    assert!(with(&lines, &[("target", "gateway_request")]).is_empty());
    // What a line is told under is no line of its own: no level takes it away.
    assert_eq!(with(&lines, &[("to", "succeeded"), ("correlationId", "made")]).len(), 1);
    assert!(lines.iter().all(|line| line["level"] != "DEBUG" && line["level"] != "TRACE"));
}

#[test]
fn a_wrong_level_stops_the_start_and_says_what_is_allowed() {
    let mut place = Place::new();
    for wrong in ["gateway_worker", "info,gateway_worker=loud", "info,warn"] {
        place.set("LOG_LEVEL", wrong);
        place.run(&["run"]).expect(2).says(&[&format!("LOG_LEVEL is `{wrong}`"), "info,gateway_worker=debug"]);
    }
}

#[test]
fn where_it_is_asked_for_lines_are_text() {
    let (mut place, _comfyui) = Place::with_comfyui(&[]);
    place.run(&["init"]).expect(0);
    for (name, value) in [("HOST", "127.0.0.1"), ("PORT", "0"), ("LOG_FORMAT", "text")] {
        place.set(name, value);
    }
    let gateway = place.start(&["run"]);
    let url = gateway.err.find("the gateway serves", |line| {
        let (_, rest) = line.split_once("the gateway serves url=\"")?;
        Some(rest.split('"').next()?.to_owned())
    });
    until(|| String::from("it answers"), || std::net::TcpStream::connect(url.trim_start_matches("http://")).ok());
    assert!(gateway.err.text().lines().all(|line| serde_json::from_str::<Value>(line).is_err()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_job_is_told_under_the_request_that_made_it_and_not_under_the_one_that_changed_it() {
    let (mut place, _comfyui) = Place::with_comfyui(&[]);
    let scene = Scene::start(&mut place);
    scene.send(Method::POST, "/queue/pause", "paused", Some(&json!({}))).await;
    let [made, canceled] = ["4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c"];
    let answer = scene.send_in(Some(made), Method::POST, "/jobs", "made", Some(&icon(json!({})))).await;
    let job = answer["jobId"].as_str().expect("an id");
    scene.send_in(Some(canceled), Method::POST, &format!("/jobs/{job}/cancel"), "canceled", Some(&json!({}))).await;
    let lines = scene.stop();
    let told = with(&lines, &[("target", "gateway_job"), ("jobId", job)]);
    let told: Vec<_> = told.iter().map(|line| (&line["to"], &line["correlationId"], &line["traceId"])).collect();
    let (queued, ended, made_by, made) = (json!("queued"), json!("canceled"), json!("made"), json!(made));
    assert_eq!(told, [(&queued, &made_by, &made), (&ended, &made_by, &made)]);
    let [line] = with(&lines, &[("to", "canceled"), ("jobId", job)])[..] else { panic!() };
    assert!(line["durationMs"].as_i64().is_some_and(|waited| waited >= 0), "{line}");
    let [request] = with(&lines, &[("target", "gateway_request"), ("correlationId", "canceled")])[..] else { panic!() };
    assert_eq!(request["traceId"], canceled);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_does_is_told_under_its_request() {
    let (mut place, _comfyui) = Place::with_comfyui(&[]);
    let scene = Scene::start(&mut place);
    scene.send(Method::POST, "/queue/pause", "paused", Some(&json!({}))).await;
    let job = scene.submit("made", &icon(json!({}))).await;
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                      "params": {"name": "cancel_job", "arguments": {"jobId": job}}});
    scene.send(Method::POST, "/mcp", "agent", Some(&call)).await;
    scene.wait(&job, "canceled");
    let lines = scene.stop();
    let told = with(&lines, &[("message", "cancel requested"), ("jobId", &job)]);
    let [line] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(line["correlationId"], "agent");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_for_eyes_name_their_request_too() {
    let mut place = Place::new();
    for (name, value) in [("HOST", "127.0.0.1"), ("PORT", "0"), ("LOG_FORMAT", "text")] {
        place.set(name, value);
    }
    let gateway = place.start(&["run"]);
    let url = |line: &str| Some(line.split_once("url=\"")?.1.split_once('"')?.0.to_owned());
    let url =
        gateway.err.find("where it serves", |line| line.contains("the gateway serves").then(|| url(line)).flatten());
    let client = Client::builder().timeout(Duration::from_secs(30)).build().expect("a client");
    let request = client.get(format!("{url}/nowhere")).header("x-request-id", "by-eye");
    assert_eq!(request.send().await.expect("an answer").status(), 404);
    let is_it = |line: &str| {
        let about = line.contains(" INFO gateway_request: request ") && line.contains(" status=404 ");
        (about && line.ends_with(" correlationId=\"by-eye\"")).then_some(())
    };
    gateway.err.find("the line of the request", is_it);
    gateway.terminate();
    gateway.end().expect(0);
}
