//! Servers behind TLS: ComfyUI (`https` for calls, `wss` for events) and Redis (`rediss`); and the gateway itself.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::support::{Place, server, url_of};

/// A front that speaks TLS and passes on to `behind`; gives its address and its certificate.
async fn front(behind: SocketAddr) -> (SocketAddr, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([String::from("localhost")]).expect("a certificate");
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a configuration");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Whoever does not trust the certificate hangs up; that is the test's own affair.
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let Ok(mut server) = TcpStream::connect(behind).await else { return };
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, cert.pem())
}

#[test]
fn a_gateway_that_serves_over_tls_says_https_and_commands_reach_it_there() {
    let names = || ["127.0.0.1", "localhost"].map(String::from);
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names()).expect("a certificate");
    let mut place = Place::new();
    place.write("gateway.pem", &cert.pem());
    place.write("gateway.key", &signing_key.serialize_pem());
    place.set("TLS_CERT", "gateway.pem");
    place.set("TLS_KEY", "gateway.key");
    place.set("SSL_CERT_FILE", "gateway.pem");
    let gateway = place.start_gateway();
    let serves = |line: &str| line.contains("\"the gateway serves\"").then(|| url_of(line)).flatten();
    let url = gateway.err.find("the gateway serves", serves);
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    place.run(&["list-workflows"]).expect(0);
    place.run(&["keys", "list", "--gateway", &url]).expect(0);

    place.write("nobody.pem", "");
    place.set("SSL_CERT_FILE", "nobody.pem");
    place.run(&["keys", "list", "--gateway", &url]).expect(1).says(&["can't be trusted", "SSL_CERT_FILE="]);
    let health = place.run(&["health"]);
    assert!(health.out.contains("can't be trusted") && !health.out.contains("gateway   not running"), "{}", health.out);
    let told = place.run(&["doctor"]);
    assert!(told.out.contains("can't be trusted") && !told.out.contains("none serves"), "{}", told.out);

    // Nothing listens there any more: whatever the host is called, that is no matter of trust.
    gateway.terminate();
    gateway.end().expect(0);
    let gone = url.replace("127.0.0.1", "tls.localhost");
    place.run(&["keys", "list", "--gateway", &gone]).expect(4).says(&["is it running?"]);

    place.set("TLS_CERT", "gateway.key");
    place.set("TLS_KEY", "gateway.pem");
    let told = place.run(&["doctor"]);
    assert!(told.out.contains("gateway.key holds no certificate: the API does not start"), "{}", told.out);
    let CertifiedKey { signing_key, .. } = generate_simple_self_signed(names()).expect("a certificate");
    place.write("other.key", &signing_key.serialize_pem());
    place.set("TLS_CERT", "gateway.pem");
    place.set("TLS_KEY", "other.key");
    let told = place.run(&["doctor"]);
    assert!(told.out.contains("TLS_CERT and TLS_KEY can't be used: "), "{}", told.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comfyui_behind_tls_runs_jobs_and_tells_their_progress() {
    let (mut place, comfyui) = Place::with_comfyui(&["--step-ms", "150"]);
    let url = comfyui.out.find("its URL", url_of);
    let behind = url.trim_start_matches("http://").parse().expect("an address");
    let (address, certificate) = front(behind).await;
    place.set("COMFYUI_URL", &format!("https://localhost:{}", address.port()));

    let distrusted = place.run(&["health"]).expect(4);
    assert!(distrusted.out.contains("certificate is not trusted"), "{}", distrusted.out);

    place.write("authority.pem", &certificate);
    place.set("SSL_CERT_FILE", "authority.pem");
    place.run(&["init"]).expect(0);
    place.run(&["health"]).expect(0);
    let _gateway = place.start_gateway();
    let told = place.run(&["submit", "icon_512", "prompt=a kite", "steps=12", "--wait"]).expect(0);
    told.says(&["100%  succeeded", "step "]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_behind_tls_carries_the_queue_and_one_that_is_not_trusted_does_not() {
    let Some(redis) = server("REDIS") else { return };
    let (mut place, _comfyui) = Place::with_comfyui(&[]);
    let (address, certificate) = front(redis.trim_start_matches("redis://").parse().expect("an address")).await;
    place.set("REDIS_URL", &format!("rediss://localhost:{}", address.port()));
    place.set("REDIS_PREFIX", &format!("tls{}", address.port()));
    place.run(&["init"]).expect(0);
    let gateway = place.start_gateway();
    let ready = |place: &Place| place.run(&["--json", "health"]).json()["gateway"]["queue"]["depth"].clone();
    assert_eq!(ready(&place), serde_json::Value::Null, "its certificate is not trusted");
    gateway.terminate();
    gateway.end().expect(0);

    place.write("authority.pem", &certificate);
    place.set("SSL_CERT_FILE", "authority.pem");
    let _gateway = place.start_gateway();
    let _worker = place.start(&["worker"]);
    place.run(&["submit", "icon_512", "prompt=a kite", "--wait"]).expect(0).says(&["100%  succeeded"]);
    assert_eq!(ready(&place), 0);
}
