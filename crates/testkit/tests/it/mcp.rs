//! The gateway for agents over HTTP: what the official client of the Model Context Protocol sees and does, with keys of
//! every kind; and what a stranger's page gets.

use std::collections::HashSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gateway_testkit::{Answer, TestBuilder, TestGateway, sampler_workflow, tiny_workflow, until};
use image::ImageFormat;
use reqwest::Method;
use serde_json::{Value, json};

use crate::comfy::support::endless;
use crate::contract::{SCRIPTS, python};

const ADMIN: &str = "administrator-0123456789";
const ALICE: &str = "alice-0123456789abcdef";
const BOB: &str = "bob-0123456789abcdefgh";
const UNKNOWN: &str = "01900000-0000-7000-8000-000000000000";
/// What the client does by itself, and the handshake of before with the revision that comes of it.
const MODES: [(&str, &str); 2] = [("auto", "2026-07-28"), ("legacy", "2025-11-25")];
const STEP_MS: u64 = 20;

fn guarded() -> TestBuilder {
    let keys = format!("{ADMIN}:admin:boss,{ALICE}:user:alice,{BOB}:user:bob");
    TestBuilder::default().variable("API_KEYS", keys).key(ADMIN).switches(|switches| switches.step_ms = STEP_MS)
}

async fn start(builder: TestBuilder) -> TestGateway {
    let test = builder.start().await;
    test.register("tiny", tiny_workflow()).await;
    test.register("sampler", sampler_workflow()).await;
    test
}

/// Has an agent with this key take `steps`; what came of it. `None` where tests with Python are left out.
async fn agent(test: &TestGateway, mode: &str, key: &str, steps: Value) -> Option<Value> {
    let plan = json!({"http": test.url("/mcp"), "headers": {"x-api-key": key}, "mode": mode, "steps": steps});
    let mut command = Command::new(python()?);
    command.arg(format!("{SCRIPTS}/agent.py")).env("PYTHONDONTWRITEBYTECODE", "1").env("NO_PROXY", "127.0.0.1");
    let run = move || {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("Python");
        child.stdin.take().expect("its input").write_all(plan.to_string().as_bytes()).expect("it reads");
        child.wait_with_output().expect("its output")
    };
    let output = tokio::task::spawn_blocking(run).await.expect("it does not panic");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    Some(serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}\n{out}\n{err}")))
}

fn call(name: &str, arguments: Value) -> Value {
    json!({"do": "call", "name": name, "arguments": arguments})
}

/// The same, with progress.
fn followed(name: &str, arguments: Value) -> Value {
    let mut step = call(name, arguments);
    step["progress"] = json!(true);
    step
}

/// The text of a result.
#[track_caller]
fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {result}"))
}

/// The id of the job that a result is about.
#[track_caller]
fn job(result: &Value) -> String {
    let words = text(result).split_whitespace();
    words.skip_while(|word| *word != "Job").nth(1).unwrap_or_else(|| panic!("no job: {result}")).to_owned()
}

/// The one picture of a result, decoded.
#[track_caller]
fn picture(result: &Value) -> (Vec<u8>, image::RgbaImage) {
    let pictures: Vec<&Value> = result["content"].as_array().expect("content").iter().skip(1).collect();
    let [one] = pictures.as_slice() else { panic!("{result}") };
    assert_eq!((&one["type"], &one["mimeType"]), (&json!("image"), &json!("image/png")), "{result}");
    let bytes = STANDARD.decode(one["data"].as_str().expect("data")).expect("Base64");
    let decoded = image::load_from_memory_with_format(&bytes, ImageFormat::Png).expect("a picture");
    (bytes, decoded.to_rgba8())
}

/// The names of the tools in a list.
fn names(list: &Value) -> Vec<&str> {
    let tools = list["tools"].as_array().unwrap_or_else(|| panic!("no list: {list}"));
    tools.iter().filter_map(|tool| tool["name"].as_str()).collect()
}

/// Asserts that progress was told, that it began at 0 and only rose; gives how far.
#[track_caller]
fn risen(result: &Value) -> f64 {
    let told = result["progress"].as_array().expect("a list");
    let percents: Vec<f64> = told.iter().map(|told| told[0].as_f64().expect("a number")).collect();
    assert_eq!(percents.first(), Some(&0.0), "{result}");
    assert!(percents.windows(2).all(|pair| pair[0] < pair[1]), "{percents:?}");
    assert!(told.iter().all(|told| told[1] == 100.0 && told[2].is_string()), "{told:?}");
    percents.last().copied().expect("progress")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workflows_are_tools_whose_results_have_their_pictures() {
    let test = start(guarded()).await;
    let mut taken = tiny_workflow();
    taken["description"] = json!("A plain picture.");
    test.register("list_jobs", taken).await;
    for (seed, (mode, version)) in (7..).zip(MODES) {
        let steps = json!([
            {"do": "list"},
            call("tiny", json!({"color": 255, "width": 48})),
            followed("sampler", json!({"steps": 40, "seed": seed})),
            call("workflow_list_jobs", json!({"color": 3})),
            call("list_jobs", json!({"limit": 2, "workflowId": "tiny"})),
        ]);
        let Some(done) = agent(&test, mode, ALICE, steps).await else { return };
        assert_eq!(done["version"], version);
        let [list, tiny, sampler, taken, jobs] = done["steps"].as_array().expect("steps").as_slice() else {
            panic!("{done}")
        };
        let own = ["list_jobs", "job_status", "cancel_job"];
        assert_eq!(names(list), [&["workflow_list_jobs", "sampler", "tiny"][..], &own].concat());
        assert_eq!(list["tools"][2]["inputSchema"]["required"], json!(["color"]));
        assert_eq!(list["tools"][0]["description"], "A plain picture.");

        for result in [tiny, sampler, taken] {
            assert_eq!(result["isError"], false, "{result}");
        }
        let (bytes, decoded) = picture(tiny);
        assert_eq!((decoded.dimensions(), decoded.get_pixel(0, 0).0), ((48, 64), [0, 0, 255, 255]));
        let address = text(tiny).split_whitespace().last().expect("an address");
        let fetched = test.client().get(address).header("x-api-key", ALICE).send().await.expect("an answer");
        assert_eq!(Answer::read(fetched).await.expect(200).bytes, bytes, "{address}");
        assert!(text(sampler).contains(&format!("succeeded with seed {seed}.")), "{sampler}");
        assert!((0.0..=100.0).contains(&risen(sampler)) && risen(sampler) > 0.0);
        assert_eq!(picture(sampler).1.dimensions(), (64, 64));

        let page: Value = serde_json::from_str(text(jobs)).expect("JSON");
        let lines = page["items"].as_array().expect("items");
        let newest = json!({"jobId": job(tiny), "status": "succeeded", "percent": 100});
        for field in ["jobId", "status", "percent"] {
            assert_eq!(lines[0][field], newest[field], "{page}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_be_mended_is_a_result_that_says_how() {
    let test = start(guarded().variable("MAX_IMAGE_SIZE", "128")).await;
    test.sim.update(|switches| switches.memory_limit_pixels = Some(100));
    let steps = json!([
        call("tiny", json!({"color": "red", "colour": 1})),
        call("sampler", json!({})),
        call("list_jobs", json!({"limit": 1000})),
        call("job_status", json!({"job": 7})),
        call("nothing", json!({})),
    ]);
    let Some(done) = agent(&test, "auto", ALICE, steps).await else { return };
    let [wrong, lost, page, status, nothing] = done["steps"].as_array().expect("steps").as_slice() else {
        panic!("{done}")
    };
    for result in [wrong, lost, page, status] {
        assert_eq!(result["isError"], true, "{result}");
    }
    for part in ["VALIDATION_ERROR", "\ncolor: ", "\ncolour: unknown input"] {
        assert!(text(wrong).contains(part), "{part}: {wrong}");
    }
    assert!(text(lost).contains("failed: COMFYUI_OOM: ") && text(lost).contains("\nWhat to do: "), "{lost}");
    assert!(text(page).contains("limit") && text(status).contains("job"), "{page} {status}");
    assert_eq!(nothing["fault"]["code"], -32602, "{nothing}");
    let again = json!([call("job_status", json!({"jobId": job(lost)}))]);
    let told = agent(&test, "auto", ALICE, again).await.expect("an agent");
    assert_eq!((text(&told["steps"][0]), &told["steps"][0]["isError"]), (text(lost), &json!(false)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_sees_its_own_and_runs_what_it_may() {
    let test = start(guarded()).await;
    let bound = test.post("/keys", &json!({"name": "shop", "workflows": ["tiny"]})).await.expect(201).json();
    let bound = bound["key"].as_str().expect("a key");
    let steps = json!([{"do": "list"}, call("sampler", json!({})), call("tiny", json!({"color": 1}))]);
    let Some(done) = agent(&test, "auto", bound, steps).await else { return };
    assert_eq!(names(&done["steps"][0]), ["tiny", "list_jobs", "job_status", "cancel_job"]);
    let refused = &done["steps"][1];
    assert!(refused["isError"] == true && text(refused).starts_with("FORBIDDEN: "), "{refused}");
    assert_eq!(done["steps"][2]["isError"], false, "{done}");

    let mine = job(&done["steps"][2]);
    let look = |id: &str| {
        json!([
            call("job_status", json!({"jobId": id})),
            call("cancel_job", json!({"jobId": id})),
            call("list_jobs", json!({}))
        ])
    };
    let of_bob = agent(&test, "auto", BOB, look(&mine)).await.expect("an agent");
    let of_nobody = agent(&test, "auto", BOB, look(UNKNOWN)).await.expect("an agent");
    assert_eq!(of_bob, of_nobody, "another owner's job is not there");
    for result in [&of_bob["steps"][0], &of_bob["steps"][1]] {
        assert!(result["isError"] == true && text(result).starts_with("JOB_NOT_FOUND: "), "{result}");
    }
    assert_eq!(text(&of_bob["steps"][2]), "{\"items\":[],\"nextCursor\":null}");

    for key in ["wrong-0123456789abcdef", ""] {
        let refused = agent(&test, "auto", key, json!([{"do": "list"}])).await.expect("an agent");
        assert!(refused["refused"].is_string() && refused["steps"].is_null(), "{refused}");
        let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
        let request = test.client().post(test.url("/mcp")).header("x-api-key", key).json(&list);
        let answer = Answer::read(request.send().await.expect("an answer")).await.expect(401);
        assert_eq!(answer.code(), "AUTH_FAILED");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_takes_too_long_names_its_job_which_can_be_asked_for_and_canceled() {
    let test = start(guarded().variable("MCP_WAIT_SECONDS", "1")).await;
    let steps = json!([call("sampler", endless())]);
    let Some(done) = agent(&test, "auto", ALICE, steps).await else { return };
    let left = &done["steps"][0];
    assert!(left["isError"] == false && text(left).contains("goes on"), "{left}");
    let id = job(left);
    let steps = json!([call("job_status", json!({"jobId": id})), call("cancel_job", json!({"jobId": id}))]);
    let done = agent(&test, "legacy", ALICE, steps).await.expect("an agent");
    assert!(text(&done["steps"][0]).starts_with(&format!("Job {id} ")), "{done}");
    assert_eq!(done["steps"][1]["isError"], false, "{done}");
    test.wait_status(&id, "canceled").await;
}

/// How far the job is.
async fn percent(test: &TestGateway, id: &str) -> u64 {
    test.job(id).await["progress"]["percent"].as_u64().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_closes_the_stream_of_a_call_cancels_its_job_where_the_revision_says_so() {
    let test = start(guarded()).await;
    let mut known = HashSet::new();
    for (mode, version) in MODES {
        let mut step = followed("sampler", endless());
        step["give_up_at"] = json!(1);
        let Some(done) = agent(&test, mode, ALICE, json!([step])).await else { return };
        assert_eq!((&done["version"], &done["steps"][0]["gaveUp"]), (&json!(version), &json!(true)), "{done}");
        let list = test.get("/jobs").await.expect(200).json();
        let id = list["items"][0]["jobId"].as_str().expect("a job").to_owned();
        assert!(known.insert(id.clone()), "no job was made");
        if mode == "auto" {
            test.wait_status(&id, "canceled").await;
            continue;
        }
        let then = percent(&test, &id).await;
        until("the job goes on", || async { (percent(&test, &id).await >= then + 3).then_some(()) }).await;
        let _canceled = test.post(&format!("/jobs/{id}/cancel"), &json!({})).await.expect(202);
        test.wait_status(&id, "canceled").await;
    }
}

/// Sends `body` to `/mcp` with these headers.
async fn send(test: &TestGateway, headers: &[(&str, &str)], body: &Value) -> Answer {
    let request = test.client().post(test.url("/mcp")).json(body);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Answer::read(request.send().await.expect("an answer")).await
}

#[tokio::test]
async fn a_page_calls_only_where_its_origin_may() {
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let test = TestGateway::start().await;
    for (origin, status) in [("http://localhost:6274", 200), ("http://rebound.example:3000", 403), ("null", 403)] {
        let answer = send(&test, &[("origin", origin)], &list).await.expect(status);
        assert_eq!(answer.code() == "FORBIDDEN", status == 403, "{origin}");
    }
    let _named = send(&test, &[("host", "gateway.example")], &list).await.expect(200);

    let app = "https://app.example.com";
    let test = start(guarded().variable("CORS_ORIGINS", app)).await;
    for (origin, status) in [(app, 200), ("https://evil.example", 403), ("http://localhost:6274", 403)] {
        let shown = [("origin", origin), ("x-api-key", ALICE)];
        let _answer = send(&test, &shown, &list).await.expect(status);
    }
    let test = start(guarded()).await;
    let shown = [("origin", "https://any.example"), ("x-api-key", ALICE)];
    let _answer = send(&test, &shown, &list).await.expect(200);
}

#[tokio::test]
async fn what_is_no_message_is_refused_before_anybody_acts_on_it() {
    let test = TestGateway::start().await;
    for method in [Method::GET, Method::DELETE] {
        let answer = test.send(method, "/mcp", None).await.expect(405);
        assert_eq!(answer.header("allow"), "POST");
    }
    for (body, path) in [
        (json!({"jsonrpc": "2.0", "id": null, "method": "tools/list"}), "/id"),
        (json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "extra": 1}), "/extra"),
        (json!({"jsonrpc": "2.0", "id": 1, "result": {}}), "/method"),
    ] {
        let answer = send(&test, &[], &body).await.expect(422);
        assert!(answer.fault_paths().contains(&path.to_owned()), "{body}: {}", answer.json());
    }
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let twice = test.post_raw("/mcp", r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}"#).await.expect(400);
    assert_eq!(twice.code(), "BAD_REQUEST");
    let _plain = send(&test, &[("accept", "application/json")], &list).await.expect(400);
    let _revision = send(&test, &[("mcp-protocol-version", "1999-01-01")], &list).await.expect(400);
    let _parameter = test.post("/mcp?x=1", &list).await.expect(422);
    let unknown = send(&test, &[], &json!({"jsonrpc": "2.0", "id": 1, "method": "resources/list"})).await;
    assert_eq!(unknown.json()["error"]["code"], -32601, "{}", unknown.json());
    let noted = send(&test, &[], &json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await.expect(202);
    assert_eq!(noted.bytes.len(), 0);
    let usual = send(&test, &[], &list).await.expect(200);
    assert_eq!(usual.header("content-type"), "application/json");
    assert_eq!(usual.json()["result"]["tools"][0]["name"], "tiny");
}
