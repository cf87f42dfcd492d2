//! `GET /jobs` and `GET /jobs/stats`.

use gateway_core::ErrorCode;
use gateway_testkit::{TestBuilder, TestGateway, tiny_workflow};
use serde_json::{Value, json};

use super::support::{answer, fields, fragile_workflow, invalid, offline, problem, text};

fn ids(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|job| text(job, "/jobId")).collect()
}

async fn listed(test: &TestGateway, query: &[(&str, &str)]) -> Vec<String> {
    ids(&answer(test.client().get(test.url("/jobs")).query(query)).await.expect(200).json())
}

#[tokio::test]
async fn pages_are_newest_first_without_gap_or_repeat_while_jobs_are_added() {
    let test = offline().await;
    let mut all = Vec::new();
    for color in 0..25 {
        all.insert(0, test.submit("tiny", json!({"color": color})).await);
    }
    let (mut seen, mut path) = (Vec::new(), "/jobs?limit=10".to_owned());
    loop {
        let page = test.get(&path).await.expect(200).json();
        assert_eq!(fields(&page), ["items", "nextCursor"]);
        seen.extend(ids(&page));
        for color in 0..3 {
            test.submit("tiny", json!({"color": color})).await;
        }
        match page["nextCursor"].as_str() {
            Some(cursor) => path = format!("/jobs?limit=10&cursor={cursor}"),
            None => break,
        }
        assert_eq!(test.get(&path).await.json(), test.get(&path).await.json(), "a cursor can be used again");
    }
    assert_eq!(seen, all);
    assert_eq!(ids(&test.get("/jobs").await.json()).len(), 20, "the usual page");
    assert_eq!(ids(&test.get("/jobs?limit=100").await.json()).len(), 34);
    let exact = test.get("/jobs?limit=34").await.json();
    assert_eq!((ids(&exact).len(), &exact["nextCursor"]), (34, &Value::Null));
}

#[tokio::test]
async fn a_cursor_works_for_the_list_that_gave_it_alone() {
    let test = offline().await;
    for color in 0..3 {
        test.submit("tiny", json!({"color": color})).await;
    }
    let page = test.get("/jobs?limit=1&status=queued").await.expect(200).json();
    let cursor = text(&page, "/nextCursor");
    let _next = test.get(&format!("/jobs?limit=2&status=queued&cursor={cursor}")).await.expect(200);
    let mut flipped = cursor.clone().into_bytes();
    flipped[7] = if flipped[7] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();
    let long = "A".repeat(5_000);
    for bad in [flipped.as_str(), "x", "AAAA", "%2e%2e", "%00%01", "18446744073709551615", long.as_str()] {
        let answer = test.get(&format!("/jobs?status=queued&cursor={bad}")).await;
        assert!(matches!(answer.status, 400 | 422), "{bad}");
        if !bad.contains("%00") {
            problem(&answer, ErrorCode::BadCursor);
        }
    }
    for filter in [
        "",
        "status=running&",
        "status=queued&q=x&",
        "status=queued&workflowId=tiny&",
        "status=queued&after=2020-01-01T00:00:00Z&",
    ] {
        problem(&test.get(&format!("/jobs?{filter}cursor={cursor}")).await, ErrorCode::BadCursor);
    }
    let other = offline().await;
    other.submit("tiny", json!({"color": 1})).await;
    problem(&other.get(&format!("/jobs?status=queued&cursor={cursor}")).await, ErrorCode::BadCursor);
}

#[tokio::test]
async fn filters_out_of_range_are_refused() {
    let test = offline().await;
    for (query, path) in [
        ("limit=0", "?limit"),
        ("limit=-1", "?limit"),
        ("limit=101", "?limit"),
        ("limit=1000000000", "?limit"),
        ("limit=99999999999999999999999", "?limit"),
        ("limit=x", "?limit"),
        ("limit=", "?limit"),
        ("limit=1&limit=2", "?limit"),
        ("status=done", "?status"),
        ("status=QUEUED", "?status"),
        ("after=yesterday", "?after"),
        ("before=2026-13-01T00:00:00Z", "?before"),
        ("sort=tenant_id%3Bdrop", "?sort"),
        ("q=%00", "?q"),
    ] {
        invalid(&test.get(&format!("/jobs?{query}")).await, &[path]);
    }
    invalid(&test.get("/jobs?limit=0&status=x&nope=1").await, &["?nope", "?status", "?limit"]);
    for query in [
        "after=0000-01-01T00:00:00Z",
        "before=9999-12-31T23:59:59Z",
        "q=%27%3B--",
        "workflowId=%25",
        "owner=nobody",
        "q=%ff",
    ] {
        let status = test.get(&format!("/jobs?{query}")).await.status;
        assert!(matches!(status, 200 | 400), "{query}: {status}");
    }
}

#[tokio::test]
async fn every_filter_shows_what_it_says_and_the_figures_add_up() {
    let test = TestGateway::start().await;
    test.register("fragile", fragile_workflow()).await;
    let body = json!({"workflowId": "tiny", "inputs": {"color": 1}, "metadata": {"requestId": "first"}});
    let succeeded = text(&test.post("/jobs", &body).await.expect(202).json(), "/jobId");
    test.wait_status(&succeeded, "succeeded").await;
    test.sim.update(|switches| {
        switches.fail_node = Some(comfyui_sim::FailNode {
            class_type: "ImageInvert".to_owned(),
            exception_type: "ValueError".to_owned(),
            message: "no".to_owned(),
        });
    });
    let failed = test.submit("fragile", json!({})).await;
    let failure = test.wait_status(&failed, "failed").await;
    test.sim.update(|switches| switches.node_ms = 600_000);
    let running = test.submit("tiny", json!({"color": 2})).await;
    test.wait_status(&running, "running").await;
    let ahead = test.submit("tiny", json!({"color": 3})).await;
    test.wait_status(&ahead, "running").await;
    let low = json!({"workflowId": "tiny", "inputs": {"color": 4}, "priority": "low"});
    let queued = text(&test.post("/jobs", &low).await.expect(202).json(), "/jobId");
    let canceled = test.submit("tiny", json!({"color": 5})).await;
    let _canceled = test.post(&format!("/jobs/{canceled}/cancel"), &json!({})).await.expect(202);

    let all = [&canceled, &queued, &ahead, &running, &failed, &succeeded].map(String::clone);
    assert_eq!(listed(&test, &[]).await, all);
    let at = text(&failure, "/createdAt");
    for (query, expected) in [
        (&[("status", "succeeded")][..], &all[5..]),
        (&[("status", "failed")], &all[4..5]),
        (&[("status", "running")], &all[2..4]),
        (&[("status", "queued")], &all[1..2]),
        (&[("status", "canceled")], &all[..1]),
        (&[("workflowId", "fragile")], &all[4..5]),
        (&[("workflowId", "nope")], &[]),
        (&[("q", "first")], &all[5..]),
        (&[("q", "firs")], &[]),
        (&[("after", &at)], &all[..5]),
        (&[("before", &at)], &all[5..]),
        (&[("after", &at), ("status", "running"), ("limit", "1")], &all[2..3]),
        (&[("owner", "local")], &all[..]),
        (&[("owner", "somebody")], &[]),
    ] {
        assert_eq!(listed(&test, query).await, expected, "{query:?}");
    }
    let item = test.get("/jobs?status=succeeded").await.json()["items"][0].clone();
    assert_eq!(item, test.job(&succeeded).await, "a list shows jobs as they are shown alone");

    let stats = test.get("/jobs/stats").await.expect(200).json();
    assert_eq!(fields(&stats), ["cacheHitRate", "jobs", "processing", "queue"]);
    assert_eq!(stats["jobs"], json!({"canceled": 1, "failed": 1, "queued": 1, "running": 2, "succeeded": 1}));
    assert_eq!(stats["queue"]["byPriority"], json!({"high": 0, "low": 1, "normal": 0}));
    assert!(stats["queue"]["oldestWaitMs"].is_u64(), "{stats}");
    assert!(stats["processing"]["averageMs"].is_u64() && stats["processing"]["p95Ms"].is_u64(), "{stats}");
}

#[tokio::test]
async fn an_empty_gateway_has_empty_lists_and_figures() {
    let test = TestBuilder::default().comfyui_url("http://127.0.0.1:9").start_unready().await;
    assert_eq!(test.get("/jobs").await.expect(200).json(), json!({"items": [], "nextCursor": null}));
    assert_eq!(test.get("/workflows").await.expect(200).json(), json!({"items": [], "nextCursor": null}));
    let stats = test.get("/jobs/stats").await.expect(200).json();
    assert_eq!(stats["processing"], json!({"averageMs": null, "p95Ms": null}));
    assert_eq!(stats["queue"]["oldestWaitMs"], Value::Null);
    test.register("tiny", tiny_workflow()).await;
}
