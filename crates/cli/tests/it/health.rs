//! `health`.

use serde_json::json;

use crate::support::{Place, url_of};

/// A port of this machine where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:9";

#[test]
fn health_ends_with_0_where_comfyui_can_be_used_and_tells_what_it_is() {
    let (mut place, _comfyui) = Place::with_comfyui(&["--profile", "0.3.70"]);
    place.set("PORT", "9");
    let text = place.run(&["health"]).expect(0).out;
    for part in [": up, version 0.3.70", "GiB free", "gateway   not running", "./data/gateway.db", "./data/outputs"] {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
    let report = place.run(&["--json", "health"]).expect(0).json();
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["comfyui"][0]["reachable"], true, "{report}");
    assert_eq!(report["comfyui"][0]["version"], "0.3.70", "{report}");
    assert!(report["comfyui"][0]["devices"][0]["vramTotal"].is_u64(), "{report}");
    assert!(report["comfyui"][0]["checkpoints"].as_array().is_some_and(|names| !names.is_empty()), "{report}");
    assert_eq!(report["gateway"]["ok"], false, "{report}");

    let _gateway = place.start_gateway();
    let text = place.run(&["health"]).expect(0).out;
    assert!(text.contains("gateway   up, version"), "{text}");
    assert_eq!(place.run(&["--json", "health"]).expect(0).json()["gateway"]["ok"], true);
}

#[test]
fn health_ends_with_4_where_comfyui_is_not_there_and_names_the_likely_cause() {
    let mut place = Place::new();
    place.set("PORT", "9");
    place.set("COMFYUI_URL", "http://someone:s3cret@127.0.0.1:9");
    let down = place.run(&["health"]).expect(4);
    down.says(&["no ComfyUI server can be used"]);
    assert!(down.out.contains(NOWHERE) && down.out.contains("likely: ComfyUI is not running"), "{}", down.out);
    assert!(!format!("{}{}", down.out, down.err).contains("s3cret"), "{down:?}");
    assert!(!place.path("data").exists(), "a look made something");

    let json = place.run(&["--json", "health"]).expect(4).out;
    let values: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(values[0]["ok"], false, "{json}");
    assert_eq!(values[0]["comfyui"][0]["reachable"], false, "{json}");
    assert_eq!(values.last().unwrap()["error"], json!("no ComfyUI server can be used"));
}

#[test]
fn one_server_of_several_that_works_is_enough() {
    let (mut place, comfyui) = Place::with_comfyui(&[]);
    let url = comfyui.out.find("its URL", url_of);
    place.set("COMFYUI_URL", &format!("{NOWHERE},{url}"));
    let report = place.run(&["--json", "health"]).expect(0).json();
    assert_eq!((&report["comfyui"][0]["reachable"], &report["comfyui"][1]["reachable"]), (&json!(false), &json!(true)));
}
