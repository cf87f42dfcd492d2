//! JSON that two readers could understand differently, or that costs more than it says.

use gateway_core::ErrorCode;
use serde_json::{Value, json};

use super::support::{invalid, offline, picture_workflow, problem};

const READERS: [&str; 3] = ["/jobs", "/workflows", "/workflows/tiny/validate"];

#[tokio::test]
async fn what_is_not_json_answers_400_and_says_where() {
    let test = offline().await;
    for path in READERS {
        problem(&test.post_raw(path, "").await, ErrorCode::BadRequest);
        for body in [
            &b"{"[..],
            b"{\"inputs\": {\"a\": 1},}",
            b"{} x",
            b"\xef\xbb\xbf{}",
            b"{\"a\": NaN}",
            b"{\"a\": Infinity}",
            b"{\"a\": 01}",
            b"{\"a\": 1e400}",
            b"{\"a\": \"\\ud800\"}",
            b"{\"a\": \"\xff\"}",
            b"{'a': 1}",
            b"{\"prompt\": \"a\", \"prompt\": \"b\"}",
            b"{\"inputs\": {\"prompt\": \"a\", \"prompt\": \"b\"}}",
        ] {
            let detail = problem(&test.post_raw(path, body).await, ErrorCode::BadRequest)["detail"].clone();
            assert!(detail.as_str().unwrap().contains("line 1 column"), "{path}: {detail}");
        }
    }
}

#[tokio::test]
async fn json_that_is_no_object_or_not_safe_to_store_answers_422() {
    let test = offline().await;
    let deep = format!("{{\"a\": {}1{}}}", "[".repeat(64), "]".repeat(64));
    for path in READERS {
        for body in ["null", "[]", "\"x\"", "7", "true"] {
            invalid(&test.post_raw(path, body).await, &[""]);
        }
        for body in ["{\"a\": \"x\\u0000y\"}", "{\"\\u0000\": 1}", "{\"a\": 18446744073709551616}", deep.as_str()] {
            invalid(&test.post_raw(path, body).await, &[""]);
        }
    }
    invalid(&test.post_raw("/jobs", "{}").await, &["/workflowId"]);
    invalid(&test.post_raw("/workflows", "{}").await, &["/id", "/workflow"]);
    invalid(&test.post_raw("/workflows/tiny/validate", "{}").await, &["/inputs/color"]);
}

#[tokio::test]
async fn hostile_bodies_under_the_limit_cost_a_short_answer() {
    let test = offline().await;
    let nested = "[".repeat((1 << 20) - 1);
    invalid(&test.post_raw("/jobs", nested).await, &[""]);
    let many: Vec<String> = (0..90_000).map(|number| format!("\"k{number}\":1")).collect();
    let many = many.join(",");
    let whole = format!("{{\"workflowId\":\"tiny\",\"inputs\":{{{many}}}}}");
    for body in [format!("{{{many}}}"), whole] {
        let answer = test.post_raw("/jobs", body).await;
        let detail = problem(&answer, ErrorCode::ValidationError)["detail"].clone();
        assert_eq!(answer.fault_paths().len(), 100, "{detail}");
        assert!(detail.as_str().unwrap().starts_with("9000"), "{detail}");
    }
}

#[tokio::test]
async fn unknown_fields_are_refused_by_name_and_never_passed_on() {
    let test = offline().await;
    for field in [
        "state",
        "tenantId",
        "isAdmin",
        "epoch",
        "extra_data",
        "client_id",
        "number",
        "front",
        "prompt_id",
        "prompt",
        "outputs",
    ] {
        let body = json!({"workflowId": "tiny", "inputs": {"color": 1}, field: {"api_key_comfy_org": "x"}});
        invalid(&test.post("/jobs", &body).await, &[&format!("/{field}")]);
        let body = json!({"inputs": {"color": 1}, field: 1});
        invalid(&test.post("/workflows/tiny/validate", &body).await, &[&format!("/{field}")]);
    }
    let body = json!({"workflowId": "tiny", "inputs": {"color": 1}, "output": {"deliver": "url"}, "Priority": 1});
    invalid(&test.post("/jobs", &body).await, &["/output/deliver", "/Priority"]);
    assert_eq!(test.get("/jobs").await.json()["items"], json!([]));
}

#[tokio::test]
async fn fields_of_a_job_out_of_range_are_refused_and_never_changed() {
    let test = offline().await;
    for (field, values, path) in [
        ("priority", vec![json!("root"), json!(11), json!(-1), json!(5.5), Value::Null], "/priority"),
        ("timeoutMs", vec![json!(0), json!(999), json!(1_000_000_000), json!(-1), json!("9999")], "/timeoutMs"),
        ("notBefore", vec![json!(-1), json!("tomorrow"), json!("2099-01-01T00:00:00Z"), json!("")], "/notBefore"),
        ("inputs", vec![json!([]), json!("x"), Value::Null], "/inputs"),
        ("params", vec![json!([]), json!(1)], "/params"),
        ("workflowId", vec![json!(7), json!(""), Value::Null], "/workflowId"),
        ("cache", vec![json!("no"), json!(1)], "/cache"),
        (
            "metadata",
            vec![json!([]), json!("x"), json!({"a": "b".repeat(8192)}), json!({"a": [{"b": [{}]}]})],
            "/metadata",
        ),
        ("output", vec![json!([]), json!("url")], "/output"),
    ] {
        for value in values {
            let mut body = json!({"workflowId": "tiny", "inputs": {"color": 1}});
            body[field] = value;
            invalid(&test.post("/jobs", &body).await, &[path]);
        }
    }
    let nul = r#"{"workflowId":"tiny","inputs":{"color":1},"metadata":{"requestId":"a\u0000"}}"#;
    invalid(&test.post_raw("/jobs", nul).await, &[""]);
    for id in [json!(""), json!("x".repeat(256)), json!(" a"), json!("a\n"), json!(7), Value::Null] {
        let body = json!({"workflowId": "tiny", "inputs": {"color": 1}, "metadata": {"requestId": id}});
        invalid(&test.post("/jobs", &body).await, &["/metadata/requestId"]);
    }
    let keys: serde_json::Map<String, Value> = (0..65).map(|key| (format!("k{key}"), json!(0))).collect();
    let body = json!({"workflowId": "tiny", "inputs": {"color": 1}, "metadata": keys});
    invalid(&test.post("/jobs", &body).await, &["/metadata"]);
    let body = json!({"workflowId": "tiny", "inputs": {"color": 1}, "callbackUrl": "https://127.0.0.1/"});
    problem(&test.post("/jobs", &body).await, ErrorCode::CallbackNotAllowed);
    for id in ["nope", "TINY", "../tiny", "tiny\u{7f}", &"x".repeat(10_000)] {
        let body = json!({"workflowId": id, "inputs": {"color": 1}});
        problem(&test.post("/jobs", &body).await, ErrorCode::WorkflowNotFound);
    }
    assert_eq!(test.get("/jobs").await.json()["items"], json!([]));
}

#[tokio::test]
async fn fields_of_a_job_at_the_edges_are_kept_as_they_are() {
    let test = offline().await;
    let deep: Value = (0..3).fold(json!("end"), |inner, _| json!([inner]));
    let metadata =
        json!({"requestId": "x".repeat(255), "deep": deep, "exact": 9_007_199_254_740_993_u64, "é": "👩‍🎨\u{202e}"});
    for (field, value, shown) in [
        ("priority", json!(0), json!("low")),
        ("priority", json!(9), json!("high")),
        ("priority", json!("normal"), json!("normal")),
        ("metadata", metadata.clone(), metadata),
        ("params", json!({"width": 32}), json!({"width": 32})),
    ] {
        let mut body = json!({"workflowId": "tiny", "inputs": {"color": 1}, "timeoutMs": 1000, "cache": false});
        body[field] = value;
        let accepted = test.post("/jobs", &body).await.expect(202).json();
        assert_eq!(test.job(accepted["jobId"].as_str().unwrap()).await[field], shown, "{field}");
    }
    for (field, value) in [("timeoutMs", json!(21_600_000)), ("params", Value::Null), ("metadata", Value::Null)] {
        let mut body = json!({"workflowId": "tiny", "inputs": {"color": 1}});
        body[field] = value;
        let _accepted = test.post("/jobs", &body).await.expect(202);
    }
}

#[tokio::test]
async fn texts_that_look_the_same_are_different_request_ids() {
    let test = offline().await;
    test.register("picture", picture_workflow()).await;
    for id in ["caf\u{e9}", "cafe\u{301}"] {
        let body = json!({"workflowId": "tiny", "inputs": {"color": 1}, "metadata": {"requestId": id}});
        let accepted = test.post("/jobs", &body).await.expect(202).json();
        let query = test.client().get(test.url("/jobs")).query(&[("q", id)]);
        let found = super::support::answer(query).await.expect(200).json();
        assert_eq!(found["items"].as_array().unwrap().len(), 1, "{id}");
        assert_eq!(found["items"][0]["jobId"], accepted["jobId"]);
    }
}
