//! Health, readiness, capabilities: also while ComfyUI is down, and never with credentials.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use comfyui_sim::SimConfig;
use gateway_config::Environment;
use gateway_core::ErrorCode;
use gateway_testkit::{TestBuilder, TestGateway, tiny_workflow, until};
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{fields, problem, with};

const PASSWORD: &str = "hunter2secret";

#[tokio::test]
async fn health_tells_how_everything_is_whether_comfyui_is_there_or_not() {
    let test = TestGateway::start().await;
    let health = test.get("/health").await.expect(200).json();
    assert_eq!(fields(&health), ["comfyui", "database", "ok", "queue", "uptime", "version", "warnings", "workers"]);
    assert_eq!((&health["ok"], &health["database"]), (&json!(true), &json!("sqlite")));
    assert!(health["version"].is_string() && health["uptime"].is_u64(), "{health}");
    assert_eq!(health["queue"], json!({"backend": "memory", "depth": 0, "paused": false}));
    let comfyui = &health["comfyui"];
    assert_eq!((&comfyui["reachable"], &comfyui["url"]), (&json!(true), &json!(test.sim.url())));
    assert_eq!(comfyui["version"], "0.3.64");
    assert!(comfyui["models"]["checkpoints"].as_array().unwrap().contains(&json!("v1-5-random.safetensors")));
    let worker = &health["workers"][0];
    assert_eq!((fields(worker), &worker["state"]), (vec!["backends", "id", "state"], &json!("running")));
    assert_eq!(worker["backends"].as_array().map(Vec::len), Some(1));
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(test.get(path).await.expect(200).json(), json!({"ok": true}));
        let head = with(&test, Method::HEAD, path, &[]).await.expect(200);
        assert!(head.bytes.is_empty());
    }
    let _unread = test.get("/health?probe=7").await.expect(200);

    test.sim.crash().await;
    until("the loss is noticed", || async { (test.get("/health/ready").await.status == 503).then_some(()) }).await;
    let health = test.get("/health").await.expect(200).json();
    assert_eq!((&health["ok"], &health["comfyui"]["reachable"]), (&json!(true), &json!(false)));
    assert!(health["comfyui"]["problem"].as_str().is_some_and(|problem| !problem.is_empty()), "{health}");
    let ready = test.get("/health/ready").await;
    let told = problem(&ready, ErrorCode::ComfyuiUnreachable);
    assert!(told["detail"].as_str().unwrap().starts_with("comfyui: "), "{told}");
    assert!(ready.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
    let _live = test.get("/health/live").await.expect(200);
    let id = test.submit("tiny", json!({"color": 1})).await;
    assert_eq!(test.job(&id).await["status"], "queued");

    test.sim.restart().await.unwrap();
    test.wait_ready().await;
    assert_eq!(test.wait_ended(&id).await["status"], "succeeded");
}

#[tokio::test]
async fn capabilities_tell_the_workflows_and_the_limits() {
    let test = TestGateway::start().await;
    let capabilities = test.get("/capabilities").await.expect(200).json();
    let names = [
        "features",
        "formats",
        "maxBatch",
        "maxInlineBytes",
        "maxSize",
        "maxUploadBytes",
        "storageProvider",
        "workflows",
    ];
    assert_eq!(fields(&capabilities), names);
    assert_eq!((&capabilities["maxSize"], &capabilities["maxBatch"]), (&json!(2048), &json!(4)));
    assert_eq!(capabilities["storageProvider"], "local");
    for format in ["png", "jpeg", "webp"] {
        assert!(capabilities["formats"].as_array().unwrap().contains(&json!(format)));
    }
    let tiny = &capabilities["workflows"][0];
    assert_eq!(fields(tiny), ["description", "id", "inputSchema", "name"]);
    assert_eq!((&tiny["id"], &tiny["inputSchema"]), (&json!("tiny"), &tiny_workflow()["inputSchema"]));
    assert!(capabilities["features"].as_object().unwrap().values().all(Value::is_boolean));
}

/// A port that was free a moment ago.
fn free_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// Everything that the gateway says without being asked for a certain job.
async fn all_it_says(test: &TestGateway) -> String {
    let mut said = String::new();
    for path in ["/health", "/health/ready", "/capabilities", "/jobs", "/jobs/stats", "/workflows"] {
        let answer = test.get(path).await;
        said.push_str(&format!("{:?} {}\n", answer.headers, String::from_utf8_lossy(&answer.bytes)));
    }
    said
}

#[tokio::test]
async fn credentials_for_comfyui_are_never_shown() {
    let listen = free_port();
    let config = SimConfig { listen, basic_auth: Some(("artist".into(), PASSWORD.into())), ..SimConfig::default() };
    let url = format!("http://artist:{PASSWORD}@{listen}");
    let test = TestBuilder::default().sim(config).comfyui_url(url).start().await;
    test.register("tiny", tiny_workflow()).await;
    let job = test.run("tiny", json!({"color": 1})).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    let logs = test.get(&format!("/jobs/{}/logs", job["jobId"].as_str().unwrap())).await.expect(200);
    let mut said = format!("{job}{}{}", logs.json(), all_it_says(&test).await);
    assert_eq!(test.get("/health").await.json()["comfyui"]["url"], format!("http://{listen}"));
    test.sim.crash().await;
    until("the loss is noticed", || async { (test.get("/health/ready").await.status == 503).then_some(()) }).await;
    said.push_str(&all_it_says(&test).await);
    assert!(!said.contains(PASSWORD) && !said.contains("artist"), "{said}");
}

#[tokio::test]
async fn wrong_credentials_for_comfyui_are_told_without_showing_them() {
    let listen = free_port();
    let config = SimConfig { listen, basic_auth: Some(("artist".into(), "other".into())), ..SimConfig::default() };
    let url = format!("http://artist:{PASSWORD}@{listen}");
    let test = TestBuilder::default().sim(config).comfyui_url(url).start_unready().await;
    let told = until("it is noticed", || async {
        let told = problem(&test.get("/health/ready").await, ErrorCode::ComfyuiUnreachable);
        told["detail"].as_str().is_some_and(|detail| detail.contains("COMFYUI_URL")).then_some(told)
    })
    .await;
    let said = format!("{told}{}", all_it_says(&test).await);
    assert!(!said.contains(PASSWORD) && !said.contains("artist"), "{said}");
}

#[tokio::test]
async fn in_production_no_address_of_comfyui_is_shown() {
    const KEY: &str = "a-long-key-of-an-operator";
    let builder = TestBuilder::default().variable("API_KEYS", format!("{KEY}:admin")).key(KEY);
    let test = builder.settings(|settings| settings.environment = Environment::Production).start().await;
    let port = test.sim.address().port().to_string();
    assert_eq!(test.get("/health").await.json()["comfyui"]["url"], "hidden");
    let mut said = all_it_says(&test).await;
    test.sim.crash().await;
    until("the loss is noticed", || async { (test.get("/health/ready").await.status == 503).then_some(()) }).await;
    said.push_str(&all_it_says(&test).await);
    assert!(!said.contains(&port) && !said.contains("127.0.0.1"), "{said}");
}
