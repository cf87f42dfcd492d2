//! The API over TLS. The certificate in `tls/` is for localhost and 127.0.0.1 and good until 2120; its key is nobody's secret.

use std::time::Duration;

use comfyui_gateway::{Gateway, StartError};
use gateway_config::Overrides;
use gateway_testkit::{Answer, TestGateway, until};
use reqwest::{Certificate, Client};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{ADMIN, ALICE, NOWHERE, guarded};

const CERTIFICATE: &str = include_str!("tls/cert.pem");
const CERTIFICATE_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/access/tls/cert.pem");
const KEY_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/access/tls/key.pem");
/// A key of the same kind that the certificate is not for.
const OTHER_KEY_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/access/tls/other.pem");

async fn secure() -> TestGateway {
    let builder = guarded().variable("TLS_CERT", CERTIFICATE_FILE).variable("TLS_KEY", KEY_FILE);
    builder.comfyui_url(NOWHERE).start_unready().await
}

/// A client that trusts this certificate and no other.
fn trusting(certificate: &str) -> Client {
    let certificate = Certificate::from_pem(certificate.as_bytes()).expect("a certificate");
    let client = Client::builder().tls_certs_only([certificate]).timeout(Duration::from_secs(60));
    client.build().expect("a client")
}

#[tokio::test]
async fn with_a_certificate_and_its_key_the_api_is_served_over_tls_and_in_no_other_way() {
    let test = secure().await;
    let port = test.gateway().address().port();
    let client = trusting(CERTIFICATE);
    let url = |host: &str, path: &str| format!("https://{host}:{port}{path}");
    for host in ["127.0.0.1", "localhost"] {
        let answer = Answer::read(client.get(url(host, "/health/live")).send().await.expect("an answer")).await;
        assert_eq!(answer.expect(200).json(), json!({"ok": true}));
    }
    let sent = client.get(url("127.0.0.1", "/jobs")).header("x-api-key", ALICE);
    let _list = Answer::read(sent.send().await.expect("an answer")).await.expect(200);
    let large = json!({"name": "a", "workflows": vec!["x".repeat(1_000); 100]});
    let sent = client.post(url("127.0.0.1", "/keys")).header("x-api-key", ADMIN).json(&large);
    let _made = Answer::read(sent.send().await.expect("an answer")).await.expect(201);
    assert!(test.client().get(test.url("/health/live")).send().await.is_err(), "in the clear");
    let stranger = test.client().get(url("127.0.0.1", "/health/live")).send().await;
    assert!(stranger.is_err(), "a certificate that nobody has signed is not trusted");
}

#[tokio::test]
async fn a_client_that_breaks_off_while_it_greets_keeps_nobody_else() {
    let test = secure().await;
    let client = trusting(CERTIFICATE);
    let mut open = Vec::new();
    for begin in [&b""[..], b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", &[0; 600]] {
        for _ in 0..30 {
            let mut stream = TcpStream::connect(test.gateway().address()).await.expect("a connection");
            stream.write_all(begin).await.expect("sent");
            open.push(stream);
        }
    }
    let url = format!("https://127.0.0.1:{}/health/live", test.gateway().address().port());
    until("it is served", || async {
        let answer = client.get(&url).send().await.ok()?;
        (answer.status() == 200).then_some(())
    })
    .await;
    drop(open);
}

/// What a gateway with these files says when it does not start.
async fn refusal(certificate: &str, key: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let overrides = Overrides::default()
        .with("HOST", Some("127.0.0.1"))
        .with("PORT", Some(0))
        .with("COMFYUI_URL", Some(NOWHERE))
        .with("DATABASE_URL", Some(folder.path().join("gateway.db").display()))
        .with("STORAGE_LOCAL_PATH", Some(folder.path().join("outputs").display()))
        .with("TLS_CERT", Some(certificate))
        .with("TLS_KEY", Some(key));
    let settings = gateway_config::load(&folder.path().join("no.env"), &overrides).expect("settings");
    match Gateway::start(settings, false).await {
        Err(error @ StartError::Certificate(_)) => error.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_gateway) => panic!("it started"),
    }
}

#[tokio::test]
async fn files_that_can_not_be_used_stop_the_start_and_are_named_by_their_variable() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let (empty, garbage) = (file("empty.pem", ""), file("garbage.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n"));
    let missing = folder.path().join("missing.pem").display().to_string();
    assert!(refusal(&missing, KEY_FILE).await.contains(&missing), "the file is named");
    for (certificate, key, told) in [
        (missing.as_str(), KEY_FILE, "TLS_CERT"),
        (&empty, KEY_FILE, "TLS_CERT"),
        (&garbage, KEY_FILE, "TLS_CERT"),
        (KEY_FILE, KEY_FILE, "TLS_CERT"),
        (CERTIFICATE_FILE, &missing, "TLS_KEY"),
        (CERTIFICATE_FILE, &empty, "TLS_KEY"),
        (CERTIFICATE_FILE, CERTIFICATE_FILE, "TLS_KEY"),
        (CERTIFICATE_FILE, OTHER_KEY_FILE, "TLS_KEY"),
    ] {
        let text = refusal(certificate, key).await;
        assert!(text.contains(&format!("{told} ")) && text.contains("can't be used"), "{certificate} {key}: {text}");
        assert!(!text.contains("HOST"), "the address is not to blame: {text}");
        assert!(!text.contains("PRIVATE KEY") && !text.contains("MIGHAgEA"), "{text}");
    }
}
