//! Results that are used again: when, when not, and who waits for whom while one is made.

use std::time::Duration;

use futures_util::future::join_all;
use gateway_testkit::{
    Answer, Receiver, TestBuilder, TestGateway, files_below, sampler_workflow, tiny_workflow, until,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    LONG, break_fragile, calling, cancel, delivery, ended, hurry, id, prompts, start, submit, text, wish, wish_told,
};

/// A job that makes the result that `body` asks for; its id.
async fn made(test: &TestGateway, body: &Value) -> String {
    let id = submit(test, body, 202).await;
    let job = test.wait_status(&id, "succeeded").await;
    assert_eq!((&job["cached"], job.get("cachedFrom")), (&json!(false), None), "{job}");
    id
}

/// Asserts that `body` is answered with what the job `from` made; the id of the job that came of it.
async fn hit(test: &TestGateway, body: &Value, from: &str) -> String {
    let answer = test.post("/jobs", body).await.expect(200);
    assert_eq!(answer.json()["status"], "cache_hit", "{}", answer.json());
    let id = id(&answer);
    assert_eq!(test.job(&id).await["cachedFrom"], from);
    id
}

/// The bytes of each output of a job.
async fn bytes(test: &TestGateway, job: &Value) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for output in job["outputs"].as_array().expect("a list") {
        all.push(test.get(&text(output, "/url")).await.expect(200).bytes);
    }
    all
}

/// The hashes of the outputs of a job.
fn hashes(job: &Value) -> Vec<&Value> {
    job["outputs"].as_array().expect("a list").iter().map(|output| &output["sha256"]).collect()
}

async fn delete(test: &TestGateway, job: &str) {
    let _deleted = test.send(Method::DELETE, &format!("/jobs/{job}"), None).await.expect(204);
}

/// A job that runs until its steps take no time, and jobs with the same `body` that wait for it; their ids.
async fn leader_and(followers: usize, test: &TestGateway, body: &Value) -> (String, Vec<String>) {
    let leader = submit(test, body, 202).await;
    test.wait_status(&leader, "running").await;
    let mut ids = Vec::new();
    for _ in 0..followers {
        ids.push(submit(test, body, 202).await);
    }
    for id in &ids {
        let job = test.job(id).await;
        assert_eq!((&job["status"], job.get("position")), (&json!("queued"), None), "{job}");
    }
    (leader, ids)
}

#[tokio::test]
async fn the_same_request_again_has_its_result_at_once_and_runs_nothing() {
    let test = start(TestBuilder::default()).await;
    for (count, (workflow, inputs)) in
        (1..).zip([("tiny", json!({"color": 1, "batch_size": 2})), ("sampler", json!({"seed": 7}))])
    {
        let body = wish(workflow, inputs);
        let first = made(&test, &body).await;
        let answer = test.post("/jobs", &body).await.expect(200);
        let (told, new) = (answer.json(), id(&answer));
        assert_ne!(new, first, "it is a job of its own");
        assert_eq!((&told["status"], &told["cached"]), (&json!("cache_hit"), &json!(true)), "{told}");
        assert_eq!(answer.header("location"), format!("/jobs/{new}"));
        let (original, job) = (test.job(&first).await, test.job(&new).await);
        let state = (&job["status"], &job["cached"], &job["cachedFrom"]);
        assert_eq!(state, (&json!("succeeded"), &json!(true), &json!(first)), "{job}");
        assert_eq!(job["outputs"], told["outputs"]);
        assert_eq!(test.get(&format!("/outputs/{new}")).await.expect(200).json()["items"], told["outputs"]);
        for output in told["outputs"].as_array().expect("a list") {
            assert!(text(output, "/url").starts_with(&format!("/outputs/{new}/")), "{output}");
        }
        assert_eq!(hashes(&job), hashes(&original));
        assert!(bytes(&test, &job).await == bytes(&test, &original).await, "the bytes differ");
        let events = test.get(&format!("/jobs/{new}/events")).await.expect(200);
        assert!(String::from_utf8_lossy(&events.bytes).contains("event: end"));
        assert_eq!(prompts(&test), count);
    }
}

#[tokio::test]
async fn what_is_the_same_is_so_however_it_is_written() {
    let test = start(TestBuilder::default()).await;
    let mut scaled = sampler_workflow();
    scaled["workflow"]["4"]["inputs"]["cfg"] = json!("{{cfg}}");
    scaled["inputSchema"]["properties"]["cfg"] = json!({"type": "number"});
    test.register("scaled", scaled).await;
    let tiny = made(&test, &wish("tiny", json!({"color": 7, "width": 64}))).await;
    let number = made(&test, &wish("scaled", json!({"seed": 5, "cfg": 7}))).await;
    for (same, from) in [
        (r#"{"inputs":{"width":64,"color":7},"workflowId":"tiny"}"#, &tiny),
        (r#"{"workflowId":"tiny","inputs":{"color":7.0,"width":6.4e1}}"#, &tiny),
        (r#"{"workflowId":"tiny","inputs":{"color":7}}"#, &tiny),
        (
            r#"{"workflowId":"tiny","inputs":{"width":64},"params":{"color":7},"priority":"high","metadata":{"a":1}}"#,
            &tiny,
        ),
        (r#"{"workflowId":"scaled","inputs":{"cfg":7.0,"seed":5}}"#, &number),
        (r#"{"workflowId":"scaled","inputs":{"seed":5.0,"cfg":0.7e1}}"#, &number),
    ] {
        let answer = test.post_raw("/jobs", same).await.expect(200);
        assert_eq!(answer.json()["status"], "cache_hit", "{same}");
        assert_eq!(&test.job(&id(&answer)).await["cachedFrom"], from.as_str(), "{same}");
    }
    assert_eq!(prompts(&test), 2);
    for (workflow, inputs) in [
        ("tiny", json!({"color": 8})),
        ("tiny", json!({"color": 7, "width": 65})),
        ("scaled", json!({"seed": 5, "cfg": 7.5})),
        ("scaled", json!({"seed": 6, "cfg": 7})),
    ] {
        made(&test, &wish(workflow, inputs)).await;
    }
}

#[tokio::test]
async fn a_seed_that_is_drawn_never_has_the_result_of_another() {
    let test = start(TestBuilder::default()).await;
    let mut seeds = Vec::new();
    for inputs in [json!({}), json!({}), json!({"seed": -1}), json!({"seed": -1})] {
        let drawn = made(&test, &wish("sampler", inputs)).await;
        seeds.push(test.job(&drawn).await["resolvedInputs"]["seed"].clone());
    }
    assert_eq!(prompts(&test), 4);
    let chosen = made(&test, &wish("sampler", json!({"seed": seeds[0]}))).await;
    hit(&test, &wish("sampler", json!({"seed": seeds[0]})), &chosen).await;
}

#[tokio::test]
async fn a_request_without_the_cache_neither_uses_nor_leaves_a_result() {
    let test = start(TestBuilder::default()).await;
    let body = wish("tiny", json!({"color": 1}));
    let mut alone = body.clone();
    alone["cache"] = json!(false);
    made(&test, &alone).await;
    let kept = made(&test, &body).await;
    made(&test, &alone).await;
    hit(&test, &body, &kept).await;
    assert_eq!(prompts(&test), 3);
}

#[tokio::test]
async fn where_the_cache_is_off_every_request_is_run() {
    let test = start(TestBuilder::default().settings(|settings| settings.cache.ttl = None)).await;
    let body = wish("sampler", json!({"seed": 1, "steps": 10}));
    let ids = [submit(&test, &body, 202).await, submit(&test, &body, 202).await];
    ended(&test, &ids, "succeeded").await;
    made(&test, &body).await;
    assert_eq!(prompts(&test), 3);
}

#[tokio::test]
async fn a_result_is_good_for_its_time_only() {
    let builder = TestBuilder::default().settings(|settings| settings.cache.ttl = Some(Duration::from_millis(1)));
    let test = start(builder).await;
    let body = wish("tiny", json!({"color": 1}));
    made(&test, &body).await;
    let again = until("the result is too old", || async {
        let answer = test.post("/jobs", &body).await;
        (answer.status == 202).then(|| id(&answer))
    })
    .await;
    assert_eq!(test.wait_status(&again, "succeeded").await["cached"], false);
    assert_eq!(prompts(&test), 2);
}

#[tokio::test]
async fn another_graph_is_another_result_and_another_name_is_not() {
    let test = start(TestBuilder::default()).await;
    let body = wish("tiny", json!({"color": 1}));
    let first = made(&test, &body).await;
    let mut workflow = tiny_workflow();
    workflow["name"] = json!("Another name");
    let _replaced = test.send(Method::PUT, "/workflows/tiny", Some(&workflow)).await.expect(200);
    hit(&test, &body, &first).await;
    workflow["workflow"]["1"]["inputs"]["height"] = json!("{{height|32}}");
    let _replaced = test.send(Method::PUT, "/workflows/tiny", Some(&workflow)).await.expect(200);
    let second = made(&test, &body).await;
    assert_eq!(test.job(&second).await["outputs"][0]["height"], 32);
    hit(&test, &body, &second).await;
}

#[tokio::test]
async fn a_result_whose_files_are_gone_is_made_anew() {
    let test = start(TestBuilder::default()).await;
    let body = wish("tiny", json!({"color": 1}));
    let first = made(&test, &body).await;
    let stored = files_below(&test.folder().join("outputs"));
    assert_eq!(stored.len(), 1);
    for file in stored {
        std::fs::remove_file(file).expect("removed");
    }
    let second = made(&test, &body).await;
    let job = test.job(&second).await;
    assert_eq!(bytes(&test, &job).await.len(), 1);
    assert_ne!(first, second);
    hit(&test, &body, &second).await;
    assert_eq!(prompts(&test), 2);
}

#[tokio::test]
async fn shared_files_stay_as_long_as_one_job_has_them() {
    let test = start(TestBuilder::default()).await;
    let folder = test.folder().join("outputs");
    let body = wish("tiny", json!({"color": 1}));
    let first = made(&test, &body).await;
    let second = hit(&test, &body, &first).await;
    let other = made(&test, &wish("tiny", json!({"color": 2}))).await;
    let job = test.job(&second).await;
    let before = bytes(&test, &job).await;
    assert_eq!((before.len(), files_below(&folder).len()), (1, 2), "a hit makes no file of its own");
    delete(&test, &first).await;
    delete(&test, &other).await;
    // Whatever would take the shared file takes it before this one.
    until("the other job's file is gone", || async { (files_below(&folder).len() < 2).then_some(()) }).await;
    assert!(bytes(&test, &job).await == before, "the bytes differ");
    assert_eq!(test.job(&second).await, job);
    delete(&test, &second).await;
    until("no file is left", || async { files_below(&folder).is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn equal_requests_wait_for_the_one_that_runs_and_get_its_result() {
    let test = start(TestBuilder::default()).await;
    let body = wish("sampler", json!({"seed": 5, "steps": LONG}));
    let (leader, followers) = leader_and(6, &test, &body).await;
    let elsewhere = submit(&test, &wish("sampler", json!({"seed": 6})), 202).await;
    hurry(&test);
    let first = test.wait_status(&leader, "succeeded").await;
    for job in ended(&test, &followers, "succeeded").await {
        assert_eq!(hashes(&job), hashes(&first), "{job}");
        assert_eq!((&job["cached"], &job["cachedFrom"]), (&json!(true), &json!(leader)), "{job}");
        assert!(bytes(&test, &job).await == bytes(&test, &first).await, "the bytes differ");
    }
    let other = test.wait_status(&elsewhere, "succeeded").await;
    assert_ne!(hashes(&other), hashes(&first));
    assert_eq!(prompts(&test), 2);
    assert_eq!(test.get("/health").await.json()["queue"]["depth"], 0);
}

#[tokio::test]
async fn of_equal_requests_at_the_same_time_one_is_run() {
    let test = start(TestBuilder::default()).await;
    let body = wish("sampler", json!({"seed": 5, "steps": LONG}));
    let answers: Vec<Answer> = join_all((0..32).map(|_| test.post("/jobs", &body))).await;
    hurry(&test);
    let mut hashed = Vec::new();
    for answer in answers {
        let job = test.wait_status(&id(&answer.expect(202)), "succeeded").await;
        hashed.push(text(&job, "/outputs/0/sha256"));
    }
    hashed.dedup();
    assert_eq!((hashed.len(), prompts(&test)), (1, 1));
}

#[tokio::test]
async fn whoever_waits_for_a_run_that_fails_has_failed_with_it_and_the_next_is_run() {
    let test = start(TestBuilder::default()).await;
    break_fragile(&test);
    let body = wish("fragile", json!({"seed": 5, "steps": LONG}));
    let (leader, followers) = leader_and(3, &test, &body).await;
    hurry(&test);
    let first = test.wait_status(&leader, "failed").await;
    assert_eq!(first["error"]["code"], "COMFYUI_NODE_ERROR", "{first}");
    for job in ended(&test, &followers, "failed").await {
        assert_eq!(job["error"], first["error"], "{job}");
    }
    assert_eq!(prompts(&test), 1);
    test.sim.update(|switches| switches.fail_node = None);
    made(&test, &body).await;
    assert_eq!(prompts(&test), 2);
}

#[tokio::test]
async fn when_the_one_that_runs_is_canceled_the_next_one_runs_for_the_others() {
    let test = start(TestBuilder::default()).await;
    let body = wish("sampler", json!({"seed": 5, "steps": LONG}));
    let (leader, followers) = leader_and(4, &test, &body).await;
    cancel(&test, &followers[3]).await;
    assert_eq!(test.job(&followers[3]).await["status"], "canceled");
    assert_eq!(test.job(&leader).await["status"], "running", "the others are left alone");
    cancel(&test, &leader).await;
    test.wait_status(&leader, "canceled").await;
    test.wait_status(&followers[0], "running").await;
    hurry(&test);
    let jobs = ended(&test, &followers[..3], "succeeded").await;
    assert_eq!(jobs[0]["cached"], false, "{}", jobs[0]);
    for job in &jobs[1..] {
        assert_eq!((&job["cachedFrom"], hashes(job)), (&json!(followers[0]), hashes(&jobs[0])), "{job}");
    }
    assert_eq!((test.job(&followers[3]).await["status"].clone(), prompts(&test)), (json!("canceled"), 2));
}

#[tokio::test]
async fn jobs_that_get_the_result_of_another_are_told_of_as_well() {
    let receiver = Receiver::start().await;
    let test = start(calling(&receiver)).await;
    let body = |path: &str| wish_told("sampler", json!({"seed": 5, "steps": LONG}), &receiver.url(path));
    let leader = submit(&test, &body("/leader"), 202).await;
    test.wait_status(&leader, "running").await;
    let joined = submit(&test, &body("/joined"), 202).await;
    hurry(&test);
    test.wait_status(&joined, "succeeded").await;
    let taken = submit(&test, &body("/taken"), 200).await;
    for (path, id) in [("/leader", &leader), ("/joined", &joined), ("/taken", &taken)] {
        let entry = delivery(&test, id, "delivered").await;
        let requests: Vec<_> = receiver.requests().into_iter().filter(|request| request.path == path).collect();
        assert_eq!(requests.len(), 1, "{path}");
        let message = requests[0].json();
        assert_eq!((&message["type"], &message["id"]), (&json!("job.succeeded"), &entry["deliveryId"]), "{path}");
        assert_eq!(message["data"], test.job(id).await, "{path}");
    }
    assert_eq!(prompts(&test), 1);
}
