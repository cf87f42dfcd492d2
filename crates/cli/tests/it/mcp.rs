//! `mcp`: what an agent gets that starts the binary, as the official client of the Model Context Protocol does.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::Place;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/tests/python/agent.py");
const ADMIN: &str = "administrator-0123456789";
const ALICE: &str = "alice-0123456789abcdef";
/// The beginning of a PNG in Base64.
const PNG: &str = "iVBORw0KGgo";

/// The interpreter of the tests; `None` where it can't be had and its tests are left out.
#[expect(clippy::disallowed_methods, reason = "the test command tells where its Python is")]
fn python() -> Option<PathBuf> {
    let python = std::env::var("TEST_PYTHON").ok().map(PathBuf::from);
    let left_out = std::env::var("TEST_WITHOUT_PYTHON").is_ok();
    assert!(python.is_some() || left_out, "no Python: run the tests by `cargo xtask test`");
    python
}

/// Has an agent start `comfyui-gateway mcp` with these arguments and take `steps`; what came of it, and what the process
/// wrote to standard error.
fn agent(place: &Place, mode: &str, arguments: &[&str], steps: Value) -> Option<(Value, String)> {
    let arguments = [&["mcp"], arguments].concat();
    let plan = json!({
        "command": env!("CARGO_BIN_EXE_comfyui-gateway"),
        "arguments": arguments,
        "variables": place.variables(),
        "folder": place.path(""),
        "mode": mode,
        "steps": steps,
    });
    let mut child = Command::new(python()?)
        .arg(SCRIPT)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python");
    child.stdin.take().expect("its input").write_all(plan.to_string().as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("its output");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    Some((serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}\n{out}\n{err}")), err))
}

fn call(name: &str, arguments: Value) -> Value {
    json!({"do": "call", "name": name, "arguments": arguments, "progress": true})
}

/// The text of a result.
#[track_caller]
fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {result}"))
}

/// The newest job, as the agent lists it.
fn newest(place: &Place) -> Value {
    let (done, _) = agent(place, "auto", &[], json!([call("list_jobs", json!({"limit": 1}))])).expect("an agent");
    let page: Value = serde_json::from_str(text(&done["steps"][0])).expect("JSON");
    page["items"][0].clone()
}

#[test]
fn an_agent_makes_a_picture_and_can_give_one_up() {
    let (mut place, _comfyui) = Place::with_comfyui(&["--step-ms", "20"]);
    place.run(&["init"]).expect(0);
    let _gateway = place.start_gateway();
    place.set("LOG_LEVEL", "trace");
    for (mode, version) in [("auto", "2026-07-28"), ("legacy", "2025-11-25")] {
        let prompt = "a canary7prompt in the snow";
        let mut given_up = call("icon_512", json!({"prompt": prompt, "steps": 150}));
        given_up["give_up_at"] = json!(1);
        let picture = call("icon_512", json!({"prompt": prompt, "steps": 30}));
        let steps = json!([{"do": "list"}, picture, given_up, call("nothing", json!({}))]);
        let Some((done, err)) = agent(&place, mode, &[], steps) else { return };
        assert_eq!(done["version"], version);
        let [list, made, given_up, nothing] = done["steps"].as_array().expect("steps").as_slice() else {
            panic!("{done}")
        };
        let names: Vec<&str> =
            list["tools"].as_array().expect("tools").iter().filter_map(|tool| tool["name"].as_str()).collect();
        for name in ["icon_512", "img2img", "list_jobs", "job_status", "cancel_job"] {
            assert!(names.contains(&name), "{name}: {names:?}");
        }
        let image = list["tools"].as_array().expect("tools").iter().find(|tool| tool["name"] == "img2img");
        let image = image.expect("img2img");
        assert!(image["description"].as_str().is_some_and(|text| text.contains("Files are given by")), "{image}");
        assert!(image["inputSchema"]["properties"]["image"]["properties"]["url"].is_object(), "{image}");

        assert_eq!(made["isError"], false, "{made}");
        assert!(text(made).contains("succeeded with seed ") && text(made).contains("/image_001.png"), "{made}");
        let picture = &made["content"][1];
        assert!(picture["type"] == "image" && picture["data"].as_str().is_some_and(|data| data.starts_with(PNG)));
        let percents: Vec<f64> =
            made["progress"].as_array().expect("progress").iter().filter_map(|told| told[0].as_f64()).collect();
        assert!(percents.len() > 1 && percents.windows(2).all(|pair| pair[0] < pair[1]), "{percents:?}");

        assert_eq!(given_up["gaveUp"], true, "{given_up}");
        assert_eq!(nothing["fault"]["code"], -32602, "{nothing}");
        crate::support::until(
            || format!("the job is canceled: {}", newest(&place)),
            || (newest(&place)["status"] == "canceled").then_some(()),
        );
        assert!(err.contains("an agent is served") && !err.contains("canary7prompt"), "{err}");
    }
}

#[test]
fn the_key_comes_from_a_file_and_a_wrong_one_is_told() {
    let (mut place, _comfyui) = Place::with_comfyui(&[]);
    place.run(&["init"]).expect(0);
    place.set("API_KEYS", &format!("{ADMIN}:admin:boss,{ALICE}:user:alice"));
    let _gateway = place.start_gateway();
    place.set("API_KEYS", "");
    place.write("key", &format!("{ALICE}\n"));
    place.write("wrong", "wrong-0123456789abcdef");
    place.write("none", "\n");
    let steps = || json!([call("sprite_transparent_bg", json!({"prompt": "a fox"})), call("list_jobs", json!({}))]);
    let Some((done, _)) = agent(&place, "auto", &["--api-key-file", "key"], steps()) else { return };
    for result in done["steps"].as_array().expect("steps") {
        assert_eq!(result["isError"], false, "{result}");
    }
    let (done, err) = agent(&place, "auto", &["--api-key-file", "wrong"], steps()).expect("an agent");
    for result in done["steps"].as_array().expect("steps") {
        assert!(result["isError"] == true && text(result).starts_with("AUTH_FAILED: "), "{result}");
        assert!(text(result).contains("--api-key-file"), "{result}");
    }
    assert!(!err.contains("wrong-0123456789abcdef"), "{err}");
    for file in ["none", "not-there"] {
        place.run(&["mcp", "--api-key-file", file]).expect(2).says(&["--api-key-file", file]);
    }
}

#[test]
fn without_a_gateway_it_says_so_and_without_an_agent_it_ends() {
    let mut place = Place::new();
    assert_eq!(place.run(&["mcp"]).expect(0).out, "");
    place.run(&["mcp", "--gateway", "nowhere"]).expect(2).says(&["`nowhere` is not the URL of a gateway"]);
    place.set("PORT", "9");
    let Some((done, _)) = agent(&place, "auto", &[], json!([{"do": "list"}, call("list_jobs", json!({}))])) else {
        return;
    };
    let said = done["steps"][0]["fault"]["message"].as_str().expect("a fault");
    assert!(said.contains("GATEWAY_UNREACHABLE") && said.contains("is it running?"), "{done}");
    assert!(text(&done["steps"][1]).contains("GATEWAY_UNREACHABLE"), "{done}");
}
