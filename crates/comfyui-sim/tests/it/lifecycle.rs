//! Crashes, restarts, base paths, access rules and the routes that steer a simulator.

use comfyui_sim::{SimConfig, Simulator, Switches};
use reqwest::Method;
use serde_json::json;

use crate::support::{Frame, Server, endless, read, small, wait_for};

#[tokio::test]
async fn a_crash_cuts_everything_and_a_restart_is_empty_on_the_same_port() {
    let server = Server::switched(|switches| switches.step_ms = 5).await;
    let address = server.sim.address();
    let done = server.run(small(1)).await;
    let mut prompt = small(2);
    prompt["3"] = json!({"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}});
    let preview = server.run(prompt).await["outputs"]["3"]["images"][0]["filename"].as_str().unwrap().to_owned();
    let temp = format!("/view?type=temp&filename={preview}");
    assert_eq!(server.get(&temp).await.status, 200);
    let mut socket = server.socket("a").await;
    let running = server.submit(json!({"prompt": endless(1), "client_id": "b"})).await;
    server.running(&running).await;

    server.sim.crash().await;
    while socket.next().await != Frame::Closed {}
    assert!(read(server.request(Method::GET, "/queue")).await.is_err());
    server.sim.restart().await.unwrap();

    assert_eq!(server.sim.address(), address);
    assert_eq!(server.get("/history").await.json(), json!({}));
    assert_eq!(server.get("/queue").await.json(), json!({"queue_running": [], "queue_pending": []}));
    assert_eq!(server.get(&temp).await.status, 404);
    server.first_picture(&done).await;
    let reply = server.post_json("/prompt", &json!({"prompt": small(1)})).await.json();
    assert_eq!(reply["number"], 0);
    let entry = server.finished(reply["prompt_id"].as_str().unwrap()).await;
    assert_eq!(entry["outputs"]["2"]["images"][0]["filename"], "small_00003_.png");
    let stats = server.sim.stats();
    assert_eq!((stats.crashes, stats.open_sockets), (1, 0));
    server.sim.stop().await;
}

#[tokio::test]
async fn another_process_can_change_switches_read_counters_and_cause_a_crash() {
    let server = Server::start().await;
    let patched = read(server.request(Method::PATCH, "/sim/switches").body(r#"{"stepMs": 7, "oomStyle": "mps"}"#));
    assert_eq!(patched.await.unwrap().json()["stepMs"], 7);
    assert_eq!(server.sim.switches().step_ms, 7);
    for wrong in [r#"{"noSuchSwitch": 1}"#, r#"{"stepMs": "x"}"#, "nonsense"] {
        let reply = read(server.request(Method::PATCH, "/sim/switches").body(wrong)).await.unwrap();
        assert_eq!(reply.status, 400, "{wrong}");
    }
    let read_back: Switches = serde_json::from_slice(&server.get("/sim/switches").await.body).unwrap();
    assert_eq!(read_back, server.sim.switches());
    server.run(small(1)).await;
    assert_eq!(server.get("/sim/stats").await.json()["promptsFinished"], 1);
    assert_eq!(server.post("/sim/crash", r#"{"downMs": 30}"#).await.status, 200);
    wait_for(async || (server.sim.stats().crashes == 1).then_some(())).await;
    let back = wait_for(async || read(server.request(Method::GET, "/history")).await.ok());
    assert_eq!(back.await.json(), json!({}));
}

#[tokio::test]
async fn everything_lies_below_the_base_path() {
    let server = Server::with(SimConfig { base_path: "/comfy/one".to_owned(), ..SimConfig::default() }).await;
    assert!(server.sim.url().ends_with("/comfy/one"));
    server.run(small(1)).await;
    server.socket("a").await;
    assert_eq!(server.get("/api/queue").await.status, 200);
    assert_eq!(server.get("/nothing").await.kind, "application/octet-stream");
    let root = format!("http://{}", server.sim.address());
    let outside = read(server.http.get(format!("{root}/queue"))).await.unwrap();
    assert_eq!((outside.status, outside.kind.as_str()), (404, "text/html"));
    assert_eq!(read(server.http.get(format!("{root}/sim/stats"))).await.unwrap().status, 200);
    assert_eq!(server.sim.stats().requests["GET /queue"], 2);
}

#[tokio::test]
async fn requests_without_the_right_credentials_are_turned_away() {
    let config = SimConfig {
        basic_auth: Some(("user".to_owned(), "secret".to_owned())),
        bearer: Some("token".to_owned()),
        ..SimConfig::default()
    };
    assert!(!format!("{config:?}").contains("secret"));
    let server = Server::with(config).await;
    let status = async |change: fn(reqwest::RequestBuilder) -> reqwest::RequestBuilder| {
        read(change(server.request(Method::GET, "/queue"))).await.unwrap().status
    };
    assert_eq!(status(|request| request).await, 401);
    assert_eq!(status(|request| request.basic_auth("user", Some("wrong"))).await, 401);
    assert_eq!(status(|request| request.basic_auth("user", Some("secret"))).await, 200);
    assert_eq!(status(|request| request.bearer_auth("token")).await, 200);
    let socket = format!("ws://{}/ws", server.sim.address());
    assert!(tokio_tungstenite::connect_async(socket).await.is_err());
}

#[tokio::test]
async fn a_data_folder_keeps_files_from_one_simulator_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let config = || SimConfig { data_dir: Some(folder.path().to_owned()), ..SimConfig::default() };
    let server = Server::with(config()).await;
    server.upload("kept.png", vec![1, 2, 3], &[]).await;
    let entry = server.run(small(1)).await;
    let picture = server.first_picture(&entry).await;
    server.sim.stop().await;
    assert!(folder.path().join("output/small_00001_.png").exists());
    let server = Server::with(config()).await;
    assert_eq!(server.first_picture(&entry).await, picture);
    assert_eq!(server.get("/view?filename=kept.png&type=input").await.body.as_ref(), [1, 2, 3]);
}

#[tokio::test]
async fn dropping_a_simulator_frees_its_port() {
    let server = Server::start().await;
    let mut socket = server.socket("a").await;
    let listen = server.sim.address();
    drop(server);
    while socket.next().await != Frame::Closed {}
    let config = SimConfig { listen, ..SimConfig::default() };
    wait_for(async || Simulator::start(config.clone()).await.ok()).await;
}
