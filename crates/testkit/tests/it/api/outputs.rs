//! Outputs: what is served, in parts or whole, and what never is.

use gateway_core::ErrorCode;
use gateway_testkit::TestGateway;
use reqwest::Method;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::support::{fields, is_time, problem, raw_get, text, with};

#[tokio::test]
async fn an_output_is_listed_and_served_as_what_it_is() {
    let test = TestGateway::start().await;
    let job = test.run("tiny", json!({"color": 255, "width": 48, "height": 32})).await;
    let id = text(&job, "/jobId");
    let list = test.get(&format!("/outputs/{id}")).await.expect(200).json();
    assert_eq!((fields(&list), &list["jobId"]), (vec!["items", "jobId"], &json!(id)));
    assert_eq!(list["items"], job["outputs"]);
    let direct = test.get(&format!("{}?redirect=1", text(&list, "/items/0/url"))).await.expect(200);
    assert_eq!(direct.bytes.len() as u64, list["items"][0]["size"].as_u64().unwrap(), "a disk has no URLs of its own");
    let item = &list["items"][0];
    let names = [
        "contentType",
        "createdAt",
        "file",
        "height",
        "kind",
        "nodeId",
        "sha256",
        "size",
        "thumbnailUrl",
        "url",
        "width",
    ];
    assert_eq!(fields(item), names);
    assert_eq!(
        (&item["file"], &item["kind"], &item["nodeId"]),
        (&json!("image_001.png"), &json!("image"), &json!("2"))
    );
    assert_eq!((&item["contentType"], &item["width"], &item["height"]), (&json!("image/png"), &json!(48), &json!(32)));
    is_time(&item["createdAt"]);

    let url = text(item, "/url");
    assert_eq!(url, format!("/outputs/{id}/image_001.png"));
    let whole = test.get(&url).await.expect(200);
    let hash: String = Sha256::digest(&whole.bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((&item["size"], &item["sha256"]), (&json!(whole.bytes.len()), &json!(hash)));
    let length = whole.bytes.len().to_string();
    let quoted = format!("\"{hash}\"");
    for answer in [whole, with(&test, Method::HEAD, &url, &[]).await.expect(200)] {
        for (name, value) in [
            ("content-type", "image/png"),
            ("content-length", length.as_str()),
            ("etag", quoted.as_str()),
            ("accept-ranges", "bytes"),
            ("x-content-type-options", "nosniff"),
            ("content-disposition", "inline; filename=\"image_001.png\""),
            ("content-security-policy", "sandbox; default-src 'none'"),
        ] {
            assert_eq!(answer.header(name), value, "{name}");
        }
    }
    let saved = test.get(&format!("{url}?download=1")).await.expect(200);
    assert_eq!(saved.header("content-disposition"), "attachment; filename=\"image_001.png\"");
    let shown = test.get(&format!("{url}?download=0")).await.expect(200);
    assert_eq!(shown.header("content-disposition"), "inline; filename=\"image_001.png\"");
    problem(&test.get(&format!("{url}?download=maybe")).await, ErrorCode::ValidationError);
    let _under_v1 = test.get(&format!("/v1{url}")).await.expect(200);
}

#[tokio::test]
async fn ranges_and_tags_are_honoured_as_the_standard_says() {
    let test = TestGateway::start().await;
    let job = test.run("tiny", json!({"color": 1})).await;
    let url = text(&job, "/outputs/0/url");
    let whole = test.get(&url).await.expect(200);
    let (bytes, etag) = (whole.bytes.clone(), whole.header("etag").to_owned());
    let size = bytes.len();
    let many = format!("bytes={}", vec!["0-"; 1_000].join(","));
    for (range, status, from, to) in [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=-1", 206, size - 1, size),
        ("bytes=5-9", 206, 5, 10),
        ("bytes=5-", 206, 5, size),
        ("bytes=5-99999999", 206, 5, size),
        ("bytes=-99999999", 206, 0, size),
        ("items=0-1", 200, 0, size),
        ("bytes=0-1,4-5", 200, 0, size),
        ("bytes=x", 200, 0, size),
        (many.as_str(), 200, 0, size),
    ] {
        let answer = test.get_with(&url, "range", range).await.expect(status);
        assert_eq!(answer.bytes, bytes[from..to], "{range}");
        assert_eq!(answer.header("content-length"), (to - from).to_string());
        let part = if status == 206 { format!("bytes {from}-{}/{size}", to - 1) } else { String::new() };
        assert_eq!(answer.header("content-range"), part, "{range}");
        assert_eq!(answer.header("etag"), etag);
    }
    for range in ["bytes=5-2".to_owned(), format!("bytes={size}-"), "bytes=-0".to_owned(), "bytes=99999999-".to_owned()]
    {
        let answer = test.get_with(&url, "range", &range).await;
        problem(&answer, ErrorCode::RangeNotSatisfiable);
        assert_eq!(answer.header("content-range"), format!("bytes */{size}"), "{range}");
    }
    let weak = format!("W/{etag}");
    for (tag, status) in
        [(etag.as_str(), 206), ("\"other\"", 200), (weak.as_str(), 200), ("Tue, 01 Jan 2030 00:00:00 GMT", 200)]
    {
        let answer = with(&test, Method::GET, &url, &[("range", "bytes=0-3"), ("if-range", tag)]).await;
        assert_eq!(answer.status, status, "{tag}");
    }
    let list = format!("\"a\", {etag}");
    let long = format!("\"{}\"", "x".repeat(8_000));
    for (tag, status) in
        [(etag.as_str(), 304), (&weak, 304), (&list, 304), ("*", 304), ("\"other\"", 200), (&long, 200)]
    {
        for method in [Method::GET, Method::HEAD] {
            let answer = with(&test, method, &url, &[("if-none-match", tag)]).await.expect(status);
            assert_eq!(answer.header("etag"), etag);
            assert!(status == 200 || answer.bytes.is_empty());
        }
    }
}

#[tokio::test]
async fn the_type_of_an_output_comes_from_its_content() {
    let test = TestGateway::start().await;
    let workflow = json!({"workflow": {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 2, "color": 9}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a.html"}},
        "3": {"class_type": "SaveAnimatedWEBP", "inputs": {
            "images": ["1", 0], "filename_prefix": "a", "fps": 6.0, "lossless": true, "quality": 80, "method": "default"
        }},
        "4": {"class_type": "SaveVideo", "inputs": {
            "video": ["7", 0], "filename_prefix": "a", "format": "auto", "codec": "auto"
        }},
        "7": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 24.0}},
        "5": {"class_type": "PreviewAny", "inputs": {"source": "{{words}}"}},
        "6": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
    }});
    test.register("kinds", workflow).await;
    let job = test.run("kinds", json!({"words": "<script>alert(1)</script>"})).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    let mut kinds: Vec<[String; 3]> = Vec::new();
    for output in job["outputs"].as_array().unwrap() {
        let served = test.get(&text(output, "/url")).await.expect(200);
        assert_eq!(served.header("content-type"), output["contentType"].as_str().unwrap());
        assert_eq!(
            (served.header("x-content-type-options"), served.bytes.len() as u64),
            ("nosniff", output["size"].as_u64().unwrap())
        );
        kinds.push([text(output, "/nodeId"), text(output, "/kind"), text(output, "/contentType")]);
    }
    kinds.sort();
    let expected = [
        ["2", "image", "image/png"],
        ["2", "image", "image/png"],
        ["3", "image", "image/webp"],
        ["4", "video", "video/mp4"],
        ["5", "text", "text/plain; charset=utf-8"],
    ];
    assert_eq!(kinds, expected, "what only was previewed is no output");
}

#[tokio::test]
async fn names_that_are_not_in_the_list_are_never_served() {
    let test = TestGateway::start().await;
    let job = test.run("tiny", json!({"color": 1})).await;
    let other = test.run("tiny", json!({"color": 2, "batch_size": 2})).await;
    let (id, other) = (text(&job, "/jobId"), text(&other, "/jobId"));
    for name in [
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "..",
        ".",
        "%252e%252e%252f",
        "..%5c..%5c",
        "%00",
        "image_001.png%00",
        "%0d%0aSet-Cookie:%20x=1",
        "%ff%fe",
        "CON",
        "a//b",
        "image_001.png/",
        "IMAGE_001.PNG",
        "image_002.png",
        "image_001.png%20",
        "%2fetc%2fpasswd",
        "..%2f..%2f..%2fgateway.db",
        "*",
        "image_001.png;x",
        "~1-0",
    ] {
        let (status, text) = raw_get(&test, format!("/outputs/{id}/{name}").as_bytes()).await;
        assert_eq!(status, 404, "{name}: {text}");
        assert!(!text.to_ascii_lowercase().contains("\r\nset-cookie"), "{text}");
    }
    for path in [
        format!("/outputs/../outputs/{id}/image_001.png"),
        format!("/outputs/{id}/../../jobs"),
        format!("//outputs/{id}/image_001.png"),
        format!("/outputs/{}/image_001.png", id.to_uppercase()),
        "/outputs/..%2f..%2fgateway.db/x".to_owned(),
    ] {
        assert_eq!(raw_get(&test, path.as_bytes()).await.0, 404, "{path}");
    }
    let _its_own = test.get(&format!("/outputs/{other}/image_002.png")).await.expect(200);

    test.sim.update(|switches| switches.node_ms = 600_000);
    let unfinished = test.submit("tiny", json!({"color": 3})).await;
    test.wait_status(&unfinished, "running").await;
    assert_eq!(test.get(&format!("/outputs/{unfinished}")).await.expect(200).json()["items"], json!([]));
    problem(&test.get(&format!("/outputs/{unfinished}/image_001.png")).await, ErrorCode::OutputNotFound);
}

#[tokio::test]
async fn a_large_output_arrives_whole_and_in_parts() {
    let test = TestGateway::start().await;
    test.sim.update(|switches| switches.output_bytes = 5_000_000);
    let job = test.run("tiny", json!({"color": 1})).await;
    let url = text(&job, "/outputs/0/url");
    let whole = test.get(&url).await.expect(200).bytes;
    assert!(whole.len() >= 5_000_000);
    let mut joined = Vec::new();
    while joined.len() < whole.len() {
        let range = format!("bytes={}-{}", joined.len(), joined.len() + 1_299_999);
        joined.extend(test.get_with(&url, "range", &range).await.expect(206).bytes);
    }
    assert!(joined == whole, "the parts are not the whole");
}
