//! Downloads that must be whole and must be the file, and uploads.

use std::time::Duration;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use comfyui_client::{CallError, ClientConfig, ComfyClient, Download, FileRef, FolderKind, Upload, UploadBody};
use futures_util::{StreamExt, stream};
use serde_json::json;

use crate::server::{Seen, TestServer, blunt, client, empty, html, json as json_answer, typed};

const CONTENT: &[u8] = b"0123456789abcdef";

fn file(filename: &str) -> FileRef {
    FileRef { filename: filename.to_owned(), subfolder: "a b/ü".to_owned(), kind: FolderKind::Temp, format: None }
}

async fn read(mut download: Download) -> Result<Vec<u8>, CallError> {
    let mut content = Vec::new();
    while let Some(chunk) = download.next_chunk().await? {
        content.extend_from_slice(&chunk);
    }
    Ok(content)
}

/// Serves `CONTENT` with ranges as aiohttp does: an entity tag in If-Range is overlooked.
fn ranged(etag: &'static str) -> impl Fn(&Seen) -> Response {
    move |request| {
        let start: Option<usize> = request
            .header("range")
            .map(|range| range.strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap());
        let builder = Response::builder().header("etag", etag).header("content-type", "image/png");
        match start {
            None => builder.body(Body::from(CONTENT)).unwrap(),
            Some(start) if start >= CONTENT.len() => empty(416),
            Some(start) => {
                let range = format!("bytes {start}-{}/{}", CONTENT.len() - 1, CONTENT.len());
                builder.status(206).header("content-range", range).body(Body::from(&CONTENT[start..])).unwrap()
            }
        }
    }
}

#[tokio::test]
async fn a_file_is_asked_for_by_name_folder_and_kind_and_arrives_whole() {
    let server = TestServer::start(ranged("\"e1\"")).await;
    let download = server.client().view(&file("ü&.png")).await.unwrap();
    assert_eq!((download.content_length, download.offset), (Some(16), 0));
    assert_eq!((download.content_type.as_deref(), download.etag.as_deref()), (Some("image/png"), Some("\"e1\"")));
    assert_eq!(read(download).await.unwrap(), CONTENT);
    assert_eq!(server.lines(), ["GET /view?filename=%C3%BC%26.png&subfolder=a+b%2F%C3%BC&type=temp"]);
}

#[tokio::test]
async fn a_body_shorter_than_announced_is_an_error_and_can_be_continued() {
    let reply = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 16\r\n\r\n0123456".to_vec();
    let client = client(&format!("http://{}", blunt(reply).await));
    let mut download = client.view(&file("a.png")).await.unwrap();
    let mut content = Vec::new();
    let error = loop {
        match download.next_chunk().await {
            Ok(Some(chunk)) => content.extend_from_slice(&chunk),
            Ok(None) => panic!("a truncated file looks whole"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, CallError::Truncated { expected: Some(16), received: 7 }), "{error:?}");
    assert!(error.is_transient() && content == CONTENT[..7]);
    assert_eq!(error.to_string(), "the file ended after 7 bytes of 16");
    assert!(matches!(download.next_chunk().await, Ok(None)), "after an error there is nothing more");

    let server = TestServer::start(ranged("\"e1\"")).await;
    let rest = server.client().view_from(&file("a.png"), 7, Some("\"e1\"")).await.unwrap();
    assert_eq!((rest.offset, rest.content_length), (7, Some(9)));
    assert_eq!(read(rest).await.unwrap(), &CONTENT[7..]);
    assert_eq!(server.seen()[0].header("range"), Some("bytes=7-"));
    assert_eq!(server.seen()[0].header("if-range"), Some("\"e1\""));
}

#[tokio::test]
async fn a_file_that_changed_meanwhile_comes_from_its_beginning() {
    let server = TestServer::start(ranged("\"e2\"")).await;
    let download = server.client().view_from(&file("a.png"), 7, Some("\"e1\"")).await.unwrap();
    assert_eq!((download.offset, download.etag.as_deref()), (0, Some("\"e2\"")));
    assert_eq!(read(download).await.unwrap(), CONTENT);
    let no_ranges = TestServer::start(|_| typed(200, "image/png", "0123456789abcdef")).await;
    let download = no_ranges.client().view_from(&file("a.png"), 7, None).await.unwrap();
    assert_eq!(download.offset, 0);
    let beyond = server.client().view_from(&file("a.png"), 99, None).await.unwrap_err();
    assert_eq!(beyond.status(), Some(416));
}

#[tokio::test]
async fn a_chunked_body_that_breaks_off_is_an_error() {
    let reply =
        b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\n5\r\n01234\r\n".to_vec();
    let client = client(&format!("http://{}", blunt(reply).await));
    let chunks: Vec<_> = client.view(&file("a.png")).await.unwrap().into_stream().collect().await;
    assert_eq!(chunks.len(), 2);
    assert!(matches!(&chunks[1], Err(CallError::Truncated { expected: None, received: 5 })), "{chunks:?}");
}

#[tokio::test]
async fn a_stalled_body_times_out() {
    let server = TestServer::start(|_| {
        let parts = stream::iter([Ok::<_, std::io::Error>("0123")]).chain(stream::pending());
        Response::builder().header("content-length", "16").body(Body::from_stream(parts)).unwrap()
    })
    .await;
    let mut config = ClientConfig::new(&format!("http://{}", server.address)).unwrap();
    config.read_timeout = Duration::from_millis(200);
    let download = ComfyClient::new(config).unwrap().view(&file("a.png")).await.unwrap();
    assert!(matches!(read(download).await, Err(CallError::Timeout { .. })));
}

#[tokio::test]
async fn a_web_page_is_not_taken_for_a_picture_but_may_be_a_file_of_its_own() {
    let server = TestServer::start(|_| html(200)).await;
    let error = server.client().view(&file("a.png")).await.unwrap_err();
    assert!(matches!(error, CallError::Misconfigured { status: 200, .. }), "{error:?}");
    assert!(read(server.client().view(&file("report.HTML")).await.unwrap()).await.is_ok());
}

#[tokio::test]
async fn missing_and_forbidden_files_keep_their_status() {
    for (status, not_found) in [(404, true), (400, false), (500, false)] {
        let server = TestServer::start(move |_| empty(status)).await;
        let error = server.client().view(&file("a.png")).await.unwrap_err();
        assert_eq!((error.status(), error.is_not_found()), (Some(status), not_found));
    }
}

fn upload(body: UploadBody) -> Upload {
    Upload {
        file_name: "größe.png".to_owned(),
        subfolder: "gateway".to_owned(),
        kind: FolderKind::Input,
        overwrite: false,
        body,
    }
}

#[tokio::test]
async fn uploads_send_a_form_and_return_the_name_that_the_server_chose() {
    let server = TestServer::start(|_| {
        json_answer(200, &json!({"name": "in (1).png", "subfolder": "gateway", "type": "input"}))
    })
    .await;
    let stored = server.client().upload_image(upload(UploadBody::Bytes(Bytes::from_static(CONTENT)))).await.unwrap();
    assert_eq!(stored.reference(), "gateway/in (1).png");
    let chunks = stream::iter(CONTENT.chunks(5).map(|chunk| Ok(Bytes::from_static(chunk))));
    let streamed = Upload { overwrite: true, ..upload(UploadBody::Stream { length: 16, stream: Box::pin(chunks) }) };
    server.client().upload_image(streamed).await.unwrap();
    let bodies: Vec<String> =
        server.seen().iter().map(|request| String::from_utf8(request.body.to_vec()).unwrap()).collect();
    for body in &bodies {
        assert!(body.contains("0123456789abcdef"), "{body}");
        assert!(body.contains("name=\"image\"; filename=\"größe.png\""), "{body}");
        assert!(
            body.contains("name=\"subfolder\"\r\n\r\ngateway\r\n") && body.contains("name=\"type\"\r\n\r\ninput\r\n"),
            "{body}"
        );
    }
    assert!(!bodies[0].contains("overwrite") && bodies[1].contains("name=\"overwrite\"\r\n\r\ntrue\r\n"));
    assert_eq!(server.lines(), ["POST /upload/image", "POST /upload/image"]);
    assert!(server.seen().iter().all(|request| request.header("content-length").is_some()));
}

#[tokio::test]
async fn uploads_that_are_refused_say_why() {
    let large = TestServer::start(|_| typed(413, "text/plain", "Maximum request body size 1048576 exceeded.")).await;
    let error = large.client().upload_image(upload(UploadBody::Bytes(Bytes::new()))).await.unwrap_err();
    assert!(matches!(error, CallError::RequestTooLarge), "{error:?}");
    let refused = TestServer::start(|_| empty(400)).await;
    let error = refused.client().upload_image(upload(UploadBody::Bytes(Bytes::new()))).await.unwrap_err();
    assert_eq!(error.status(), Some(400));
    let odd = TestServer::start(|_| json_answer(200, &json!({"ok": true}))).await;
    let error = odd.client().upload_image(upload(UploadBody::Bytes(Bytes::new()))).await.unwrap_err();
    assert!(matches!(error, CallError::Malformed { .. }), "{error:?}");
}

#[tokio::test]
async fn an_upload_whose_stream_fails_is_an_error_and_stores_nothing() {
    let server = TestServer::start(|_| json_answer(200, &json!({"name": "x"})).into_response()).await;
    let chunks = stream::iter([Ok(Bytes::from_static(b"0123")), Err(std::io::Error::other("disk"))]);
    let error = server
        .client()
        .upload_image(upload(UploadBody::Stream { length: 16, stream: Box::pin(chunks) }))
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Cut { .. }), "{error:?}");
    assert!(server.lines().is_empty());
}
