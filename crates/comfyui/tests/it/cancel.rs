//! Stopping prompts on servers of every age, and never stopping another one.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::response::Response;
use comfyui_client::{CallError, CancelSent};
use serde_json::{Value, json};

use crate::server::{Seen, TestServer, empty, json as json_answer, typed};

/// A server of a version whose queue goes through the given states, one for each look; the last one stays.
async fn server(
    version: &'static str,
    looks: Vec<Value>,
    job_cancel: impl Fn() -> Response + Send + Sync + 'static,
) -> TestServer {
    let turn = Arc::new(AtomicUsize::new(0));
    TestServer::start(move |request: &Seen| match (request.method.as_str(), request.uri.path()) {
        ("GET", "/system_stats") => json_answer(200, &json!({"system": {"comfyui_version": version}})),
        ("GET", "/features") => json_answer(200, &json!({"supports_preview_metadata": true})),
        ("GET", "/api/jobs") if version != "0.3.64" && version != "0.3.50" => json_answer(200, &json!({"jobs": []})),
        ("GET", "/queue") => {
            let look = turn.fetch_add(1, Ordering::SeqCst).min(looks.len() - 1);
            json_answer(200, &looks[look])
        }
        ("POST", "/queue" | "/interrupt") => empty(200),
        ("POST", "/api/jobs/p1/cancel") => job_cancel(),
        _ => empty(404),
    })
    .await
}

fn queue(running: &[&str], pending: &[&str]) -> Value {
    let items = |ids: &[&str]| ids.iter().map(|id| json!([1, id, {}, {}, []])).collect::<Vec<_>>();
    json!({"queue_running": items(running), "queue_pending": items(pending)})
}

/// What was posted, with bodies.
fn posted(server: &TestServer) -> Vec<String> {
    let posts = server.seen().into_iter().filter(|request| request.method == "POST");
    posts.map(|request| format!("{} {}", request.uri, String::from_utf8_lossy(&request.body))).collect()
}

fn absent() -> Response {
    typed(405, "text/plain", "405: Method Not Allowed")
}

#[tokio::test]
async fn new_servers_get_one_atomic_request() {
    for (answer, expected) in [(true, CancelSent::Dispatched), (false, CancelSent::NotFound)] {
        let server =
            server("0.26.0", vec![queue(&["other"], &[])], move || json_answer(200, &json!({"cancelled": answer})))
                .await;
        assert_eq!(server.client().cancel("p1", false).await.unwrap(), expected);
        assert_eq!(posted(&server), ["/api/jobs/p1/cancel "]);
    }
    let unknown =
        server("0.30.0", vec![queue(&[], &[])], || json_answer(404, &json!({"error": "Job not found"}))).await;
    assert_eq!(unknown.client().cancel("p1", false).await.unwrap(), CancelSent::NotFound);
    assert!(unknown.client().cancel("p1", false).await.is_ok());
}

#[tokio::test]
async fn a_cancel_route_that_turns_out_missing_is_not_tried_again() {
    let server = server("0.26.0", vec![queue(&[], &["p1"]), queue(&[], &[])], absent).await;
    let client = server.client();
    assert_eq!(client.cancel("p1", false).await.unwrap(), CancelSent::Dispatched);
    assert!(!client.capabilities().unwrap().jobs_cancel);
    assert_eq!(client.cancel("p1", false).await.unwrap(), CancelSent::NotFound);
    assert_eq!(posted(&server), ["/api/jobs/p1/cancel ", "/queue {\"delete\":[\"p1\"]}"]);
}

#[tokio::test]
async fn servers_with_jobs_but_before_0_26_are_not_asked_for_the_cancel_route() {
    let server = server("0.9.0", vec![queue(&["p1"], &[])], absent).await;
    assert_eq!(server.client().cancel("p1", false).await.unwrap(), CancelSent::Dispatched);
    assert_eq!(posted(&server), ["/interrupt {\"prompt_id\":\"p1\"}"]);
}

#[tokio::test]
async fn a_waiting_prompt_is_removed_and_nothing_is_interrupted() {
    let server = server("0.3.64", vec![queue(&["other"], &["x", "p1"]), queue(&["other"], &["x"])], absent).await;
    assert_eq!(server.client().cancel("p1", false).await.unwrap(), CancelSent::Dispatched);
    assert_eq!(posted(&server), ["/queue {\"delete\":[\"p1\"]}"]);
}

#[tokio::test]
async fn a_prompt_that_starts_in_between_is_interrupted_by_its_id() {
    let server = server("0.3.64", vec![queue(&["other"], &["p1"]), queue(&["p1"], &[])], absent).await;
    assert_eq!(server.client().cancel("p1", false).await.unwrap(), CancelSent::Dispatched);
    assert_eq!(posted(&server), ["/queue {\"delete\":[\"p1\"]}", "/interrupt {\"prompt_id\":\"p1\"}"]);
}

#[tokio::test]
async fn a_prompt_that_is_nowhere_leads_to_no_request_that_stops_anything() {
    let server = server("0.3.64", vec![queue(&["other"], &["another"])], absent).await;
    assert_eq!(server.client().cancel("p1", true).await.unwrap(), CancelSent::NotFound);
    assert!(posted(&server).is_empty());
}

#[tokio::test]
async fn an_old_shared_server_is_never_interrupted() {
    let server = server("0.3.50", vec![queue(&["p1"], &[])], absent).await;
    let client = server.client();
    assert_eq!(client.cancel("p1", false).await.unwrap(), CancelSent::CannotTarget);
    assert!(matches!(client.interrupt("p1", false).await, Err(CallError::Unsupported { .. })));
    assert!(posted(&server).is_empty());
}

#[tokio::test]
async fn an_old_exclusive_server_is_interrupted_only_while_it_runs_that_prompt() {
    let running = server("0.3.50", vec![queue(&["p1"], &[])], absent).await;
    assert_eq!(running.client().cancel("p1", true).await.unwrap(), CancelSent::Dispatched);
    assert_eq!(posted(&running), ["/interrupt {\"prompt_id\":\"p1\"}"]);
    let next = server("0.3.50", vec![queue(&["p1"], &[]), queue(&["p2"], &[])], absent).await;
    next.client().cancel("p1", true).await.unwrap();
    next.client().interrupt("p1", true).await.unwrap();
    assert!(posted(&next).is_empty(), "another prompt runs by now");
}

#[tokio::test]
async fn an_empty_id_never_becomes_a_global_interrupt() {
    let server = server("0.3.64", vec![queue(&[], &[])], absent).await;
    assert!(matches!(server.client().interrupt("", true).await, Err(CallError::InvalidArgument { .. })));
    assert!(server.lines().is_empty());
}

#[tokio::test]
async fn a_server_that_cannot_be_probed_is_not_touched() {
    let server = TestServer::start(|_| empty(404)).await;
    assert!(server.client().cancel("p1", true).await.is_err());
    assert!(posted(&server).is_empty());
}
