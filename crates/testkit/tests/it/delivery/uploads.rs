//! Files that are handed in: known by their content, refused where they harm, and nothing left of what was refused.

use std::ffi::OsStr;

use futures_util::stream;
use gateway_core::{ErrorCode, Timestamp};
use gateway_testkit::{Answer, TestBuilder, TestGateway, until};
use image::ImageFormat;
use reqwest::Body;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{encoded, noise, offline, refused, sha256, stored, text, until_stored, wav};

/// Most bytes that a file may have where a test sets that.
const LIMIT: usize = 1_000_000;
const BOUNDARY: &str = "a-boundary";
const FILE: &str = "form-data; name=\"file\"; filename=\"x.png\"";
/// The first bytes of a film, and no film.
const MP4: &[u8] = b"\0\0\0\x18ftypisom\0\0\0\0isomiso2\0\0\0\x08mdat";
const PNG_END: usize = 12;

/// How a gateway begins that takes files of [`LIMIT`] bytes.
fn limited() -> TestBuilder {
    TestBuilder::default().settings(|settings| settings.files.max_upload_bytes = LIMIT as u64)
}

/// Sends `body` as an upload with these headers.
async fn send(test: &TestGateway, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    let mut request = test.client().post(test.url("/uploads")).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::read(request.send().await.expect("an answer")).await
}

/// Sends these parts as a form.
async fn send_form(test: &TestGateway, parts: &[Vec<u8>]) -> Answer {
    send(test, &[("content-type", &form_type())], form(parts)).await
}

fn form_type() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), format!("--{BOUNDARY}--\r\n").into_bytes()].concat()
}

/// One part of a form; `head` begins with its disposition, and may go on with other headers.
fn part(head: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("--{BOUNDARY}\r\nContent-Disposition: {head}\r\n\r\n");
    [head.as_bytes(), content, b"\r\n"].concat()
}

/// A part that is no file.
fn field(name: &str, content: &[u8]) -> Vec<u8> {
    part(&format!("form-data; name=\"{name}\""), content)
}

/// `bytes` without their length announced.
fn chunked(bytes: &[u8]) -> Body {
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> = bytes.chunks(65_536).map(|chunk| Ok(chunk.to_vec())).collect();
    Body::wrap_stream(stream::iter(chunks))
}

/// Hands in `bytes` in every way.
async fn in_every_way(test: &TestGateway, bytes: &[u8]) -> [Answer; 4] {
    let whole = form(&[part(FILE, bytes)]);
    let form_type = form_type();
    let headers = [("content-type", form_type.as_str())];
    [
        send(test, &[], bytes.to_vec()).await,
        send(test, &[], chunked(bytes)).await,
        send(test, &headers, whole.clone()).await,
        send(test, &headers, chunked(&whole)).await,
    ]
}

fn png() -> Vec<u8> {
    encoded(&noise(31, 17, 1), ImageFormat::Png)
}

/// A picture in a file of `size` bytes.
fn padded_png(size: usize) -> Vec<u8> {
    let mut bytes = png();
    let end = bytes.split_off(bytes.len() - PNG_END);
    let padding = size - bytes.len() - end.len() - 12;
    bytes.extend_from_slice(&u32::try_from(padding).expect("a short chunk").to_be_bytes());
    bytes.extend_from_slice(b"paDd");
    bytes.resize(bytes.len() + padding + 4, 0);
    [bytes, end].concat()
}

/// A picture that says it is `side` pixels wide and high.
fn bomb(side: u32) -> Vec<u8> {
    let mut bytes = png();
    bytes[16..20].copy_from_slice(&side.to_be_bytes());
    bytes[20..24].copy_from_slice(&side.to_be_bytes());
    bytes
}

/// An animation of one pixel.
fn gif(frames: usize) -> Vec<u8> {
    let head = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff";
    let frame = b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0";
    [head.as_slice(), &frame.repeat(frames), b"\x3b"].concat()
}

/// Files that are not taken, by what is wrong with them.
fn bad_files() -> Vec<(&'static str, Vec<u8>)> {
    let (png, picture) = (png(), noise(31, 17, 1));
    let (jpeg, webp) = (encoded(&picture, ImageFormat::Jpeg), encoded(&picture, ImageFormat::WebP));
    vec![
        ("nothing", Vec::new()),
        ("text", b"hello".to_vec()),
        ("html", b"<!DOCTYPE html><script>alert(1)</script>".to_vec()),
        ("long html", format!("<html>{}", "<p>hello</p>".repeat(5_000)).into_bytes()),
        ("svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>".to_vec()),
        ("xml svg", b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>".to_vec()),
        ("pdf", b"%PDF-1.7\n1 0 obj\n".to_vec()),
        ("pickle", b"\x80\x04\x95\x20\0\0\0\0\0\0\0}\x94\x8c\x05posix".to_vec()),
        ("zip", [b"PK\x03\x04\x14\0\0\0".as_slice(), &[0; 100]].concat()),
        ("program", [b"MZ\x90\0".as_slice(), &[0; 100]].concat()),
        ("signature of a png", png[..8].to_vec()),
        ("half a png", png[..png.len() / 2].to_vec()),
        ("png without its end", png[..png.len() - PNG_END].to_vec()),
        ("half a jpeg", jpeg[..jpeg.len() / 2].to_vec()),
        ("half a webp", webp[..webp.len() / 2].to_vec()),
        ("picture of 50,000 x 50,000 pixels", bomb(50_000)),
        ("picture of 12,000 x 12,000 pixels", bomb(12_000)),
        ("animation of 51 frames", gif(51)),
        ("animation of 10,000 frames", gif(10_000)),
    ]
}

#[tokio::test]
async fn a_file_is_what_its_content_says_however_it_is_called() {
    let test = offline(TestBuilder::default()).await;
    let picture = noise(31, 17, 1);
    let size = (Some(31), Some(17));
    let mut kept = 0;
    for (bytes, kind, content_type, extension, size) in [
        (encoded(&picture, ImageFormat::Png), "image", "image/png", "png", size),
        (encoded(&picture, ImageFormat::Jpeg), "image", "image/jpeg", "jpg", size),
        (encoded(&picture, ImageFormat::WebP), "image", "image/webp", "webp", size),
        (gif(2), "image", "image/gif", "gif", (Some(1), Some(1))),
        (wav(100), "audio", "audio/wav", "wav", (None, None)),
        (wav(600_000), "audio", "audio/wav", "wav", (None, None)),
        (MP4.to_vec(), "video", "video/mp4", "mp4", (None, None)),
    ] {
        let page = "form-data; name=\"file\"; filename=\"page.html\"\r\nContent-Type: text/html";
        let drawing = [("content-type", "image/svg+xml; charset=utf-8"), ("content-encoding", "identity")];
        for answer in [
            send(&test, &[], bytes.clone()).await,
            send(&test, &[("content-type", "text/plain")], bytes.clone()).await,
            send(&test, &drawing, chunked(&bytes)).await,
            send_form(&test, &[field("note", b"hello"), part(page, &bytes), field("more", b"")]).await,
            send_form(&test, &[part("form-data; name=\"picture\"; filename=\"x\"", &bytes)]).await,
        ] {
            let view = answer.expect(201).json();
            assert_eq!((&view["kind"], &view["contentType"]), (&json!(kind), &json!(content_type)), "{view}");
            assert_eq!((&view["size"], &view["sha256"]), (&json!(bytes.len()), &json!(sha256(&bytes))), "{view}");
            assert_eq!((view["width"].as_u64(), view["height"].as_u64()), size, "{view}");
            assert!(Timestamp::parse(&text(&view, "/expiresAt")).is_some(), "{view}");
            let name = format!("{}.{extension}", text(&view, "/uploadId"));
            let files = stored(&test);
            let file = files.iter().find(|file| file.file_name() == Some(OsStr::new(&name))).expect("the file");
            assert!(std::fs::read(file).expect("bytes") == bytes, "{name} holds other bytes");
            kept += 1;
        }
        assert_eq!(stored(&test).len(), kept, "each is kept, and nothing besides");
    }
}

#[tokio::test]
async fn what_is_not_taken_is_refused_and_leaves_nothing() {
    let test = offline(TestBuilder::default()).await;
    for (what, bytes) in bad_files() {
        for answer in in_every_way(&test, &bytes).await {
            let told = (answer.status, answer.code(), answer.fault_paths());
            assert_eq!(told, (422, "VALIDATION_ERROR".to_owned(), vec![String::new()]), "{what}: {}", answer.json());
            assert!(stored(&test).is_empty(), "{what} left {:?}", stored(&test));
        }
    }
}

#[tokio::test]
async fn the_largest_pictures_that_are_taken() {
    let test = offline(TestBuilder::default()).await;
    for (bytes, side) in [(bomb(8_192), 8_192), (gif(50), 1)] {
        for answer in in_every_way(&test, &bytes).await {
            let view = answer.expect(201).json();
            assert_eq!((&view["width"], &view["height"]), (&json!(side), &json!(side)), "{view}");
        }
    }
}

#[tokio::test]
async fn a_file_may_have_as_many_bytes_as_are_allowed_and_not_one_more() {
    let test = offline(limited()).await;
    for (fitting, larger) in [(padded_png(LIMIT), padded_png(LIMIT + 1)), (wav(LIMIT), wav(LIMIT + 1))] {
        let before = stored(&test).len();
        for answer in in_every_way(&test, &larger).await {
            refused(&answer, ErrorCode::PayloadTooLarge);
            assert_eq!(stored(&test).len(), before, "something is left");
        }
        for answer in in_every_way(&test, &fitting).await {
            assert_eq!(answer.expect(201).json()["size"], LIMIT);
        }
    }
    // What a form has around its file does not count.
    let around = [field("note", &[b'x'; 10_000]), part(FILE, &padded_png(LIMIT))];
    let _taken = send_form(&test, &around).await.expect(201);
}

#[tokio::test]
async fn what_announces_too_much_is_refused_before_a_byte_of_it_was_sent() {
    let test = offline(limited()).await;
    for (content_type, length) in [("image/png", LIMIT + 1), (&form_type(), LIMIT + 1_000_000)] {
        let mut stream = TcpStream::connect(test.gateway().address()).await.expect("a connection");
        let head = format!(
            "POST /uploads HTTP/1.1\r\nHost: gateway\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
             Expect: 100-continue\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an answer");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains("HTTP/1.1 413 "), "{answer}");
    }
    assert!(stored(&test).is_empty());
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let test = offline(TestBuilder::default()).await;
    let bytes = wav(2_000_000);
    let head = format!("POST /uploads HTTP/1.1\r\nHost: gateway\r\nContent-Length: {}\r\n\r\n", bytes.len());
    let mut stream = TcpStream::connect(test.gateway().address()).await.expect("a connection");
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(&bytes[..1_500_000]).await.expect("sent");
    until("some of it lies in the storage", || async { (!stored(&test).is_empty()).then_some(()) }).await;
    drop(stream);
    until_stored(&test, 0).await;
}

#[tokio::test]
async fn a_compressed_body_is_not_read() {
    let test = offline(TestBuilder::default()).await;
    for encoding in ["gzip", "br", "zstd", "deflate", "GZIP", "gzip, gzip", "identity, gzip"] {
        let answer = send(&test, &[("content-encoding", encoding)], png()).await;
        refused(&answer, ErrorCode::UnsupportedMediaType);
        let headers = [("content-encoding", encoding), ("content-type", &form_type())];
        let answer = send(&test, &headers, form(&[part(FILE, &png())])).await;
        refused(&answer, ErrorCode::UnsupportedMediaType);
    }
    assert!(stored(&test).is_empty());
}

#[tokio::test]
async fn a_form_that_can_not_be_read_or_holds_no_file_is_refused_and_leaves_nothing() {
    let test = offline(TestBuilder::default()).await;
    let (whole, form_type) = (form(&[part(FILE, &png())]), form_type());
    let (fields, invalid) = (form(&[field("a", b"1"), field("b", b"2")]), ErrorCode::ValidationError);
    let many = |count: usize| form(&vec![field("a", b"1"); count]);
    let mixed = format!("form-data; name=\"file\"\r\nContent-Type: multipart/mixed; boundary={BOUNDARY}x");
    for (what, content_type, body, code) in [
        ("no boundary", "multipart/form-data", whole.clone(), ErrorCode::BadRequest),
        ("an empty boundary", "multipart/form-data; boundary=\"\"", whole.clone(), ErrorCode::BadRequest),
        ("another boundary", "multipart/form-data; boundary=other", whole.clone(), ErrorCode::BadRequest),
        ("nothing", &form_type, Vec::new(), ErrorCode::BadRequest),
        ("no form", &form_type, png(), ErrorCode::BadRequest),
        ("cut off in its file", &form_type, whole[..whole.len() / 2].to_vec(), ErrorCode::BadRequest),
        ("a form in the form", &form_type, form(&[part(&mixed, b"x")]), ErrorCode::BadRequest),
        ("a part without a name", &form_type, form(&[part("form-data", &png())]), ErrorCode::BadRequest),
        ("no part", &form_type, form(&[]), invalid),
        ("no file", &form_type, fields, invalid),
        ("many parts", &form_type, many(20), ErrorCode::PayloadTooLarge),
        ("very many parts", &form_type, many(10_000), ErrorCode::PayloadTooLarge),
        ("a long part", &form_type, form(&[field("a", &[b'x'; 70_000])]), ErrorCode::PayloadTooLarge),
    ] {
        let answer = send(&test, &[("content-type", content_type)], body).await;
        let told = (answer.status, answer.code());
        assert_eq!(told, (code.status(), code.as_str().to_owned()), "{what}: {}", answer.json());
        assert!(stored(&test).is_empty(), "{what} left {:?}", stored(&test));
    }
    let all = [vec![field("a", b"1"); 15], vec![part(FILE, &png())]].concat();
    let _taken = send_form(&test, &all).await.expect(201);
}

#[tokio::test]
async fn a_form_that_is_refused_after_its_file_leaves_nothing_either() {
    let test = offline(TestBuilder::default()).await;
    let file = part(FILE, &png());
    let cut = form(std::slice::from_ref(&file));
    let cut = cut[..cut.len() - 4].to_vec();
    for (what, body, code) in [
        ("two files", form(&[file.clone(), file.clone()]), ErrorCode::ValidationError),
        ("a file that is none", form(&[file.clone(), part(FILE, b"hello")]), ErrorCode::ValidationError),
        ("many parts", form(&[vec![file.clone()], vec![field("a", b"1"); 20]].concat()), ErrorCode::PayloadTooLarge),
        ("a long part", form(&[file.clone(), field("a", &[b'x'; 70_000])]), ErrorCode::PayloadTooLarge),
        ("no end", cut, ErrorCode::BadRequest),
    ] {
        let answer = send(&test, &[("content-type", &form_type())], body).await;
        let told = (answer.status, answer.code());
        assert_eq!(told, (code.status(), code.as_str().to_owned()), "{what}: {}", answer.json());
        assert!(stored(&test).is_empty(), "{what} left {:?}", stored(&test));
    }
}

#[tokio::test]
async fn a_file_that_is_larger_than_what_is_stored_is_refused_and_leaves_nothing() {
    let most = 10_000;
    let test = offline(TestBuilder::default().settings(move |settings| settings.storage.max_output_bytes = most)).await;
    // One that is stored as it comes, and one that is looked at as a whole before.
    for larger in [wav(100_000), padded_png(100_000)] {
        for answer in in_every_way(&test, &larger).await {
            refused(&answer, ErrorCode::PayloadTooLarge);
            assert_eq!(answer.json()["retryable"], json!(false));
            assert!(text(&answer.json(), "/recommendation").contains("MAX_OUTPUT_BYTES"));
        }
    }
    assert!(stored(&test).is_empty(), "{:?}", stored(&test));
}

#[tokio::test]
async fn the_name_that_a_file_is_given_is_not_used() {
    let test = offline(TestBuilder::default()).await;
    let long = "x".repeat(4_096);
    for name in [
        "../../../../tmp/x.png",
        "..\\..\\x.png",
        "/etc/passwd",
        "C:\\x.png",
        "a%0d%0aSet-Cookie: x=y.png",
        "x.png%00.html",
        "\\\"quoted\\\".png",
        "\u{202e}gnp.exe",
        "~1-1",
        ".",
        "",
        long.as_str(),
    ] {
        let head = format!("form-data; name=\"file\"; filename=\"{name}\"");
        let answer = send_form(&test, &[part(&head, &png())]).await.expect(201);
        assert_eq!(answer.header("set-cookie"), "");
        let id = text(&answer.json(), "/uploadId");
        let own = format!("{id}.png");
        assert!(stored(&test).iter().any(|file| file.file_name() == Some(OsStr::new(&own))), "{name}");
    }
    // A line end within a name may end the form, and nothing else.
    let broken = part("form-data; name=\"file\"; filename=\"a\r\nX-Evil: 1\"", &png());
    let answer = send_form(&test, &[broken]).await;
    assert!(matches!(answer.status, 201 | 400), "{}", answer.json());
    let uploads = test.folder().join("outputs").join("uploads");
    assert!(stored(&test).iter().all(|file| file.starts_with(&uploads)), "{:?}", stored(&test));
    let names = std::fs::read_dir(test.folder()).expect("a folder").flatten().map(|entry| entry.file_name());
    let names: Vec<_> = names.filter(|name| !name.to_string_lossy().starts_with("gateway.db")).collect();
    assert_eq!(names, ["outputs"], "no file lies elsewhere");
}

#[tokio::test]
async fn parameters_of_an_upload_that_nobody_reads_are_refused() {
    let test = offline(TestBuilder::default()).await;
    let request = test.client().post(test.url("/uploads?name=x.png")).body(png());
    let answer = Answer::read(request.send().await.expect("an answer")).await;
    refused(&answer, ErrorCode::ValidationError);
    assert!(stored(&test).is_empty());
}
