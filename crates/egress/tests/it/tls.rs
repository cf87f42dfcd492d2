//! Hosts whose TLS is not to be trusted.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use gateway_egress::{Client, SendError};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::server::{LONG, Receiver, Script, Scripted, ips, ok, policy, serve};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn issuer(name: &str) -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A host with a certificate for `name` from `issuer`, or from itself; the port it listens on.
async fn host(name: &str, issuer: Option<&Issuer>, not_after: OffsetDateTime) -> u16 {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_after = not_after;
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _peer)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, &Script::Whole(ok("private")), &Mutex::default()).await.ok();
                }
            });
        }
    });
    port
}

async fn post(issuer: &Issuer, port: u16) -> Result<u16, SendError> {
    let lookup = Scripted { answer: |_nth| Some(Ok(ips(&["127.0.0.1"]))), asked: Arc::default() };
    let policy = gateway_egress::Policy { require_https: true, ..policy(&format!("hooks.test:{port}")) };
    let client = Client::with_roots(policy, Arc::new(lookup), issuer.pem().as_bytes()).unwrap();
    let url = format!("https://hooks.test:{port}/");
    client.post(&url, &[], Bytes::new(), LONG).await.map(|answer| answer.status)
}

fn in_days(days: i64) -> OffsetDateTime {
    OffsetDateTime::now_utc() + time::Duration::days(days)
}

#[tokio::test]
async fn only_a_trusted_valid_certificate_for_the_very_name_will_do() {
    let trusted = issuer("trusted");
    let other = issuer("other");
    let good = host("hooks.test", Some(&trusted), in_days(30)).await;
    assert_eq!(post(&trusted, good).await, Ok(200));
    for (port, reason) in [
        (host("hooks.test", Some(&trusted), in_days(-1)).await, "expired"),
        (host("other.test", Some(&trusted), in_days(30)).await, "another name"),
        (host("hooks.test", Some(&other), in_days(30)).await, "issuer"),
        (host("hooks.test", None, in_days(30)).await, "issuer"),
        (Receiver::start(Script::Greeting("SSH-2.0-x\r\n")).await.port, "handshake"),
    ] {
        let error = post(&trusted, port).await.unwrap_err();
        assert_eq!(error.class(), "tls", "{reason}: {error}");
        assert!(error.to_string().contains(reason), "{reason}: {error}");
    }
}
