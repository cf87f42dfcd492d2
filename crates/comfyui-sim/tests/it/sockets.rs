//! Websockets: who gets what, and the known bugs around them.

use serde_json::json;

use crate::support::{Frame, Server, Socket, endless, messages, sampler, small, types, wait_for};

#[tokio::test]
async fn without_a_client_id_the_server_makes_one() {
    let server = Server::start().await;
    let socket = server.socket("").await;
    assert_eq!(socket.sid.len(), 32);
}

#[tokio::test]
async fn strangers_see_only_the_queue_unless_the_prompt_has_no_client() {
    let server = Server::start().await;
    let mut stranger = server.socket("stranger").await;
    let owned = server.submit(json!({"prompt": sampler(1, 2, "x"), "client_id": "a"})).await;
    server.finished(&owned).await;
    server.submit(json!({"prompt": sampler(2, 2, "x")})).await;
    let queue_empty = |message: &serde_json::Value| message["data"]["status"]["exec_info"]["queue_remaining"] == 0;
    let first = stranger.until_match(queue_empty).await;
    assert_eq!(types(&first), ["status"; 3]);
    let second = stranger.until_match(queue_empty).await;
    let seen = types(&second);
    assert!(seen.contains(&"progress") && seen.contains(&"progress_state"));
    let hidden = ["execution_start", "execution_cached", "executing", "executed", "execution_success"];
    assert!(hidden.iter().all(|kind| !seen.contains(kind)), "{seen:?}");
}

#[tokio::test]
async fn the_flags_count_only_in_the_first_json_message() {
    let server = Server::start().await;
    let flags = json!({"type": "feature_flags", "data": {"supports_preview_metadata": true}});
    let mut late = server.socket("late").await;
    late.send(&json!({"type": "hello"})).await;
    late.send(&flags).await;
    assert!(late.is_silent().await);
    let mut garbled = server.socket("garbled").await;
    garbled.send_text("not json").await;
    garbled.send(&flags).await;
    assert_eq!(garbled.next_json().await["data"]["max_upload_size"], 104_857_600);
}

#[tokio::test]
async fn when_the_older_socket_closes_the_newer_goes_deaf() {
    let server = Server::start().await;
    let older = server.socket("same").await;
    let mut newer = server.socket("same").await;
    older.close().await;
    wait_for(async || (server.sim.stats().open_sockets == 1).then_some(())).await;
    let prompt_id = server.submit(json!({"prompt": small(1), "client_id": "same"})).await;
    server.finished(&prompt_id).await;
    assert!(newer.is_silent().await);
}

#[tokio::test]
async fn without_the_bug_the_newer_socket_goes_on_and_the_older_gets_nothing() {
    let server = Server::switched(|switches| switches.deaf_socket_bug = false).await;
    let mut older = server.socket("same").await;
    let mut newer = server.socket("same").await;
    server.submit(json!({"prompt": small(1), "client_id": "same"})).await;
    newer.until_end().await;
    assert!(older.is_silent().await);
    older.close().await;
    wait_for(async || (server.sim.stats().open_sockets == 1).then_some(())).await;
    server.submit(json!({"prompt": small(2), "client_id": "same"})).await;
    newer.until_end().await;
}

#[tokio::test]
async fn a_new_socket_of_a_running_client_is_told_the_node_and_nothing_else() {
    let server = Server::switched(|switches| switches.step_ms = 1000).await;
    let prompt_id = server.submit(json!({"prompt": endless(1), "client_id": "a"})).await;
    server.running(&prompt_id).await;
    let frames = loop {
        let mut socket = Socket::open(&server.sim.url(), "a").await;
        let status = socket.next_json().await;
        assert_eq!(status["data"]["status"]["exec_info"]["queue_remaining"], 1);
        if let Frame::Json(message) = socket.next().await {
            break message;
        }
    };
    assert_eq!(frames["type"], "executing");
    assert_eq!(frames["data"].as_object().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unread_socket_stalls_the_events_of_all_while_prompts_still_finish() {
    let server = Server::switched(|switches| {
        switches.slow_consumer_stall = true;
        switches.preview_method = comfyui_sim::PreviewMethod::Png;
        switches.preview_bytes = 16 << 20;
    })
    .await;
    let unread = Socket::open(&server.sim.url(), "unread").await;
    let mut other = server.socket("other").await;
    let stalled = server.submit(json!({"prompt": sampler(1, 2, "x"), "client_id": "unread"})).await;
    server.finished(&stalled).await;
    let prompt_id = server.submit(json!({"prompt": small(1), "client_id": "other"})).await;
    server.finished(&prompt_id).await;
    let mut fresh = Socket::open(&server.sim.url(), "fresh").await;
    assert_eq!(fresh.next_json().await["data"]["status"]["exec_info"]["queue_remaining"], 0);
    let end = |message: &serde_json::Value| message["type"] == "execution_success";
    let waited = tokio::time::timeout(std::time::Duration::from_millis(100), other.until_match(end)).await;
    assert!(waited.is_err(), "events came through although a socket is not read");
    drop(unread);
    other.until_match(end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_an_unread_socket_hinders_nobody() {
    let server = Server::switched(|switches| {
        switches.preview_method = comfyui_sim::PreviewMethod::Png;
        switches.preview_bytes = 16 << 20;
    })
    .await;
    let _unread = Socket::open(&server.sim.url(), "unread").await;
    let mut other = server.socket("other").await;
    server.submit(json!({"prompt": sampler(1, 2, "x"), "client_id": "unread"})).await;
    server.submit(json!({"prompt": small(1), "client_id": "other"})).await;
    other.until_end().await;
}

#[tokio::test]
async fn progress_adds_up_node_by_node() {
    let server = Server::start().await;
    let mut socket = server.socket("a").await;
    server.submit(json!({"prompt": sampler(1, 3, "x"), "client_id": "a"})).await;
    let frames = socket.until_end().await;
    let steps: Vec<i64> =
        messages(&frames, "progress").iter().map(|progress| progress["value"].as_i64().unwrap()).collect();
    assert_eq!(steps, [1, 2, 3]);
    let last = messages(&frames, "progress_state").last().unwrap()["nodes"].as_object().unwrap().len();
    assert_eq!(last, 7);
}

#[tokio::test]
async fn a_message_of_more_than_four_mebibytes_ends_the_connection() {
    let server = Server::start().await;
    let mut socket = server.socket("a").await;
    // The server may hang up before all of it is sent.
    let _ = socket.try_send_text(&"x".repeat((4 << 20) + 1)).await;
    assert_eq!(socket.next().await, Frame::Closed);
}
