//! `demo`.

use std::path::PathBuf;

use crate::support::Place;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The picture that the demo says it has made.
fn picture(out: &str) -> Vec<u8> {
    let place = out.lines().find_map(|line| line.trim().strip_prefix("lies at ")).expect("a place");
    std::fs::read(PathBuf::from(place)).expect("the picture")
}

#[test]
fn without_comfyui_url_the_demo_says_that_it_is_simulated_and_makes_a_picture() {
    let mut place = Place::new();
    let demo = place.run(&["demo", "--once", "--port", "0", "--prompt", "a red kite"]).expect(0);
    demo.says(&["no credentials are asked for"]);
    let out = demo.out;
    assert!(out.contains("ComfyUI   SIMULATED at http://127.0.0.1:"), "{out}");
    assert!(!out.contains("REAL"), "{out}");
    assert!(out.contains("a red kite") && out.contains("succeeded\n") && out.contains("/outputs/"), "{out}");
    assert!(picture(&out).starts_with(PNG));
    let workflows =
        |place: &Place| place.run(&["--json", "list-workflows"]).expect(0).json()["items"].as_array().unwrap().len();
    assert_eq!(workflows(&place), 0, "jobs that wait for a real ComfyUI get no simulated picture");
    assert!(!place.path("data/gateway.db").exists());
    place.set("DATABASE_URL", "data/demo/gateway.db");
    assert_eq!(workflows(&place), 5);
}

#[test]
fn a_demo_writes_the_lines_that_it_is_asked_for() {
    let mut place = Place::new();
    for (level, written) in [(None, false), (Some("warn"), false), (Some("info"), true)] {
        if let Some(level) = level {
            place.set("LOG_LEVEL", level);
        }
        place.set("LOG_FORMAT", "json");
        let demo = place.run(&["demo", "--once", "--port", "0"]).expect(0);
        assert_eq!(demo.err.contains("\"target\":\"gateway_job\""), written, "{level:?}: {}", demo.err);
    }
}

#[test]
fn where_keys_are_asked_for_what_the_demo_says_to_try_shows_one() {
    let mut place = Place::new();
    place.set("API_KEYS", "administrator-0123456789:admin:ops");
    let without = place.run(&["demo", "--once", "--port", "0"]).expect(1);
    without.says(&["set GATEWAY_API_KEY to one of them"]);
    place.set("GATEWAY_API_KEY", "administrator-0123456789");
    place.set("PORT", "0");
    let demo = place.start(&["demo"]);
    let key = "-H \"X-API-Key: $GATEWAY_API_KEY\"";
    demo.out.find("a request with a key", |line| {
        line.contains("/jobs?limit=1'").then(|| line.ends_with(key)).filter(|fine| *fine)
    });
}

#[test]
fn with_comfyui_url_the_demo_says_that_it_is_real_and_uses_it() {
    let (place, comfyui) = Place::with_comfyui(&[]);
    let demo = place.run(&["demo", "--once", "--port", "0"]).expect(0);
    assert!(demo.out.contains("ComfyUI   REAL at http://127.0.0.1:"), "{}", demo.out);
    assert!(!demo.out.contains("SIMULATED"), "{}", demo.out);
    assert!(picture(&demo.out).starts_with(PNG));
    comfyui.err.find("the prompt", |line| line.contains("prompt finished").then_some(()));

    let json = place.run(&["--json", "demo", "--once", "--port", "0"]).expect(0).json();
    assert_eq!(json["job"]["status"], "succeeded", "{json}");
    assert!(std::fs::read(json["file"].as_str().unwrap()).unwrap().starts_with(PNG));
}

#[test]
fn a_demo_serves_without_tls_and_says_so() {
    let mut place = Place::new();
    place.set("TLS_CERT", "none.pem");
    place.set("TLS_KEY", "none.pem");
    let demo = place.run(&["demo", "--once", "--port", "0"]).expect(0);
    demo.says(&["a demo serves without TLS"]);
    assert!(demo.out.contains("gateway   http://127.0.0.1:"), "{}", demo.out);
}

#[test]
fn a_comfyui_that_is_nowhere_ends_the_demo_with_4_and_no_picture_is_claimed() {
    let mut place = Place::new();
    place.set("COMFYUI_URL", "http://127.0.0.1:9");
    let failed = place.run(&["demo", "--once", "--port", "0"]).expect(4);
    assert!(failed.out.contains("REAL at http://127.0.0.1:9"), "{}", failed.out);
    assert!(!failed.out.contains("succeeded") && !failed.out.contains("SIMULATED"), "{}", failed.out);
    failed.says(&["error: comfyui: ", "is ComfyUI running?"]);
}

#[test]
#[cfg(unix)]
fn without_once_the_demo_keeps_serving_with_commands_to_copy_until_it_is_told_to_stop() {
    let place = Place::new();
    let demo = place.start(&["demo", "--port", "0"]);
    let url = demo.out.find("the gateway's URL", |line| line.strip_prefix("gateway   ").map(str::to_owned));
    demo.out.find("the commands", |line| line.contains("It keeps serving").then_some(()));
    demo.out.find("the last command", |line| line.contains("/capabilities").then_some(()));
    assert_eq!(demo.out.text().matches(&format!("{url}/")).count(), 4, "{}", demo.out.text());
    place.run(&["submit", "icon_512", "prompt=a plane", "steps=1", "--gateway", &url, "--wait"]).expect(0);
    demo.terminate();
    demo.end().expect(0);
}
