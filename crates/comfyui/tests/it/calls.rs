//! Information, queue and history calls, credentials and path prefixes, and the classes of errors.

use std::time::Duration;

use comfyui_client::{
    CallError, ClientConfig, ComfyClient, ComfyVersion, FailureClass, Outcome, OutputItem, QueuePlace,
};
use serde_json::{Value, json};

use crate::server::{
    TestServer, blunt, client, empty, hasty_client, html, json as json_answer, nowhere, silent, typed,
};

const RUNNING: &str = "a8a3976f-cd74-45cb-8785-acdfef999fe5";

#[tokio::test]
async fn a_probe_of_the_recorded_server_finds_what_0_3_64_can_do() {
    let server = TestServer::start(|request| match request.uri.path() {
        "/system_stats" => typed(200, "application/json", include_str!("data/system_stats.json")),
        "/features" => json_answer(200, &json!({"supports_preview_metadata": true, "max_upload_size": 104_857_600})),
        _ => empty(404),
    })
    .await;
    let client = server.client();
    assert_eq!(client.capabilities(), None);
    let info = client.probe().await.unwrap();
    assert_eq!(info.version, Some(ComfyVersion::new(0, 3, 64)));
    assert_eq!(info.stats.devices[0].kind, "cpu");
    let known = client.capabilities().unwrap();
    assert_eq!(known, info.capabilities);
    assert!(known.own_prompt_ids && known.targeted_interrupt && known.preview_metadata);
    assert!(!known.jobs_api && !known.jobs_cancel);
    assert_eq!(known.max_upload_size, Some(104_857_600));
    assert_eq!(server.lines(), ["GET /system_stats", "GET /features", "GET /api/jobs?limit=1"]);
    assert!(!format!("{info:?}").contains("--listen"), "arguments of the process are not kept");
}

#[tokio::test]
async fn a_probe_of_an_old_and_of_a_new_server_differ_and_the_last_one_counts() {
    let new = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let switch = new.clone();
    let server = TestServer::start(move |request| {
        let new = switch.load(std::sync::atomic::Ordering::SeqCst);
        match request.uri.path() {
            "/system_stats" => {
                json_answer(200, &json!({"system": {"comfyui_version": if new { "0.27.1" } else { "0.3.40" }}}))
            }
            "/features" if new => json_answer(200, &json!({"supports_preview_metadata": true})),
            "/api/jobs" if new => json_answer(200, &json!({"jobs": [], "pagination": {}})),
            _ => empty(404),
        }
    })
    .await;
    let client = server.client();
    let old = client.probe().await.unwrap().capabilities;
    assert!(!old.own_prompt_ids && !old.targeted_interrupt && !old.preview_metadata);
    new.store(true, std::sync::atomic::Ordering::SeqCst);
    client.clone().probe().await.unwrap();
    assert!(client.capabilities().unwrap().jobs_cancel);
}

#[tokio::test]
async fn a_poisoned_job_list_still_shows_that_the_route_exists_and_a_web_page_does_not() {
    for (answer, exists) in [(500, true), (200, false), (404, false), (405, false), (401, false)] {
        let server = TestServer::start(move |request| match request.uri.path() {
            "/system_stats" => json_answer(200, &json!({"system": {"comfyui_version": "0.30.0"}})),
            "/api/jobs" if answer == 500 => typed(500, "text/plain", "500 Internal Server Error"),
            "/api/jobs" => html(answer),
            _ => empty(404),
        })
        .await;
        assert_eq!(server.client().probe().await.unwrap().capabilities.jobs_api, exists, "{answer}");
    }
}

#[tokio::test]
async fn every_route_keeps_prefix_credentials_and_extra_headers() {
    let server = TestServer::start(|_| json_answer(200, &json!({"queue_running": [], "queue_pending": []}))).await;
    let mut config = ClientConfig::new(&format!("http://ann:p%40ss@{}/gpu/1/", server.address)).unwrap();
    config.headers.push(("X-Api-Key".to_owned(), "k1".to_owned()));
    let client = ComfyClient::new(config).unwrap();
    client.queue().await.unwrap();
    client.free(true, false).await.unwrap();
    client.delete_history("a/b").await.unwrap();
    let _entry = client.history("a/b").await;
    let seen = server.seen();
    assert_eq!(
        server.lines(),
        ["GET /gpu/1/queue", "POST /gpu/1/free", "POST /gpu/1/history", "GET /gpu/1/history/a%2Fb"]
    );
    for request in &seen {
        assert_eq!(request.header("authorization"), Some("Basic YW5uOnBAc3M="));
        assert_eq!(request.header("x-api-key"), Some("k1"));
        assert_eq!(request.header("origin"), None);
    }
    assert_eq!(seen[1].json(), json!({"unload_models": true, "free_memory": false}));
    assert_eq!(seen[2].json(), json!({"delete": ["a/b"]}));
}

#[tokio::test]
async fn an_explicit_authorization_header_wins_over_the_address() {
    let server = TestServer::start(|_| json_answer(200, &json!([]))).await;
    let mut config = ClientConfig::new(&format!("http://u:p@{}", server.address)).unwrap();
    config.headers.push(("Authorization".to_owned(), "Bearer t".to_owned()));
    ComfyClient::new(config).unwrap().models("checkpoints").await.unwrap();
    let values: Vec<_> = server.seen()[0].headers.get_all("authorization").iter().cloned().collect();
    assert_eq!(values, ["Bearer t"]);
}

#[tokio::test]
async fn the_recorded_queue_is_read_and_prompts_are_found_in_it() {
    let server = TestServer::start(|_| typed(200, "application/json", include_str!("data/queue.json"))).await;
    let queue = server.client().queue().await.unwrap();
    assert_eq!(queue.find(RUNNING), Some(QueuePlace::Running));
    assert_eq!(queue.find("eb048839-fd29-4b0d-8219-74caa764dd0c"), Some(QueuePlace::Pending(0)));
    assert_eq!(queue.find("1ae16da7-983a-4a57-9828-f7e4d0d455e1"), Some(QueuePlace::Pending(1)));
    assert_eq!(queue.pending[0].extra_data["client_id"], "e1dc32e8b8da443d8e7d27c325d5c367");
}

#[tokio::test]
async fn recorded_history_entries_end_as_they_did() {
    let recorded: Vec<Value> = serde_json::from_str(include_str!("data/history.json")).unwrap();
    let mut outcomes = Vec::new();
    for answer in recorded {
        let id = answer.as_object().unwrap().keys().next().unwrap().clone();
        let server = TestServer::start(move |_| json_answer(200, &answer)).await;
        outcomes.push(server.client().history(&id).await.unwrap().unwrap());
    }
    let [normal, cached, failed, interrupted] = outcomes.as_slice() else { panic!() };
    assert_eq!((&normal.outcome, normal.outputs.len()), (&Outcome::Succeeded, 2));
    assert!(matches!(&normal.outputs[0].item, OutputItem::File(file) if file.filename == "rec_00001_.png"));
    assert_eq!(normal.extra_data["gateway"]["job"], "j1");
    assert_eq!((normal.started_at_ms, normal.ended_at_ms), (Some(1_795_478_418_335), Some(1_795_478_418_355)));
    let mut nodes = cached.cached_nodes.clone();
    nodes.sort();
    assert_eq!((&cached.outcome, nodes), (&Outcome::Succeeded, vec!["1".to_owned(), "2".to_owned(), "3".to_owned()]));
    let Outcome::Failed(failure) = &failed.outcome else { panic!("{failed:?}") };
    assert_eq!(failure.message, "cannot identify image file 'broken.png'");
    assert_eq!((failure.class, failure.node_type.as_deref()), (FailureClass::NodeError, Some("LoadImage")));
    assert_eq!(interrupted.outcome, Outcome::Interrupted);
    assert!(interrupted.ended_at_ms.is_some());
}

#[tokio::test]
async fn several_history_entries_are_forgotten_in_one_request() {
    let server = TestServer::start(|_| empty(200)).await;
    server.client().delete_history_entries(&["a", "b"]).await.unwrap();
    assert_eq!(server.lines(), ["POST /history"]);
    assert_eq!(server.seen()[0].json(), json!({"delete": ["a", "b"]}));
}

#[tokio::test]
async fn unknown_prompts_and_classes_are_none() {
    let server = TestServer::start(|_| json_answer(200, &json!({}))).await;
    assert_eq!(server.client().history("no-such-id").await.unwrap(), None);
    assert_eq!(server.client().object_info_for("NoSuchNode").await.unwrap(), None);
}

#[tokio::test]
async fn node_descriptions_with_infinite_limits_and_large_seeds_are_read() {
    let body = r#"{"KSampler": {"input": {"required": {"seed": ["INT", {"max": 18446744073709551615}], "x": ["FLOAT", {"min": -Infinity}]}}}}"#;
    let server = TestServer::start(move |_| typed(200, "application/json; charset=utf-8", body)).await;
    let class = server.client().object_info_for("KSampler").await.unwrap().unwrap();
    assert_eq!(class["input"]["required"]["seed"][1]["max"].as_u64(), Some(u64::MAX));
    assert_eq!(class["input"]["required"]["x"][1]["min"], Value::Null);
}

#[tokio::test]
async fn errors_of_calls_are_sorted_by_what_happened() {
    let unreachable = client(&format!("http://{}", nowhere().await)).queue().await.unwrap_err();
    assert!(unreachable.is_unreachable() && unreachable.is_transient(), "{unreachable:?}");
    let timeout = hasty_client(&silent().await).queue().await.unwrap_err();
    assert!(matches!(timeout, CallError::Timeout { .. }), "{timeout:?}");
    let cut = client(&format!("http://{}", blunt(Vec::new()).await)).queue().await.unwrap_err();
    assert!(matches!(cut, CallError::Cut { .. }) && cut.is_transient(), "{cut:?}");
    let garbage =
        client(&format!("http://{}", blunt(b"\x00\x01 not http\r\n\r\n".to_vec()).await)).queue().await.unwrap_err();
    assert!(matches!(garbage, CallError::Cut { .. }), "{garbage:?}");
}

#[tokio::test]
async fn answers_that_are_not_comfyuis_are_never_parsed() {
    for (status, content_type, body) in [
        (200, "text/html", "{\"queue_running\": [], \"queue_pending\": []}"),
        (200, "text/plain", "{\"queue_running\": [], \"queue_pending\": []}"),
        (200, "application/json", "<html>"),
        (200, "application/json", "{\"queue_running\": 5, \"queue_pending\": []}"),
        (302, "application/json", "{\"queue_running\": [], \"queue_pending\": []}"),
        (500, "application/json", "{\"queue_running\": [], \"queue_pending\": []}"),
    ] {
        let server = TestServer::start(move |_| typed(status, content_type, body)).await;
        let error = server.client().queue().await.unwrap_err();
        assert!(!format!("{error:?}").contains("queue_running"), "{error:?}");
        let expected = match (status, content_type) {
            (200, "text/html") | (302, _) => matches!(error, CallError::Misconfigured { .. }),
            (200, _) => matches!(error, CallError::Malformed { .. }),
            _ => matches!(error, CallError::Status { status: 500, .. }),
        };
        assert!(expected, "{status} {content_type} {body}: {error:?}");
    }
}

#[tokio::test]
async fn answers_above_the_memory_limit_are_given_up() {
    let server = TestServer::start(|_| json_answer(200, &json!({"x": "y".repeat(5_000)}))).await;
    let mut config = ClientConfig::new(&format!("http://{}", server.address)).unwrap();
    config.max_json_bytes = 4_000;
    let error = ComfyClient::new(config).unwrap().object_info().await.unwrap_err();
    assert!(matches!(error, CallError::AnswerTooLarge { limit: 4_000 }), "{error:?}");
}

#[tokio::test]
async fn the_read_timeout_is_about_silence_and_not_about_the_whole_answer() {
    let chunks = futures_util::stream::unfold(0, |index| async move {
        tokio::time::sleep(Duration::from_millis(60)).await;
        let part = match index {
            0 => "[\"a\"",
            1..=9 => ",\"b\"",
            10 => "]",
            _ => return None,
        };
        Some((Ok::<_, std::io::Error>(part), index + 1))
    });
    let chunks = std::sync::Mutex::new(Some(chunks));
    let server = TestServer::start(move |_| {
        let body = axum::body::Body::from_stream(chunks.lock().unwrap().take().unwrap());
        axum::response::Response::builder().header("content-type", "application/json").body(body).unwrap()
    })
    .await;
    let models = hasty_client(&server.address).models("loras").await.unwrap();
    assert_eq!(models.len(), 10);
}
