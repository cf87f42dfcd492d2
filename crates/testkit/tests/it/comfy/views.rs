//! Output files that arrive broken, and names of files that are meant to harm.

use comfyui_sim::{HostileFilenames, ViewFault};
use gateway_testkit::{TestBuilder, until};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::support::*;

#[tokio::test]
async fn a_file_that_never_arrives_whole_is_fetched_again_and_then_fails_the_job() {
    let mut faults = JoinSet::new();
    for fault in [ViewFault::Truncate, ViewFault::WrongLength, ViewFault::Html, ViewFault::Empty, ViewFault::Status502]
    {
        faults.spawn(async move {
            let test = gateway(TestBuilder::default().settings(|settings| settings.queue.max_attempts = 2)).await;
            test.sim.update(|switches| switches.view_fault = fault);
            let job = test.run("tiny", json!({"color": 1})).await;
            failed(&job, "COMFYUI_UNREACHABLE", 2);
            assert!(message(&job).contains("an output could not be fetched"), "{fault:?}: {job}");
            assert!(test.sim.stats().requests["GET /view"] >= 4, "{fault:?}: it is asked for again");
            let outputs = test.get(&format!("/outputs/{}", job["jobId"].as_str().unwrap())).await.expect(200).json();
            assert_eq!(outputs["items"], json!([]), "{fault:?}");
            each_ran_once(&test, 2);
        });
    }
    while let Some(ended) = faults.join_next().await {
        ended.expect("no assertion failed");
    }
}

#[tokio::test]
async fn a_file_that_arrives_broken_once_costs_no_attempt() {
    let test = gateway(TestBuilder::default()).await;
    for (round, fault) in (1..).zip([ViewFault::Truncate, ViewFault::WrongLength, ViewFault::Status502]) {
        let before = test.sim.stats().requests.get("GET /view").copied().unwrap_or_default();
        test.sim.update(|switches| switches.view_fault = fault);
        let id = test.submit("tiny", json!({"color": round})).await;
        until("the file was asked for", || async {
            (test.sim.stats().requests.get("GET /view").is_some_and(|count| *count > before)).then_some(())
        })
        .await;
        test.sim.update(|switches| switches.view_fault = ViewFault::None);
        let job = test.wait_ended(&id).await;
        succeeded(&job, 1);
        let picture = test.get(job["outputs"][0]["url"].as_str().unwrap()).await.expect(200);
        assert!(image::load_from_memory(&picture.bytes).is_ok(), "{fault:?}: the picture is whole");
        each_ran_once(&test, round);
    }
}

/// A film of some frames.
fn film_workflow() -> Value {
    json!({
        "workflow": {
            "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 2, "color": "{{color}}"}},
            "2": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 24.0}},
            "3": {"class_type": "SaveVideo", "inputs": {
                "video": ["2", 0], "filename_prefix": "film", "format": "auto", "codec": "auto"
            }}
        },
        "inputSchema": {"type": "object", "properties": {"color": {"type": "integer"}}}
    })
}

#[tokio::test]
async fn a_film_whose_end_is_missing_is_fetched_again_where_metadata_is_taken_out() {
    let test = gateway(TestBuilder::default().settings(|settings| {
        settings.files.strip_metadata = true;
        settings.queue.max_attempts = 2;
    }))
    .await;
    test.register("film", film_workflow()).await;
    let asked = || test.sim.stats().requests.get("GET /view").copied().unwrap_or_default();
    test.sim.update(|switches| switches.view_fault = ViewFault::Truncate);
    let id = test.submit("film", json!({"color": 1})).await;
    until("the file was asked for", || async { (asked() > 0).then_some(()) }).await;
    test.sim.update(|switches| switches.view_fault = ViewFault::None);
    let job = test.wait_ended(&id).await;
    succeeded(&job, 1);
    assert_eq!(job["outputs"][0]["contentType"], "video/mp4", "{job}");

    let before = asked();
    test.sim.update(|switches| switches.view_fault = ViewFault::Truncate);
    let job = test.run("film", json!({"color": 2})).await;
    failed(&job, "COMFYUI_UNREACHABLE", 2);
    assert!(message(&job).contains("an output could not be fetched: the mp4 file is incomplete"), "{job}");
    assert_eq!(asked() - before, 8, "each attempt asks for it four times");
}

#[tokio::test]
async fn names_of_files_are_data_and_nothing_more() {
    let test = gateway(TestBuilder::default()).await;
    let kinds = [
        HostileFilenames::Traversal,
        HostileFilenames::Absolute,
        HostileFilenames::Nul,
        HostileFilenames::Long,
        HostileFilenames::Rtl,
        HostileFilenames::Duplicate,
        HostileFilenames::Duplicate,
    ];
    for (color, names) in (1_u8..).zip(kinds) {
        test.sim.update(|switches| switches.hostile_filenames = names);
        let job = test.run("tiny", json!({"color": color})).await;
        succeeded(&job, 1);
        let file = job["outputs"][0]["file"].as_str().unwrap();
        assert!(file.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')), "{names:?}: {file}");
        let picture = test.get(job["outputs"][0]["url"].as_str().unwrap()).await.expect(200);
        assert_eq!(image::load_from_memory(&picture.bytes).unwrap().to_rgb8().get_pixel(1, 1).0, [0, 0, color]);
        assert!(!job.to_string().contains("passwd"), "{names:?}: {job}");
    }
    let mut found: Vec<_> = std::fs::read_dir(test.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    found.retain(|name| !name.to_string_lossy().starts_with("gateway.db"));
    assert_eq!(found, ["outputs"], "no file lies elsewhere");
}
