//! `init`.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::support::Place;

const BUNDLED: [&str; 5] = ["sdxl_realism_v1", "sprite_transparent_bg", "icon_512", "img2img", "inpaint"];

#[test]
fn init_makes_what_it_says_and_a_second_one_overwrites_nothing() {
    let place = Place::new();
    let first = place.run(&["init"]).expect(0).out;
    let things: Vec<String> = [".env", "./data/outputs", "./data/gateway.db"].map(String::from).into();
    let workflows = BUNDLED.map(|id| format!("workflow {id}"));
    for thing in things.iter().chain(&workflows) {
        assert!(first.contains(&format!("made   {thing}\n")), "{thing} is not in:\n{first}");
    }
    assert!(!first.contains("kept"), "{first}");
    assert!(place.path("data/outputs").is_dir());
    assert!(place.path("data/gateway.db").is_file());
    for (path, mode) in [("data", 0o700), ("data/gateway.db", 0o600), (".env", 0o600)] {
        let found = std::fs::metadata(place.path(path)).expect(path).permissions().mode();
        assert_eq!(found & 0o777, mode, "{path} is for its user alone");
    }
    assert_eq!(place.read(".env"), include_str!("../../../../.env.example"));

    place.write(".env", "MAX_BATCH_SIZE=2\n");
    place.write("data/outputs/mine.txt", "mine");
    place.write(
        "mine.json",
        r#"{"1": {"class_type": "SaveImage", "inputs": {"images": ["2", 0]}},
        "2": {"class_type": "EmptyImage", "inputs": {"width": "{{width|64}}"}}}"#,
    );
    place.run(&["add-workflow", "mine.json", "--id", "icon_512", "--name", "Mine", "--replace"]).expect(0);

    let second = place.run(&["init"]).expect(0).out;
    for thing in things.iter().chain(&workflows) {
        assert!(second.contains(&format!("kept   {thing} (it was there)\n")), "{thing} is not in:\n{second}");
    }
    assert!(!second.contains("made"), "{second}");
    assert_eq!(place.read(".env"), "MAX_BATCH_SIZE=2\n");
    assert_eq!(place.read("data/outputs/mine.txt"), "mine");
    let listed = place.run(&["--json", "list-workflows"]).expect(0).json();
    let icon = listed["items"].as_array().unwrap().iter().find(|item| item["id"] == "icon_512").unwrap();
    assert_eq!((&icon["name"], &icon["version"]), (&json!("Mine"), &json!(2)), "the operator's own version is gone");
}

#[test]
fn init_follows_the_settings_and_says_in_json_what_it_made() {
    let mut place = Place::new();
    place.set("DATABASE_URL", "sqlite://./elsewhere/jobs.db");
    place.set("STORAGE_LOCAL_PATH", "./pictures");
    let made = place.run(&["--json", "--env-file", "my.env", "init"]).expect(0).json();
    let workflows = BUNDLED.map(|id| format!("workflow {id}"));
    let expected: Vec<&str> = ["my.env", "./pictures", "./elsewhere/jobs.db"]
        .into_iter()
        .chain(workflows.iter().map(String::as_str))
        .collect();
    assert_eq!(made, json!({"made": expected, "kept": []}));
    for name in ["my.env", "pictures", "elsewhere/jobs.db"] {
        assert!(place.path(name).exists(), "{name}");
    }
    assert!(!place.path(".env").exists());
    assert!(!place.path("data").exists());
}
