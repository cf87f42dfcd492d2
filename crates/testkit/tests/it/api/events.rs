//! `GET /jobs/{id}/events`: Server-Sent Events.

use std::pin::Pin;

use comfyui_sim::{FailNode, PreviewMethod};
use futures_util::{Stream, StreamExt as _};
use gateway_core::ErrorCode;
use gateway_core::event::EventId;
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
    id: EventId,
    name: String,
    data: Value,
}

impl Events {
    async fn open(test: &TestGateway, id: &str, last_id: Option<&str>) -> Self {
        Self::open_at(test, &format!("/jobs/{id}/events"), last_id).await
    }

    async fn open_at(test: &TestGateway, path: &str, last_id: Option<&str>) -> Self {
        let mut request = test.client().get(test.url(path));
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
    // It begins when it is watched.
    let _answer = test.post("/queue/pause", &json!({})).await.expect(200);
    let id = test.submit("picture", json!({"prompt": "a cat", "steps": 8})).await;
    let mut stream = Events::open(&test, &id, None).await;
    let first = stream.next().await.unwrap();
    assert_eq!((first.name.as_str(), &first.data["jobId"]), ("status", &json!(id)));
    assert_eq!(first.data["status"], "queued", "{}", first.data);
    let _answer = test.post("/queue/resume", &json!({})).await.expect(200);
    let events = stream.rest().await;
    let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
    assert!(first.id <= ids[0] && ids.is_sorted(), "ids count on: {ids:?}");
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

    let logged = events.iter().filter(|event| event.name == "log").count();
    assert!(logged > 0);
    for last_id in [None, Some("garbage"), Some("18446744073709551616"), Some("-1"), Some("18446744073709551615-0")] {
        let events = Events::open(&test, &id, last_id).await.rest().await;
        let mut names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
        assert_eq!(events.last().unwrap().data, end.data);
        names.retain(|name| *name != "log");
        assert_eq!(names, ["status", "output", "end"], "an ended job tells its end at once");
        let told = events.iter().filter(|event| event.name == "log").count();
        assert!(if last_id.is_none() { told == 0 } else { told >= logged }, "{last_id:?}: {told} of {logged}");
    }
    let middle = events.iter().find(|event| event.name == "log").unwrap().id;
    let again = Events::open(&test, &id, Some(&middle.to_string())).await.rest().await;
    assert_eq!(again.iter().filter(|event| event.name == "log").count(), logged - 1, "what was seen is not told again");
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
async fn a_watcher_with_a_number_that_nobody_gave_out_is_told_all_that_happens_until_the_end() {
    let test = TestGateway::start().await;
    let _paused = test.post("/queue/pause", &json!({})).await.expect(200);
    let id = test.submit("tiny", json!({"color": 1})).await;
    // Nothing has happened to the job so far that a number could be compared with.
    let mut ahead = Events::open(&test, &id, Some("18446744073709551615-0")).await;
    let first = ahead.next().await.unwrap();
    assert_eq!((first.name.as_str(), &first.data["status"]), ("status", &json!("queued")));
    let mut usual = Events::open(&test, &id, None).await;
    let _resumed = test.post("/queue/resume", &json!({})).await.expect(200);
    let (ahead, usual) = tokio::join!(ahead.rest(), usual.rest());
    let logged = |events: &[Event]| -> Vec<EventId> {
        events.iter().filter(|event| event.name == "log").map(|event| event.id).collect()
    };
    assert!(!logged(&ahead).is_empty());
    assert_eq!(logged(&ahead), logged(&usual));
    let (end, usual_end) = (ahead.last().unwrap(), usual.last().unwrap());
    assert_eq!((end.name.as_str(), end.id, &end.data), ("end", usual_end.id, &usual_end.data));
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

#[tokio::test]
async fn previews_come_to_whoever_asks_for_them_and_to_nobody_else() {
    let test = TestGateway::start().await;
    test.register("picture", picture_workflow()).await;
    test.sim.update(|switches| {
        switches.step_ms = 200;
        switches.preview_method = PreviewMethod::Jpeg;
    });
    let id = test.submit("picture", json!({"prompt": "a cat", "steps": 25})).await;
    let (mut with, mut without) = (
        Events::open_at(&test, &format!("/jobs/{id}/events?previews=1"), None).await,
        Events::open(&test, &id, None).await,
    );
    let (with, without) = tokio::join!(with.rest(), without.rest());
    let preview = with.iter().find(|event| event.name == "preview").expect("a preview");
    let url = preview.data["dataUrl"].as_str().unwrap();
    assert!(url.starts_with("data:image/jpeg;base64,/9j/"), "{url:.40}");
    assert_eq!(preview.data["node"], "5");
    assert!(without.iter().all(|event| event.name != "preview"));
    assert_eq!((with.last().unwrap().name.as_str(), without.last().unwrap().name.as_str()), ("end", "end"));
}

#[tokio::test]
async fn the_time_to_the_end_comes_from_earlier_runs_and_the_queue_ahead() {
    let test = TestGateway::start().await;
    test.register("picture", picture_workflow()).await;
    test.sim.update(|switches| switches.step_ms = 400);
    let wish = |seed: u64| json!({"prompt": "a cat", "steps": 3, "seed": seed});
    assert_eq!(test.run("picture", wish(1)).await["status"], "succeeded");
    let running = test.submit("picture", wish(2)).await;
    let ahead = test.submit("picture", wish(3)).await;
    let last = test.submit("picture", wish(4)).await;
    let eta = |job: Value| job["progress"]["etaSeconds"].as_u64();
    let told = until("a waiting job tells how long it may take", || async { eta(test.job(&last).await) }).await;
    assert!(told >= 2, "one or two runs of more than a second, and its own: {told}");
    for id in [running, ahead, last] {
        assert_eq!(test.wait_ended(&id).await["status"], "succeeded");
    }
}
