//! `submit`.

use crate::support::Place;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

#[test]
fn submit_waits_downloads_the_outputs_and_tells_in_json_what_became_of_the_job() {
    let (mut place, _comfyui) = Place::with_comfyui(&[]);
    place.run(&["init"]).expect(0);
    let _gateway = place.start_gateway();

    let queued = place.run(&["submit", "icon_512", "prompt=a kite"]).expect(0).out;
    assert!(queued.starts_with("queued ") && queued.contains("/jobs/"), "{queued}");
    let queued = place.run(&["--json", "submit", "icon_512", "prompt=a kite", "--priority", "high"]).expect(0).json();
    assert_eq!(queued["status"], "queued", "{queued}");

    let told = place.run(&["submit", "icon_512", "prompt=a kite", "batch_size=2", "steps=2", "--wait", "--out", "got"]);
    let told = told.expect(0);
    assert!(told.out.contains("succeeded\n"), "{}", told.out);
    told.says(&["100%  succeeded"]);
    let mut files: Vec<_> = std::fs::read_dir(place.path("got")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 2, "{files:?}");
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        assert!(told.out.contains(&format!("saved got/{name}")), "{name} is not in:\n{}", told.out);
        assert!(std::fs::read(&file).unwrap().starts_with(PNG), "{name} is no picture");
    }

    let arguments = ["--json", "submit", "icon_512", "prompt=a kite", "seed=7", "--out", "json"];
    let job = place.run(&arguments).expect(0).json();
    assert_eq!((&job["status"], &job["resolvedInputs"]["seed"]), (&"succeeded".into(), &7.into()), "{job}");
    let output = &job["outputs"][0];
    let saved = format!("json/{}-{}", job["jobId"].as_str().unwrap(), output["file"].as_str().unwrap());
    let bytes = std::fs::read(place.path(&saved)).unwrap();
    assert_eq!(output["size"].as_u64(), Some(bytes.len() as u64), "{job}");

    let more = ["--json", "submit", "icon_512", "prompt=a kite", "seed=8", "--out", "json"];
    place.run(&more).expect(0);
    assert_eq!(std::fs::read_dir(place.path("json")).unwrap().count(), 2, "the next job's picture is another file");
}

#[test]
fn a_folder_that_can_not_be_written_is_told_before_anything_is_run() {
    let (mut place, comfyui) = Place::with_comfyui(&[]);
    place.run(&["init"]).expect(0);
    let _gateway = place.start_gateway();
    place.write("taken", "a file");
    place.run(&["submit", "icon_512", "prompt=x", "--out", "taken"]).expect(1).says(&["--out: taken can't be written"]);
    // It waits for what it submits: a job would have run by now.
    assert!(!comfyui.err.text().contains("prompt finished"), "{}", comfyui.err.text());
}

#[test]
fn a_gateway_that_is_restarted_does_not_end_the_wait_for_its_job() {
    let (mut place, _comfyui) = Place::with_comfyui(&["--step-ms", "300"]);
    place.run(&["init"]).expect(0);
    place.set("SHUTDOWN_GRACE_SECONDS", "0");
    let gateway = place.start_gateway();
    let waiting = place.start(&["submit", "icon_512", "prompt=x", "steps=12", "--wait"]);
    waiting.err.find("the job runs", |line| line.contains("step").then_some(()));
    drop(gateway);
    let _next = place.start(&["run"]);
    let told = waiting.end().expect(0);
    assert!(told.out.contains("succeeded\n"), "{told:?}");
}

#[test]
fn what_is_said_helps_to_say_it_right() {
    let (mut place, _comfyui) = Place::with_comfyui(&[]);
    place.run(&["init"]).expect(0);
    place.run(&["submit", "icon_512", "--gateway", "127.0.0.1:3000"]).expect(2).says(&["http://127.0.0.1:3000"]);
    place.run(&["--env-file", "nope.env", "health"]).expect(2).says(&["--env-file: there is no nope.env"]);
    let usage = place.run(&["--json", "submit"]).expect(2).json();
    assert!(usage["error"].as_str().is_some_and(|error| error.contains("WORKFLOW")), "{usage}");
    let _gateway = place.start_gateway();
    place.run(&["submit", "icon_512", "prompt=123"]).expect(1).says(&["'prompt=\"123\"'"]);
}

#[test]
fn bad_inputs_are_told_one_by_one_and_nothing_is_queued() {
    let (mut place, _comfyui) = Place::with_comfyui(&[]);
    place.run(&["init"]).expect(0);
    let _gateway = place.start_gateway();
    let refused = place.run(&["submit", "icon_512", "prompt=", "steps=999", "colour=red", "--wait"]).expect(1);
    refused.says(&[
        "VALIDATION_ERROR (422)",
        "/inputs/prompt: ",
        "/inputs/steps: ",
        "/inputs/colour: ",
        "negative_prompt",
    ]);
    place.run(&["submit", "nope"]).expect(1).says(&["WORKFLOW_NOT_FOUND (404)"]);
    place.run(&["submit", "icon_512", "steps"]).expect(2).says(&["`steps` is not KEY=VALUE"]);
    place.run(&["submit", "icon_512", "steps=1", "steps=2"]).expect(2).says(&["`steps` is given twice"]);
    let error = place.run(&["--json", "submit", "icon_512", "steps=999"]).expect(1).json();
    assert!(error["error"].as_str().is_some_and(|error| error.contains("/inputs/steps")), "{error}");
    let health = place.run(&["--json", "health"]).expect(0).json();
    assert_eq!(health["gateway"]["queue"]["depth"], 0, "{health}");
}

#[test]
fn a_job_that_fails_ends_the_command_with_3_and_a_gateway_that_is_not_there_with_4() {
    let (mut place, _comfyui) = Place::with_comfyui(&["--memory-limit", "100000"]);
    place.run(&["init"]).expect(0);
    place.set("HOST", "127.0.0.1");
    place.set("PORT", "9");
    place
        .run(&["submit", "icon_512", "prompt=x"])
        .expect(4)
        .says(&["http://127.0.0.1:9 can't be reached", "is it running?"]);
    let _gateway = place.start_gateway();
    let failed = place.run(&["submit", "icon_512", "prompt=x", "--wait"]).expect(3);
    failed.says(&["the job failed: COMFYUI_OOM: ", "ask for a smaller width, height or batch"]);
    let lines = place.run(&["--json", "submit", "icon_512", "prompt=x", "--wait"]).expect(3).out;
    let values: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(values[0]["error"]["code"], "COMFYUI_OOM", "{lines}");
    assert!(values[1]["error"].as_str().is_some_and(|error| error.contains("COMFYUI_OOM")), "{lines}");
}
