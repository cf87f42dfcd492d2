//! No credential and no address with one in any error or `Debug`.

use axum::http::header::LOCATION;
use comfyui_client::{ClientConfig, ComfyClient, PreparedPrompt, SubmitOptions};
use serde_json::{Value, json};

use crate::server::{TestServer, blunt, chain, empty, html, nowhere, silent, typed};

fn client(address: &str) -> ComfyClient {
    let mut config = ClientConfig::new(&format!("http://ann-user:pass-word@{address}/prefix")).unwrap();
    config.headers.push(("X-Api-Key".to_owned(), "header-key".to_owned()));
    config.read_timeout = std::time::Duration::from_millis(200);
    config.connect_timeout = config.read_timeout;
    ComfyClient::new(config).unwrap()
}

fn assert_clean(text: &str) {
    for secret in ["ann-user", "pass-word", "header-key", "YW5uLXVzZXI", "secret-place", "secret-body"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

async fn errors_at(address: &str) {
    let client = client(address);
    assert_clean(&format!("{client:?} {}", client.display_url()));
    assert_clean(&chain(&client.queue().await.unwrap_err()));
    assert_clean(&chain(&client.probe().await.unwrap_err()));
    assert_clean(&chain(&client.connect_events().await.unwrap_err()));
    let graph = json!({"1": {"class_type": "A", "inputs": {}}}).as_object().cloned().unwrap();
    let prompt = PreparedPrompt::prepare(graph, None).unwrap();
    let mut options = SubmitOptions::new();
    options.extra_data.insert("api_key_comfy_org".to_owned(), Value::from("secret-body"));
    assert_clean(&format!("{options:?}"));
    assert_clean(&chain(&client.submit(&prompt, &options).await.unwrap_err()));
}

#[tokio::test]
async fn errors_of_every_kind_hold_no_credentials() {
    errors_at(&nowhere().await).await;
    errors_at(&silent().await).await;
    errors_at(&blunt(Vec::new()).await).await;
    errors_at(&blunt(b"secret-body\r\n\r\n".to_vec()).await).await;
    let redirect = TestServer::start(|_| {
        let mut response = empty(307);
        response.headers_mut().insert(LOCATION, "http://other/secret-place".parse().unwrap());
        response
    });
    errors_at(&redirect.await.address).await;
    errors_at(&TestServer::start(|_| empty(401)).await.address).await;
    errors_at(&TestServer::start(|_| html(200)).await.address).await;
    errors_at(&TestServer::start(|_| typed(500, "text/plain", "secret-body")).await.address).await;
    errors_at(&TestServer::start(|_| typed(200, "application/json", "{\"secret-body\": ")).await.address).await;
    errors_at(&TestServer::start(|_| typed(200, "application/json", "\"secret-body\"")).await.address).await;
}
