//! `GET /jobs/{id}/events`: Server-Sent Events.

use std::pin::Pin;

use comfyui_sim::FailNode;
use futures_util::{Stream, StreamExt as _};
use gateway_core::ErrorCode;
use gateway_testkit::{TestGateway, until};
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{fragile_workflow, picture_workflow, problem, run_for_ever};

/// An open stream of events.
struct Events {
    chunks: Pin<Box<dyn Stream<Item = reqwest::Result<Vec<u8>>>>>,
    text: String,
}

struct Event {
    id: u64,
    name: String,
    data: Value,
}

impl Events {
    async fn open(test: &TestGateway, id: &str, last_id: Option<&str>) -> Self {
        let mut request = test.client().get(test.url(&format!("/jobs/{id}/events")));
        if let Some(last_id) = last_id {
            request = request.header("last-event-id", last_id);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let header = |name: &str| response.headers().get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "text/event-stream");
        assert_eq!(header("cache-control"), "no-store");
        assert!(!header("x-request-id").is_empty());
        let chunks = response.bytes_stream().map(|chunk| chunk.map(|bytes| bytes.to_vec()));
        Self { chunks: Box::pin(chunks), text: String::new() }
    }

    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n").map(|(a, b)| (a.to_owned(), b.to_owned())) {
                self.text = rest;
                let field =
                    |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
                if block.starts_with(':') {
                    continue;
                }
                let data = serde_json::from_str(field("data:")).unwrap_or_else(|error| panic!("{error}: {block}"));
                return Some(Event { id: field("id:").parse().unwrap(), name: field("event:").to_owned(), data });
            }
            self.text.push_str(&String::from_utf8(self.chunks.next().await?.unwrap()).unwrap());
        }
    }

    async fn rest(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

#[tokio::test]
async fn a_watcher_is_told_where_a_job_stands_how_it_goes_and_how_it_ended() {
    let test = TestGateway::start().await;
    test.register("picture", picture_workflow()).await;
    test.sim.update(|switches| switches.step_ms = 60);
    let id = test.submit("picture", json!({"prompt": "a cat", "steps": 8})).await;
    let mut stream = Events::open(&test, &id, None).await;
    let first = stream.next().await.unwrap();
    assert_eq!((first.id, first.name.as_str(), &first.data["jobId"]), (1, "status", &json!(id)));
    assert!(matches!(first.data["status"].as_str(), Some("queued" | "running")), "{}", first.data);
    let events = stream.rest().await;
    let ids: Vec<u64> = events.iter().map(|event| event.id).collect();
    assert_eq!(ids, (2..2 + ids.len() as u64).collect::<Vec<_>>(), "ids count on");
    let progress: Vec<&Value> =
        events.iter().filter(|event| event.name == "progress").map(|event| &event.data).collect();
    assert!(progress.iter().any(|each| each["step"].is_u64() && each["steps"] == 8), "{progress:?}");
    assert!(
        progress.iter().all(|each| each["nodesTotal"] == 7 && each["percent"].as_u64() < Some(100)),
        "{progress:?}"
    );
    assert!(progress.windows(2).all(|pair| pair[0]["percent"].as_u64() <= pair[1]["percent"].as_u64()), "{progress:?}");
    assert!(progress.iter().any(|each| each["node"] == "5" && each["nodeTitle"] == "Sample"), "{progress:?}");
    let end = events.last().unwrap();
    assert_eq!(end.name, "end");
    assert_eq!(events.iter().filter(|event| event.name == "end").count(), 1);
    assert_eq!(end.data, test.job(&id).await, "the end is the job as it is shown");
    assert_eq!((&end.data["status"], end.data["outputs"].as_array().map(Vec::len)), (&json!("succeeded"), Some(1)));

    for last_id in [None, Some("3"), Some("garbage"), Some("18446744073709551616"), Some("-1")] {
        let events = Events::open(&test, &id, last_id).await.rest().await;
        let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
        assert_eq!(names, ["status", "end"], "an ended job tells its end at once");
        assert_eq!(events[1].data, end.data);
    }
}

#[tokio::test]
async fn failures_and_cancellations_end_the_stream_for_every_watcher() {
    let test = TestGateway::start().await;
    test.register("fragile", fragile_workflow()).await;
    let fault =
        FailNode { class_type: "ImageInvert".into(), exception_type: "ValueError".into(), message: "no".into() };
    test.sim.update(|switches| {
        switches.fail_node = Some(fault);
        switches.node_ms = 100;
    });
    let id = test.submit("fragile", json!({})).await;
    let (mut left, mut right) = (Events::open(&test, &id, None).await, Events::open(&test, &id, None).await);
    let (left, right) = tokio::join!(left.rest(), right.rest());
    for events in [left, right] {
        let end = events.last().unwrap();
        assert_eq!((end.name.as_str(), &end.data["status"]), ("end", &json!("failed")));
        assert_eq!(end.data["error"]["code"], "COMFYUI_NODE_ERROR");
    }

    let running = run_for_ever(&test, 1).await;
    let _ahead = run_for_ever(&test, 2).await;
    let queued = test.submit("tiny", json!({"color": 3})).await;
    for id in [&queued, &running] {
        let mut stream = Events::open(&test, id, None).await;
        let _snapshot = stream.next().await.unwrap();
        let _canceled = test.send(Method::POST, &format!("/jobs/{id}/cancel"), None).await.expect(202);
        let end = stream.rest().await.pop().unwrap();
        assert_eq!((end.name.as_str(), &end.data["status"]), ("end", &json!("canceled")));
    }
}

#[tokio::test]
async fn a_watcher_that_comes_late_is_told_the_progress_so_far() {
    let test = TestGateway::start().await;
    let id = run_for_ever(&test, 1).await;
    test.sim.update(|switches| switches.step_ms = 100);
    until("it makes progress", || async { test.job(&id).await["progress"]["node"].is_string().then_some(()) }).await;
    let mut stream = Events::open(&test, &id, None).await;
    let (status, progress) = (stream.next().await.unwrap(), stream.next().await.unwrap());
    assert_eq!((status.name.as_str(), &status.data["status"]), ("status", &json!("running")));
    assert_eq!((progress.name.as_str(), &progress.data["nodesTotal"]), ("progress", &json!(7)));
    assert!(progress.data["node"].is_string(), "{}", progress.data);
    problem(&test.get("/jobs/01900000-0000-7000-8000-000000000000/events").await, ErrorCode::JobNotFound);
}

#[tokio::test]
async fn a_stop_ends_the_streams_of_jobs_that_go_on() {
    let mut test = TestGateway::start().await;
    let id = run_for_ever(&test, 1).await;
    let mut events = Events::open(&test, &id, None).await;
    assert_eq!(events.next().await.unwrap().name, "status");
    let (rest, ()) = tokio::join!(events.rest(), test.stop_gateway());
    assert!(rest.iter().all(|event| event.name != "end"), "the job has not ended");
}
