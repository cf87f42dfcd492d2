//! Accepting jobs: positions, a full queue, jobs for later, the order in which they run.

use gateway_core::ErrorCode;
use gateway_testkit::{TestBuilder, TestGateway, tiny_workflow};
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{fields, from_now, is_time, offline, problem, text};

async fn accepted(test: &TestGateway, color: u32, field: &str, value: Value) -> String {
    let body = json!({"workflowId": "tiny", "inputs": {"color": color}, field: value});
    text(&test.post("/jobs", &body).await.expect(202).json(), "/jobId")
}

#[tokio::test]
async fn an_accepted_job_is_answered_with_where_to_look() {
    let test = offline().await;
    let body = json!({"workflowId": "tiny", "inputs": {"color": 1}});
    let answer = test.post("/jobs", &body).await.expect(202);
    let told = answer.json();
    assert_eq!(fields(&told), ["eventsUrl", "jobId", "outputsUrl", "pollUrl", "position", "status"]);
    let id = text(&told, "/jobId");
    assert_eq!(answer.header("location"), format!("/jobs/{id}"));
    let expected = json!({
        "jobId": id, "status": "queued", "position": 1, "pollUrl": format!("/jobs/{id}"),
        "eventsUrl": format!("/jobs/{id}/events"), "outputsUrl": format!("/outputs/{id}"),
    });
    assert_eq!(told, expected);
    let read = test.get(&format!("/jobs/{id}")).await.expect(200);
    let job = read.json();
    let names = [
        "attempt",
        "cached",
        "correlationId",
        "createdAt",
        "inputs",
        "jobId",
        "metadata",
        "outputs",
        "position",
        "priority",
        "progress",
        "resolvedInputs",
        "status",
        "timings",
        "workflowId",
        "workflowVersion",
    ];
    assert_eq!(fields(&job), names);
    is_time(&job["createdAt"]);
    assert_eq!(job["progress"], json!({"percent": 0, "nodesDone": 0, "nodesTotal": 2}));
    assert_eq!((&job["attempt"], &job["cached"], &job["outputs"]), (&json!(0), &json!(false), &json!([])));
    for tag in [read.header("etag").to_owned(), format!("W/{}", read.header("etag"))] {
        let known = test.get_with(&format!("/jobs/{id}"), "if-none-match", &tag).await.expect(304);
        assert!(known.bytes.is_empty());
    }
    let _canceled = test.send(Method::POST, &format!("/jobs/{id}/cancel"), None).await.expect(202);
    let changed = test.get_with(&format!("/jobs/{id}"), "if-none-match", read.header("etag")).await.expect(200);
    assert_eq!(changed.json()["status"], "canceled");
}

#[tokio::test]
async fn an_ended_job_shows_its_times_and_outputs() {
    let test = TestGateway::start().await;
    let job = test.run("tiny", json!({"color": 1})).await;
    let names = [
        "attempt",
        "cached",
        "correlationId",
        "createdAt",
        "finishedAt",
        "inputs",
        "jobId",
        "metadata",
        "outputs",
        "priority",
        "progress",
        "resolvedInputs",
        "startedAt",
        "status",
        "timings",
        "worker",
        "workflowId",
        "workflowVersion",
    ];
    assert_eq!(fields(&job), names);
    let times: Vec<&Value> = ["createdAt", "startedAt", "finishedAt"].into_iter().map(|name| &job[name]).collect();
    times.iter().for_each(|time| is_time(time));
    assert!(times.windows(2).all(|pair| pair[0].as_str() <= pair[1].as_str()), "{job}");
    assert_eq!(fields(&job["timings"]), ["queuedMs", "runMs", "storeMs"]);
    assert_eq!(job["progress"], json!({"percent": 100, "nodesDone": 2, "nodesTotal": 2}));
    assert_eq!((&job["attempt"], &job["priority"]), (&json!(1), &json!("normal")));
    let path = format!("/jobs/{}", text(&job, "/jobId"));
    let tag = test.get(&path).await.header("etag").to_owned();
    let _known = test.get_with(&path, "if-none-match", &tag).await.expect(304);
}

#[tokio::test]
async fn a_full_queue_refuses_and_says_when_to_come_back() {
    let builder =
        TestBuilder::default().comfyui_url("http://127.0.0.1:9").settings(|settings| settings.queue.max_depth = 2);
    let test = builder.start_unready().await;
    test.register("tiny", tiny_workflow()).await;
    let first = test.submit("tiny", json!({"color": 1})).await;
    let _second = test.submit("tiny", json!({"color": 2})).await;
    let body = json!({"workflowId": "tiny", "inputs": {"color": 3}});
    let full = test.post("/jobs", &body).await;
    problem(&full, ErrorCode::QueueFull);
    assert!(full.header("retry-after").parse::<u32>().is_ok_and(|seconds| (1..=3_600).contains(&seconds)));
    let _canceled = test.send(Method::POST, &format!("/jobs/{first}/cancel"), None).await.expect(202);
    let _accepted = test.post("/jobs", &body).await.expect(202);
    let retry = test.send(Method::POST, &format!("/jobs/{first}/retry"), None).await;
    problem(&retry, ErrorCode::QueueFull);
    assert_eq!(test.get("/jobs").await.json()["items"].as_array().map(Vec::len), Some(3));
    assert_eq!(test.get("/health").await.json()["queue"]["depth"], 2);
}

#[tokio::test]
async fn urgent_jobs_run_first_and_the_rest_in_the_order_they_came() {
    let test = TestGateway::start().await;
    test.sim.update(|switches| switches.node_ms = 250);
    test.sim.crash().await;
    gateway_testkit::until("the loss is noticed", || async {
        (test.get("/health/ready").await.status == 503).then_some(())
    })
    .await;
    let mut jobs = Vec::new();
    for (color, priority, place) in [
        (1, json!("low"), 5),
        (2, json!("normal"), 3),
        (3, json!(5), 4),
        (4, json!(9), 1),
        (5, json!("high"), 2),
        (6, json!(0), 6),
    ] {
        jobs.push((place, accepted(&test, color, "priority", priority).await));
    }
    jobs.sort();
    for (place, id) in &jobs {
        assert_eq!(test.job(id).await["position"], *place);
    }
    test.sim.restart().await.unwrap();
    let mut ends = Vec::new();
    for (place, id) in &jobs {
        let job = test.wait_ended(id).await;
        assert_eq!(job["status"], "succeeded", "{job}");
        ends.push((text(&job, "/finishedAt"), *place));
    }
    ends.sort();
    assert_eq!(ends.iter().map(|(_, place)| *place).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6], "{ends:?}");
}

#[tokio::test]
async fn a_job_for_later_waits_for_its_time_and_holds_nobody_up() {
    let test = TestGateway::start().await;
    let due = from_now(1_500);
    let later = accepted(&test, 1, "notBefore", json!(due)).await;
    let job = test.job(&later).await;
    assert_eq!((&job["status"], &job["notBefore"]), (&json!("queued"), &json!(due)), "{job}");
    assert!(job.get("position").is_none(), "{job}");
    let past = accepted(&test, 2, "notBefore", json!("2020-01-01T00:00:00+02:00")).await;
    assert_eq!(test.wait_ended(&past).await["status"], "succeeded");
    let job = test.wait_ended(&later).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    assert!(text(&job, "/startedAt") >= due, "{job}");
    let canceled = accepted(&test, 3, "notBefore", json!(from_now(600_000))).await;
    let _canceled = test.send(Method::POST, &format!("/jobs/{canceled}/cancel"), None).await.expect(202);
    assert_eq!(test.job(&canceled).await["status"], "canceled");
    assert_eq!(test.get("/health").await.json()["queue"]["depth"], 0);
}

#[tokio::test]
async fn jobs_sent_at_the_same_time_are_all_accepted_and_run_once() {
    let test = TestGateway::start().await;
    let sent = (0..40).map(|color| test.submit("tiny", json!({"color": color})));
    let ids = futures_util::future::join_all(sent).await;
    for (color, id) in ids.iter().enumerate() {
        let job = test.wait_ended(id).await;
        assert_eq!((&job["status"], &job["resolvedInputs"]["color"]), (&json!("succeeded"), &json!(color)), "{job}");
    }
    let stats = test.sim.stats();
    assert_eq!((stats.prompts_started, stats.starts.values().max()), (40, Some(&1)));
}
