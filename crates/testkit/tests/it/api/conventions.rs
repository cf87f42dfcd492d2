//! What holds for every answer: correlation ids, methods, media types, paths.

use gateway_core::ErrorCode;
use gateway_testkit::TestGateway;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::support::{answer, invalid, offline, problem, raw, raw_get, with};

#[tokio::test]
async fn a_request_id_is_taken_over_where_it_is_one_and_made_where_not() {
    let test = offline().await;
    let long = "x".repeat(128);
    for id in ["abc", "A.b_c-9", long.as_str()] {
        for path in ["/health", "/jobs/0", "/nowhere", "/v1/workflows"] {
            let answer = test.get_with(path, "x-request-id", id).await;
            assert_eq!(answer.header("x-request-id"), id, "{path}");
        }
    }
    let too_long = "x".repeat(129);
    for id in ["", "a b", "a/b", "{}", "é", too_long.as_str()] {
        let first = test.get_with("/jobs/0", "x-request-id", id).await;
        let second = test.get_with("/jobs/0", "x-request-id", id).await;
        problem(&first, ErrorCode::JobNotFound);
        assert_ne!(first.header("x-request-id"), id);
        assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
    }
    let body = json!({"workflowId": "tiny", "inputs": {"color": 1}});
    let request = test.client().post(test.url("/jobs")).header("x-request-id", "trace-7").json(&body);
    let accepted = answer(request).await.expect(202).json();
    assert_eq!(test.job(accepted["jobId"].as_str().unwrap()).await["correlationId"], "trace-7");
}

#[tokio::test]
async fn other_methods_than_those_of_a_path_answer_405_and_name_them() {
    let test = offline().await;
    let id = test.submit("tiny", json!({"color": 1})).await;
    let job = |rest: &str| format!("/jobs/{id}{rest}");
    for (path, allowed) in [
        ("/health".to_owned(), "GET, HEAD"),
        ("/health/live".to_owned(), "GET, HEAD"),
        ("/health/ready".to_owned(), "GET, HEAD"),
        ("/capabilities".to_owned(), "GET"),
        ("/metrics".to_owned(), "GET"),
        ("/workflows".to_owned(), "GET, POST"),
        ("/workflows/tiny".to_owned(), "GET, PUT, DELETE"),
        ("/workflows/tiny/validate".to_owned(), "POST"),
        ("/jobs".to_owned(), "GET, POST"),
        ("/jobs/stats".to_owned(), "GET"),
        (job(""), "GET, DELETE"),
        (job("/events"), "GET"),
        (job("/logs"), "GET"),
        (job("/cancel"), "POST"),
        (job("/retry"), "POST"),
        (format!("/outputs/{id}"), "GET"),
        (format!("/outputs/{id}/image_001.png"), "GET, HEAD"),
    ] {
        let all = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::TRACE];
        for method in all.into_iter().filter(|method| !allowed.split(", ").any(|each| each == method.as_str())) {
            for prefix in ["", "/v1"] {
                let answer = with(&test, method.clone(), &format!("{prefix}{path}"), &[]).await;
                problem(&answer, ErrorCode::MethodNotAllowed);
                assert_eq!(answer.header("allow"), allowed, "{method} {path}");
            }
        }
    }
    let overridden = with(&test, Method::POST, &job("/logs"), &[("x-http-method-override", "GET")]).await;
    problem(&overridden, ErrorCode::MethodNotAllowed);
    let cancel = with(&test, Method::GET, &job(""), &[("x-http-method-override", "DELETE")]).await;
    assert_eq!(cancel.status, 200);
}

#[tokio::test]
async fn a_path_that_is_not_there_answers_a_problem() {
    let test = offline().await;
    for path in
        ["/", "/v1", "/v1/", "/v2/health", "/health/", "/jobs/", "/workflows/a/b/c", "/favicon.ico", "/v1/v1/health"]
    {
        for method in [Method::GET, Method::POST] {
            problem(&with(&test, method, path, &[]).await, ErrorCode::NotFound);
        }
    }
}

#[tokio::test]
async fn only_plain_json_in_utf_8_is_read_and_what_is_asked_for_in_return_is_json() {
    let test = offline().await;
    let body = json!({"workflowId": "tiny", "inputs": {"color": 1}}).to_string();
    let post = |headers: &[(&str, &str)]| {
        let mut request = test.client().post(test.url("/jobs")).body(body.clone());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request)
    };
    for headers in [
        &[][..],
        &[("content-type", "text/plain")],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-type", "multipart/form-data; boundary=x")],
        &[("content-type", "application/json; charset=utf-16")],
        &[("content-type", "application/jsonx")],
        &[("content-type", "application/json"), ("content-encoding", "gzip")],
        &[("content-type", "application/json"), ("content-encoding", "br")],
        &[("content-type", "application/json"), ("content-encoding", "gzip, gzip")],
    ] {
        problem(&post(headers).await, ErrorCode::UnsupportedMediaType);
    }
    for headers in [
        &[("content-type", "application/json; charset=utf-8")][..],
        &[("content-type", "Application/JSON; Charset=\"UTF-8\"")],
        &[("content-type", "application/json"), ("accept", "image/png")],
    ] {
        let answer = post(headers).await.expect(202);
        assert_eq!(answer.header("content-type"), "application/json");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_however_it_is_sent() {
    let test = offline().await;
    let large = |bytes: usize| format!("{{\"workflowId\":\"{}\"}}", "x".repeat(bytes)).into_bytes();
    for (path, limit) in [("/jobs", 12 << 20), ("/workflows/tiny/validate", 1 << 20), ("/workflows", 4 << 20)] {
        problem(&test.post_raw(path, large(limit)).await, ErrorCode::PayloadTooLarge);
        let chunks: Vec<Result<Vec<u8>, std::io::Error>> =
            large(limit).chunks(65_536).map(|c| Ok(c.to_vec())).collect();
        let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
        let request = test.client().post(test.url(path)).header("content-type", "application/json").body(stream);
        problem(&answer(request).await, ErrorCode::PayloadTooLarge);
        let announced = format!(
            "POST {path} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\
             Expect: 100-continue\r\nConnection: close\r\n\r\n"
        );
        let (_, text) = raw(&test, announced.as_bytes()).await;
        assert!(text.contains("HTTP/1.1 413 "), "refused before a byte of it was sent: {text}");
    }
}

#[tokio::test]
async fn what_no_request_can_be_for_is_refused_before_anybody_looks_who_sent_it() {
    let test = offline().await;
    let jobs = |letters: usize| format!("/jobs?q={}", "x".repeat(letters));
    for (line, host, status, code) in [
        (format!("GET {}", jobs(9_000)), "gateway", 414, "BAD_REQUEST"),
        (String::from("GET /jobs"), "a/b", 400, "BAD_REQUEST"),
        (String::from("GET /jobs"), "user@gateway", 400, "BAD_REQUEST"),
        (String::from("CONNECT gateway:443"), "gateway:443", 405, "METHOD_NOT_ALLOWED"),
    ] {
        let head = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let (got, text) = raw(&test, head.as_bytes()).await;
        assert_eq!(got, status, "{line}: {text}");
        assert!(text.contains("application/problem+json") && text.contains(code), "{text}");
    }
    assert_ne!(raw_get(&test, jobs(8_000).as_bytes()).await.0, 414);
}

#[tokio::test]
async fn query_parameters_that_nobody_reads_are_refused() {
    let test = offline().await;
    let id = test.submit("tiny", json!({"color": 1})).await;
    for (method, path) in [
        (Method::GET, "/jobs?state=queued".to_owned()),
        (Method::GET, format!("/jobs/{id}?include=everything")),
        (Method::GET, format!("/jobs/{id}/events?preview=1")),
        (Method::GET, format!("/jobs/{id}/logs?level=info")),
        (Method::POST, format!("/jobs/{id}/cancel?force=1")),
        (Method::POST, format!("/jobs/{id}/retry?priority=9")),
        (Method::DELETE, format!("/jobs/{id}?force=1")),
        (Method::DELETE, "/workflows/tiny?force=1".to_owned()),
        (Method::GET, "/workflows?q=t".to_owned()),
        (Method::GET, "/workflows/tiny?version=1".to_owned()),
        (Method::GET, format!("/outputs/{id}?a=1")),
        (Method::GET, "/jobs/stats?a=1".to_owned()),
    ] {
        let name = path.split(['?', '=']).nth(1).map(|name| format!("?{name}")).unwrap();
        invalid(&with(&test, method, &path, &[]).await, &[&name]);
    }
    assert_eq!(test.job(&id).await["status"], "queued");
}

#[tokio::test]
async fn what_a_request_does_not_take_is_refused_and_not_ignored() {
    let test = TestGateway::start().await;
    let job = test.run("tiny", json!({"color": 1})).await;
    let id = job["jobId"].as_str().expect("an id");
    let retry = test.post(&format!("/jobs/{id}/retry"), &json!({"inputs": {"color": 2}, "a/b": 1})).await;
    assert_eq!((retry.status, retry.code().as_str()), (422, "VALIDATION_ERROR"), "{}", retry.json());
    let paths: Vec<_> = retry.json()["errors"].as_array().expect("errors").iter().map(|e| e["path"].clone()).collect();
    assert_eq!(paths, [json!("/inputs"), json!("/a~1b")]);
    let _retried = test.send(Method::POST, &format!("/jobs/{id}/retry"), None).await.expect(202);
    let _retried = test.post(&format!("/jobs/{id}/retry"), &json!({})).await.expect(202);

    for empty in ["workflowId", "q", "owner", "cursor", "status", "limit"] {
        assert_eq!(test.get(&format!("/jobs?{empty}=")).await.status, 422, "{empty}");
    }

    let delete = test.client().delete(test.url("/workflows/tiny")).header("If-Match", "\"7\"");
    assert_eq!(delete.send().await.expect("an answer").status(), 409);
    let delete = test.client().delete(test.url("/workflows/tiny")).header("If-Match", "\"1\"");
    assert_eq!(delete.send().await.expect("an answer").status(), 204);
}

#[tokio::test]
async fn thousands_of_unknown_names_are_one_answer_with_a_hundred_of_them() {
    let test = TestGateway::start().await;
    let inputs: Map<String, Value> = (0..50_000).map(|number| (number.to_string(), json!(0))).collect();
    let answer = test.post("/jobs", &json!({"workflowId": "tiny", "inputs": inputs})).await;
    assert_eq!(answer.status, 422);
    let json = answer.json();
    let errors = json["errors"].as_array().expect("errors");
    assert_eq!(errors.len(), 100);
    assert!(errors[0]["message"].as_str().is_some_and(|text| text.contains("this workflow takes")), "{}", errors[0]);
    assert_eq!(errors[99]["message"], "unknown input");
}

#[tokio::test]
async fn faults_of_the_request_and_of_its_inputs_are_told_together() {
    let test = TestGateway::start().await;
    let paths = |answer: Value| -> Vec<String> {
        let errors = answer["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().filter_map(|fault| fault["path"].as_str().map(str::to_owned)).collect()
    };
    let body = json!({"workflowId": "tiny", "inputs": {"color": -1, "hue": 2}, "bogus": 1, "priority": "root"});
    let told = test.post("/jobs", &body).await;
    assert_eq!(told.status, 422);
    let mut found = paths(told.json());
    found.sort_unstable();
    assert_eq!(found, ["/bogus", "/inputs/color", "/inputs/hue", "/priority"]);
    let told = test.post("/workflows/tiny/validate", &json!({"inputs": {"color": -1}, "bogus": 1})).await;
    assert_eq!(paths(told.json()), ["/bogus", "/inputs/color"]);
    let told = test.post("/jobs", &json!({"workflowId": "nope", "inputs": {}, "bogus": 1})).await;
    assert_eq!(paths(told.json()), ["/bogus"]);
}
