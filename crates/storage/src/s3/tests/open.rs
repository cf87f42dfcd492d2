//! What an operator is told at the start.

use secrecy::SecretString;

use super::proxy::Fault;
use super::*;

async fn refused(settings: &S3Settings) -> String {
    refused_as(settings, false).await
}

/// What is told of a server that is there or is `away`.
async fn refused_as(settings: &S3Settings, away: bool) -> String {
    let error = S3Storage::open_with(settings, 100, PATIENCE).await.err().expect("it is refused");
    assert!(matches!(error, StorageError::Bucket { unreachable, .. } if unreachable == away), "{error:?}");
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    for secret in ["owner-secret", "reader-secret", "hunter2", "hunter3"] {
        assert!(!text.contains(secret), "{text}");
    }
    text
}

#[tokio::test]
async fn keys_that_the_server_does_not_accept() {
    let server = Server::own(None).await;
    let wrong = S3Settings { secret_key: SecretString::from("hunter2"), ..server.settings.clone() };
    let text = refused(&wrong).await;
    assert!(text.contains("correct S3_ACCESS_KEY and S3_SECRET_KEY: the server answered 403 Signature"), "{text}");
    let unknown = S3Settings { access_key: SecretString::from("hunter3"), ..server.settings.clone() };
    let text = refused(&unknown).await;
    assert!(text.starts_with("the bucket pictures can't be used: the server does not accept the keys"), "{text}");
}

#[tokio::test]
async fn a_bucket_that_is_not_there() {
    let server = Server::start().await;
    let missing = S3Settings { bucket: String::from("not-there-at-all"), ..server.settings.clone() };
    let text = refused(&missing).await;
    assert!(text.contains("there is no such bucket: create it, or correct S3_BUCKET"), "{text}");
}

#[tokio::test]
async fn keys_that_may_not_write() {
    let server = Server::own(None).await;
    let (id, key) = server::READER;
    let settings = S3Settings {
        access_key: SecretString::from(id),
        secret_key: SecretString::from(key),
        ..server.settings.clone()
    };
    let text = refused(&settings).await;
    assert!(text.contains("allow them s3:PutObject") && text.contains("403 AccessDenied"), "{text}");
}

#[tokio::test]
async fn keys_that_may_not_read_list_or_see_unfinished_uploads() {
    let server = Server::start().await;
    let proxy = Proxy::to(server.address()).await;
    let settings = S3Settings { endpoint: Some(proxy.endpoint.clone()), ..server.settings.clone() };
    for (call, permission) in [
        ("/probe-", "s3:GetObject,"),
        ("list-type=2", "s3:ListBucket and s3:DeleteObject,"),
        ("?delete", "s3:ListBucket and s3:DeleteObject,"),
        ("?uploads", "s3:ListBucketMultipartUploads and s3:AbortMultipartUpload,"),
    ] {
        // The first call with the object's name is its PUT.
        if call == "/probe-" {
            proxy.spoil("GET /", 1, Fault::Answer(403, "AccessDenied"));
        } else {
            proxy.spoil(call, 1, Fault::Answer(403, "AccessDenied"));
        }
        let text = refused(&settings).await;
        assert!(text.contains(&format!("allow them {permission}")), "{call}: {text}");
    }
}

#[tokio::test]
async fn an_object_that_can_be_written_and_not_read_is_not_left_there() {
    let server = Server::start().await;
    let proxy = Proxy::to(server.address()).await;
    let settings = S3Settings { endpoint: Some(proxy.endpoint.clone()), ..server.settings.clone() };
    proxy.spoil("GET /", 1, Fault::Answer(403, "AccessDenied"));
    assert!(refused(&settings).await.contains("s3:GetObject"));
    assert_eq!(Bucket::on(server, 100).await.pieces().await, 0);
}

#[tokio::test]
async fn a_bucket_is_tried_out_once_and_with_little_patience() {
    let server = Server::start().await;
    let proxy = Proxy::to(server.address()).await;
    let bucket = S3Settings { endpoint: Some(proxy.endpoint.clone()), ..server.settings.clone() };
    let backend = gateway_config::StorageBackend::S3(bucket);
    let settings = gateway_config::StorageSettings { backend, max_output_bytes: 10 };
    crate::try_out(&settings, Duration::from_secs(10)).await.unwrap();
    let seen = proxy.seen();
    assert_eq!(seen.iter().filter(|(line, _)| line.starts_with("PUT /")).count(), 1, "{seen:?}");
    proxy.spoil("PUT /", 1, Fault::Silence);
    let error = crate::try_out(&settings, Duration::from_millis(200)).await.unwrap_err();
    assert!(matches!(error, StorageError::Bucket { unreachable: true, .. }), "{error:?}");
    assert_eq!((proxy.left(), proxy.seen().len()), (0, 1), "it is not tried again");
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    // Bound, so that nobody else is there, and never listening.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind(std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let endpoint = format!("http://{}", taken.local_addr().unwrap());
    let server = Server::start().await;
    let settings = S3Settings { endpoint: Some(endpoint.clone()), ..server.settings.clone() };
    let text = refused_as(&settings, true).await;
    assert!(text.contains(&format!("{endpoint} can't be reached")) && text.contains("refused"), "{text}");
    let nowhere = Some(String::from("http://s3.invalid"));
    let text = refused_as(&S3Settings { endpoint: nowhere, path_style: false, ..settings.clone() }, true).await;
    assert!(
        text.contains("http://s3.invalid can't be reached") && text.contains("or set S3_PATH_STYLE=true"),
        "{text}"
    );
    // No host name can begin with a bucket and end with an address.
    let text = refused(&S3Settings { path_style: false, ..settings }).await;
    assert!(text.contains("S3_PATH_STYLE make no URL together"), "{text}");
}

#[tokio::test]
async fn what_is_no_s3_server_or_another_region() {
    let server = Server::start().await;
    let proxy = Proxy::to(server.address()).await;
    let settings = S3Settings { endpoint: Some(proxy.endpoint.clone()), ..server.settings.clone() };
    for (fault, told) in [
        (Fault::Answer(404, ""), "is no S3 server, or wants the other S3_PATH_STYLE"),
        (Fault::Answer(301, "PermanentRedirect"), "another region: correct S3_REGION"),
        (Fault::Answer(403, "RequestTimeTooSkewed"), "clock is wrong"),
    ] {
        proxy.spoil("", 1, fault);
        let text = refused(&settings).await;
        assert!(text.contains(told), "{text}");
    }
    proxy.spoil("", 5, Fault::Cut);
    assert!(refused(&settings).await.contains("is no S3 server: correct S3_ENDPOINT"));
    proxy.spoil("", 5, Fault::Answer(503, "SlowDown"));
    assert!(refused(&settings).await.contains("can't serve at the moment"));
    // A server that comes up while it is asked is waited for.
    proxy.spoil("", 4, Fault::Cut);
    assert!(S3Storage::open_with(&settings, 100, PATIENCE).await.is_ok());
}

#[tokio::test]
async fn the_configured_engine_is_opened() {
    let server = Server::start().await;
    let backend = gateway_config::StorageBackend::S3(server.settings.clone());
    let settings = gateway_config::StorageSettings { backend, max_output_bytes: 10 };
    let storage = crate::open(&settings).await.unwrap();
    assert_eq!(storage.name(), "s3");
    assert!(matches!(put(&*storage, "a", &[&[0; 11]]).await, Err(StorageError::TooLarge { limit: 10 })));
}
