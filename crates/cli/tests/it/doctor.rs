//! `doctor`: what it finds, what it advises, and that it changes nothing.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use gateway_testkit::Receiver;
use gateway_testkit::stack::Redis;
use serde_json::Value;

use crate::support::{Ended, Place, Process, server, url_of};

/// A port of this machine where nobody listens.
const NOWHERE: &str = "127.0.0.1:9";
/// Is in each secret.
const CANARY: &str = "canary5ecret";
const BUNDLED: [&str; 5] = ["sdxl_realism_v1", "sprite_transparent_bg", "icon_512", "img2img", "inpaint"];
const SEVERITIES: [&str; 4] = ["ok", "note", "warning", "error"];

/// A place where nothing is wrong or dangerous.
fn sound() -> (Place, Process) {
    let (mut place, comfyui) = Place::with_comfyui(&["--profile", "0.40"]);
    for (name, value) in [
        ("HOST", "127.0.0.1"),
        ("PORT", "9"),
        ("CORS_ORIGINS", "none"),
        ("API_KEYS", "canary5ecret0123456789abcdef:admin:ops"),
        ("WEBHOOK_SECRET", "canary5ecret0123456789abcdef0123456789"),
    ] {
        place.set(name, value);
    }
    place.run(&["init"]).expect(0);
    (place, comfyui)
}

/// What a report in JSON found of an area and a severity; all severities where that is empty.
fn found(report: &Value, area: &str, severity: &str) -> Vec<Value> {
    let findings = report["findings"].as_array().unwrap_or_else(|| panic!("no findings in {report}"));
    let wanted = |finding: &&Value| finding["area"] == area && (severity.is_empty() || finding["severity"] == severity);
    findings.iter().filter(wanted).cloned().collect()
}

/// The one finding of an area and a severity whose text holds `part`; must have a remedy where something is wrong.
#[track_caller]
fn the(report: &Value, area: &str, severity: &str, part: &str) -> Value {
    let of_it = found(report, area, severity);
    let hit = of_it.iter().find(|finding| finding["seen"].as_str().is_some_and(|seen| seen.contains(part)));
    let hit = hit.unwrap_or_else(|| panic!("no {severity} of {area} with `{part}` in:\n{report:#}")).clone();
    if matches!(severity, "warning" | "error") {
        assert!(hit["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "no remedy: {hit}");
    }
    hit
}

/// What is wrong, but for how full the disks of this machine are.
fn complaints(report: &Value) -> Vec<Value> {
    let findings = report["findings"].as_array().cloned().unwrap_or_default();
    let is_bad = |finding: &Value| finding["severity"] == "warning" || finding["severity"] == "error";
    let of_disk = |finding: &Value| finding["seen"].as_str().is_some_and(|seen| seen.contains("are free for"));
    findings.into_iter().filter(|finding| is_bad(finding) && !of_disk(finding)).collect()
}

fn names(place: &Place, folder: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(place.path(folder)).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// Severity and area of each finding in the report for people.
fn listed(text: &str) -> Vec<(String, String)> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let severity = words.next().filter(|word| SEVERITIES.contains(word) && line.starts_with(*word))?;
        Some((severity.to_owned(), words.next()?.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

fn no_secret(ended: &Ended) {
    let all = format!("{}\n{}", ended.out, ended.err);
    let seen: Vec<&str> = all.lines().filter(|line| line.contains(CANARY)).collect();
    assert!(seen.is_empty(), "a secret is shown:\n{}", seen.join("\n"));
}

#[test]
fn where_all_is_well_it_ends_with_0_and_leaves_everything_as_it_was() {
    let (place, _comfyui) = sound();
    let before = (names(&place, ""), names(&place, "data"));
    let ended = place.run(&["--json", "doctor"]).expect(0);
    no_secret(&ended);
    let report = ended.json();
    assert_eq!(complaints(&report), [] as [Value; 0]);
    assert_eq!(report["ok"], true, "{report}");
    the(&report, "configuration", "ok", "credentials");
    the(&report, "database", "ok", "its tables are up to date");
    the(&report, "redis", "ok", "REDIS_URL is not set");
    the(&report, "storage", "ok", "written, read and removed");
    the(&report, "comfyui", "ok", "ComfyUI 0.40.0, cuda:0 Simulated GPU");
    let runs = the(&report, "workflows", "ok", "can run");
    for id in BUNDLED {
        assert!(runs["seen"].as_str().unwrap().contains(id), "{runs}");
    }
    the(&report, "webhooks", "ok", "signed");
    the(&report, "webhooks", "note", "not tried");
    the(&report, "clock", "ok", "within 2 s");
    the(&report, "gateway", "note", "none serves at http://127.0.0.1:9");
    assert_eq!((names(&place, ""), names(&place, "data")), before, "it made something");
    assert_eq!(names(&place, "data/outputs"), BTreeSet::new(), "its object is left");
}

#[test]
fn the_report_for_scripts_is_one_value_and_says_what_people_read() {
    let (place, _comfyui) = sound();
    let report = place.run(&["--json", "doctor"]).expect(0).json();
    let text = place.run(&["doctor"]).expect(0).out;
    let of_json: Vec<(String, String)> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| ["severity", "area"].map(|name| finding[name].as_str().unwrap().to_owned()))
        .map(|[severity, area]| (severity, area))
        .collect();
    assert_eq!(listed(&text), of_json, "{text}");
    assert!(!text.contains('\x1b'), "colours where no terminal is:\n{text}");
    let worst = SEVERITIES.iter().rev().find(|severity| of_json.iter().any(|(each, _)| each == *severity));
    assert_eq!(report["worst"].as_str(), worst.copied(), "{report}");
}

#[test]
fn nothing_is_made_where_there_was_nothing() {
    let (mut place, _comfyui) = Place::with_comfyui(&["--profile", "0.40"]);
    place.set("PORT", "9");
    let report = place.run(&["--json", "doctor"]).expect(0).json();
    the(&report, "database", "note", "the first start makes it");
    the(&report, "storage", "note", "the first start makes it");
    the(&report, "workflows", "note", "none is registered");
    the(&report, "webhooks", "warning", "WEBHOOK_SECRET");
    let open = the(&report, "configuration", "warning", "whoever reaches port 9 may use it");
    assert!(open["remedy"].as_str().unwrap().contains("keys create"), "{open}");
    assert_eq!(names(&place, ""), BTreeSet::new(), "a look made something");
    assert_eq!(place.run(&["--json", "doctor", "--strict"]).expect(1).json()["ok"], false);
}

#[test]
fn a_comfyui_that_is_away_is_named_with_what_to_do_and_one_that_works_is_enough() {
    let (mut place, comfyui) = sound();
    let url = comfyui.out.find("its URL", url_of);
    place.set("COMFYUI_URL", &format!("http://someone:{CANARY}@{NOWHERE}"));
    let ended = place.run(&["--json", "doctor"]).expect(4);
    no_secret(&ended);
    let report = ended.json();
    let away = the(&report, "comfyui", "error", NOWHERE);
    assert!(away["remedy"].as_str().unwrap().contains("ComfyUI is not running"), "{away}");
    the(&report, "workflows", "note", "no ComfyUI server has told its node classes");
    the(&report, "database", "ok", "up to date");
    let text = place.run(&["doctor"]).expect(4).out;
    assert!(text.contains("do: ComfyUI is not running") && text.contains("1 error"), "{text}");

    place.set("COMFYUI_URL", &format!("http://{NOWHERE},{url}"));
    let report = place.run(&["--json", "doctor"]).expect(0).json();
    the(&report, "comfyui", "warning", NOWHERE);
    the(&report, "comfyui", "ok", "ComfyUI 0.40.0");
    the(&report, "workflows", "ok", "can run");
}

#[test]
fn what_a_server_lacks_is_named_for_each_workflow() {
    let (place, comfyui) = sound();
    let url = comfyui.out.find("its URL", url_of);
    let graph = |loader: &str, model: &str| {
        format!(
            r#"{{"1": {{"class_type": "{loader}", "inputs": {{"ckpt_name": "{model}"}}}},
            "2": {{"class_type": "EmptyImage", "inputs": {{"width": 64, "height": 64, "batch_size": 1, "color": 0}}}},
            "3": {{"class_type": "SaveImage", "inputs": {{"images": ["2", 0], "filename_prefix": "x"}}}}}}"#
        )
    };
    place.write("by_default.json", &graph("CheckpointLoaderSimple", "{{model|absent.safetensors}}"));
    place.run(&["add-workflow", "by_default.json"]).expect(0);
    let report = place.run(&["--json", "doctor"]).expect(0).json();
    let lack = the(&report, "workflows", "warning", "by_default runs only where its caller names another model");
    let named = format!("{url} lacks model absent.safetensors (CheckpointLoaderSimple.ckpt_name)");
    assert!(lack["seen"].as_str().unwrap().contains(&named), "{lack}");
    assert!(lack["remedy"].as_str().unwrap().contains("models folder"), "{lack}");

    place.write("always.json", &graph("CheckpointLoaderSimple", "gone.safetensors"));
    place.write("sorcery.json", &graph("Sorcery", "sd_xl_base_1.0.safetensors"));
    place.run(&["add-workflow", "always.json"]).expect(0);
    place.run(&["add-workflow", "sorcery.json"]).expect(0);
    let report = place.run(&["--json", "doctor"]).expect(1).json();
    let fixed = the(&report, "workflows", "error", "always can run nowhere");
    assert!(fixed["seen"].as_str().unwrap().contains("lacks model gone.safetensors"), "{fixed}");
    let class = the(&report, "workflows", "error", "sorcery can run nowhere");
    assert!(class["seen"].as_str().unwrap().contains(&format!("{url} lacks node class Sorcery")), "{class}");
    assert!(class["remedy"].as_str().unwrap().contains("install the custom nodes"), "{class}");
    let runs = the(&report, "workflows", "ok", "can run");
    assert!(runs["seen"].as_str().unwrap().contains("icon_512"), "{runs}");
}

#[test]
fn a_version_with_known_holes_is_warned_of() {
    let (mut place, _comfyui) = Place::with_comfyui(&["--profile", "0.3.64"]);
    place.set("PORT", "9");
    let report = place.run(&["--json", "doctor"]).expect(0).json();
    let holes = the(&report, "comfyui", "warning", "ComfyUI 0.3.64 has known holes:\nCVE-");
    assert!(holes["remedy"].as_str().unwrap().contains("update it"), "{holes}");
}

#[test]
fn a_storage_that_is_no_folder_is_an_error_with_what_to_do() {
    let (mut place, _comfyui) = sound();
    place.write("taken", "mine");
    for path in ["./taken", "./taken/outputs"] {
        place.set("STORAGE_LOCAL_PATH", path);
        let report = place.run(&["--json", "doctor"]).expect(1).json();
        let broken = the(&report, "storage", "error", path);
        assert!(broken["remedy"].as_str().unwrap().contains("STORAGE_LOCAL_PATH"), "{broken}");
        the(&report, "database", "ok", "up to date");
    }
    assert_eq!(place.read("taken"), "mine");
}

#[test]
fn a_database_that_is_none_is_an_error_and_stays_as_it_is() {
    let (mut place, _comfyui) = sound();
    let text = "this is no database at all, but long enough to be looked at as one. ".repeat(20);
    place.write("notes.txt", &text);
    place.set("DATABASE_URL", "./notes.txt");
    let report = place.run(&["--json", "doctor"]).expect(1).json();
    the(&report, "database", "error", "not a database");
    the(&report, "workflows", "note", "not looked at");
    assert_eq!(place.read("notes.txt"), text);
}

#[test]
fn settings_that_cannot_be_used_end_it_with_2_and_are_all_named() {
    let mut place = Place::new();
    place.set("PORT", "99999");
    place.set("LOG_LEVEL", "loud");
    place.set("API_KEYS", CANARY);
    let ended = place.run(&["--json", "doctor"]).expect(2);
    no_secret(&ended);
    let report = ended.json();
    assert_eq!((report["ok"].as_bool(), report["worst"].as_str()), (Some(false), Some("error")), "{report}");
    for part in ["PORT is `99999`", "LOG_LEVEL is `loud`", "API_KEYS is (secret)"] {
        the(&report, "configuration", "error", part);
    }
    let text = place.run(&["doctor"]).expect(2).out;
    assert!(text.contains("error    configuration PORT is `99999`") && text.contains("3 errors"), "{text}");
}

#[test]
fn servers_that_are_away_are_named_without_the_secrets_for_them() {
    let (mut place, _comfyui) = sound();
    for (name, value) in [
        ("DATABASE_URL", format!("postgres://someone:{CANARY}@{NOWHERE}/jobs")),
        ("REDIS_URL", format!("redis://:{CANARY}@{NOWHERE}")),
        ("STORAGE_PROVIDER", String::from("s3")),
        ("S3_BUCKET", String::from("pictures")),
        ("S3_ENDPOINT", format!("http://{NOWHERE}")),
        ("S3_ACCESS_KEY", format!("id{CANARY}")),
        ("S3_SECRET_KEY", format!("key{CANARY}")),
        ("LOG_LEVEL", String::from("trace")),
    ] {
        place.set(name, &value);
    }
    let began = Instant::now();
    let ended = place.run(&["--json", "doctor"]).expect(4);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    no_secret(&ended);
    no_secret(&place.run(&["doctor"]).expect(4));
    let report = ended.json();
    the(&report, "database", "error", NOWHERE);
    the(&report, "redis", "error", NOWHERE);
    let bucket = the(&report, "storage", "error", "pictures");
    assert!(bucket["remedy"].as_str().unwrap().contains("S3_ENDPOINT"), "{bucket}");
    the(&report, "comfyui", "ok", "ComfyUI 0.40.0");
}

#[test]
fn a_server_that_never_answers_is_waited_for_and_told_of_but_not_for_long() {
    let (mut place, _comfyui) = sound();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    place.set("COMFYUI_URL", &format!("http://{address}"));
    let began = Instant::now();
    let ended = place.run(&["doctor"]).expect(4);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    ended.says(&["waiting for ComfyUI"]);
    assert!(ended.out.contains("did not answer in time"), "{}", ended.out);
}

#[test]
fn a_gateway_that_runs_is_asked_and_not_disturbed() {
    let (mut place, _comfyui) = Place::with_comfyui(&["--profile", "0.40"]);
    place.run(&["init"]).expect(0);
    let gateway = place.start_gateway();
    let before = names(&place, "data");
    let report = place.run(&["--json", "doctor"]).expect(0).json();
    the(&report, "gateway", "ok", "one serves at http://127.0.0.1:");
    the(&report, "database", "ok", "up to date");
    let runs = the(&report, "workflows", "ok", "can run");
    assert!(runs["seen"].as_str().unwrap().contains("icon_512"), "{runs}");
    assert_eq!(names(&place, "data"), before, "it made something");
    // Its lock is its own still, and it works on.
    place.run(&["run", "--port", "0"]).expect(1).says(&[&format!("(pid {})", gateway.id())]);
    place.run(&["submit", "icon_512", "prompt=a kite", "steps=1", "--wait"]).expect(0);
    assert!(!gateway.err.text().contains("\"level\":\"ERROR\""), "{}", gateway.err.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_message_is_sent_as_webhooks_are_where_that_is_asked_for() {
    let (mut place, _comfyui) = sound();
    let receiver = Receiver::start().await;
    let url = receiver.url(&format!("/hooks?token={CANARY}"));
    let host = format!("127.0.0.1:{}", receiver.port());
    let ended = place.run(&["--json", "doctor", "--webhook", &url]).expect(1);
    no_secret(&ended);
    let refused = the(&ended.json(), "webhooks", "error", &format!("{host} may not be called"));
    assert!(refused["remedy"].as_str().unwrap().contains("WEBHOOK_ALLOWED_DOMAINS"), "{refused}");
    assert_eq!(receiver.count(), 0, "something was sent to where nothing may be sent");

    place.set("WEBHOOK_ALLOWED_DOMAINS", &format!("*,{host}"));
    let ended = place.run(&["--json", "doctor", "--webhook", &url]).expect(0);
    no_secret(&ended);
    the(&ended.json(), "webhooks", "ok", &format!("{host} answered 200 to a test message"));
    let sent = receiver.requests();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].json()["type"], "gateway.test");
    for header in ["webhook-id", "webhook-timestamp", "webhook-signature", "x-signature"] {
        assert!(sent[0].headers.contains_key(header), "no {header} in {:?}", sent[0].headers);
    }
    drop(receiver);
    let ended = place.run(&["--json", "doctor", "--webhook", &url]).expect(4);
    the(&ended.json(), "webhooks", "error", "connect: ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_is_looked_at_and_its_clock_compared_and_nothing_is_left_there() {
    if server("REDIS").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start(folder.path(), true).await;
    let (mut place, _comfyui) = sound();
    place.set("REDIS_URL", &redis.url());
    let report = place.run(&["--json", "doctor"]).expect(0).json();
    the(&report, "redis", "ok", "drops nothing (noeviction), and keeps it (append-only file)");
    let clock = the(&report, "clock", "ok", "within 2 s");
    assert!(clock["seen"].as_str().unwrap().contains("redis://"), "{clock}");
    the(&report, "configuration", "warning", "DATABASE_URL is a file");
    the(&report, "configuration", "warning", "STORAGE_PROVIDER=local");
    assert_eq!(redis.ask(&["dbsize"]), "0", "something is left there");
}

#[test]
fn where_a_worker_runs_it_is_not_asked_who_may_call() {
    let (mut place, _comfyui) = sound();
    place.set("API_KEYS", "");
    place.set("GATEWAY_ENV", "production");
    place.set("CORS_ORIGINS", "*");
    let api = place.run(&["--json", "doctor"]).expect(1).json();
    the(&api, "configuration", "error", "nobody would be asked for credentials");
    let worker = place.run(&["--json", "doctor", "--worker"]).expect(0).json();
    assert_eq!(complaints(&worker), Vec::<Value>::new(), "{worker:#}");
    assert!(found(&worker, "gateway", "").is_empty(), "{worker:#}");
}
