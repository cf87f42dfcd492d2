//! Answers that hold the finished job, and answers that hold its outputs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gateway_core::ErrorCode;
use gateway_testkit::{Answer, TestBuilder, TestGateway, until};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{break_fragile, cancel, id, offline, refused, start, submit, text, wish};

/// Sends `body` with this preference.
async fn preferring(test: &TestGateway, preference: &str, body: &Value) -> Answer {
    let request = test.client().post(test.url("/jobs")).header("prefer", preference).json(body);
    Answer::read(request.send().await.expect("an answer")).await
}

/// Asserts that `answer` is the job as it is shown, with this status; gives it.
async fn finished(test: &TestGateway, answer: Answer, wait: &str, status: &str) -> Value {
    let job = answer.clone().expect(200).json();
    assert_eq!(job["status"], status, "{job}");
    assert_eq!(answer.header("preference-applied"), wait);
    assert_eq!(test.job(&id(&answer)).await, job);
    job
}

/// Asserts that the outputs of `job` hold the very bytes that their URLs give.
async fn holds_its_bytes(test: &TestGateway, job: &Value) {
    let outputs = job["outputs"].as_array().expect("a list");
    assert!(!outputs.is_empty(), "{job}");
    for output in outputs {
        let bytes = STANDARD.decode(text(output, "/base64")).expect("Base64");
        let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((&output["sha256"], &output["size"]), (&json!(hash), &json!(bytes.len())));
        assert!(test.get(&text(output, "/url")).await.expect(200).bytes == bytes, "the bytes differ");
    }
}

/// `job` without the bytes of its outputs.
fn without_bytes(mut job: Value) -> Value {
    for output in job["outputs"].as_array_mut().expect("a list") {
        output.as_object_mut().expect("an object").remove("base64");
    }
    job
}

#[tokio::test]
async fn who_waits_is_answered_with_the_finished_job_however_it_ended() {
    let test = start(TestBuilder::default()).await;
    break_fragile(&test);
    let tiny = wish("tiny", json!({"color": 1}));
    let job = finished(&test, preferring(&test, "wait=30", &tiny).await, "wait=30", "succeeded").await;
    assert_eq!((job["cached"].as_bool(), job["outputs"].as_array().map(Vec::len)), (Some(false), Some(1)), "{job}");

    let hit = preferring(&test, "respond-async, wait=20", &tiny).await;
    let taken = finished(&test, hit, "wait=20", "succeeded").await;
    assert_eq!((&taken["cached"], &taken["cachedFrom"]), (&json!(true), &job["jobId"]), "{taken}");

    let fragile = wish("fragile", json!({"seed": 1}));
    let failed = finished(&test, preferring(&test, "wait=30", &fragile).await, "wait=30", "failed").await;
    assert_eq!(failed["error"]["code"], "COMFYUI_NODE_ERROR", "{failed}");

    let marked = json!({"workflowId": "tiny", "inputs": {"color": 2}, "metadata": {"requestId": "r-1"}});
    let first = finished(&test, preferring(&test, "wait=30", &marked).await, "wait=30", "succeeded").await;
    let again = finished(&test, preferring(&test, "wait=30", &marked).await, "wait=30", "succeeded").await;
    assert_eq!(again, first);

    let plain = preferring(&test, "wait=0", &wish("tiny", json!({"color": 3}))).await.expect(202);
    assert_eq!(plain.header("preference-applied"), "");
    refused(&preferring(&test, "wait=30", &wish("tiny", json!({"color": -1}))).await, ErrorCode::ValidationError);
}

#[tokio::test]
async fn who_has_waited_long_enough_is_answered_as_usual() {
    let test = offline(TestBuilder::default()).await;
    let answer = preferring(&test, "wait=1", &wish("tiny", json!({"color": 1}))).await.expect(202);
    let told = answer.json();
    assert_eq!((&told["status"], &told["position"]), (&json!("queued"), &json!(1)), "{told}");
    assert_eq!(answer.header("preference-applied"), "");
    assert_eq!(answer.header("location"), format!("/jobs/{}", id(&answer)));
    assert_eq!(test.job(&id(&answer)).await["status"], "queued");
}

#[tokio::test]
async fn who_waits_hears_that_the_job_was_canceled_meanwhile() {
    let test = offline(TestBuilder::default()).await;
    let body = wish("tiny", json!({"color": 1}));
    let cancels = async {
        let id = until("the job is there", || async {
            test.get("/jobs").await.json()["items"][0]["jobId"].as_str().map(str::to_owned)
        })
        .await;
        cancel(&test, &id).await;
    };
    let (answer, ()) = tokio::join!(preferring(&test, "wait=60", &body), cancels);
    finished(&test, answer, "wait=60", "canceled").await;
}

#[tokio::test]
async fn outputs_are_put_into_the_answer_where_that_is_asked_for() {
    let test = start(TestBuilder::default()).await;
    let id = submit(&test, &wish("tiny", json!({"color": 1, "batch_size": 2})), 202).await;
    let plain = test.wait_status(&id, "succeeded").await;
    assert!(!plain.to_string().contains("base64"), "{plain}");
    let job = test.get(&format!("/jobs/{id}?include=base64")).await.expect(200).json();
    holds_its_bytes(&test, &job).await;
    assert_eq!(without_bytes(job), plain);
    assert_eq!(test.job(&id).await, plain, "who does not ask does not get them");
    for query in ["include=bytes", "include=", "include=base64&include=base64", "inline=base64"] {
        refused(&test.get(&format!("/jobs/{id}?{query}")).await, ErrorCode::ValidationError);
    }
}

#[tokio::test]
async fn a_job_that_is_to_be_delivered_so_holds_its_outputs_in_every_answer() {
    let test = start(TestBuilder::default()).await;
    let mut body = wish("tiny", json!({"color": 1}));
    body["output"] = json!({"delivery": "base64"});
    let answer = preferring(&test, "wait=30", &body).await;
    let job = finished(&test, answer, "wait=30", "succeeded").await;
    holds_its_bytes(&test, &job).await;

    let hit = submit(&test, &body, 200).await;
    holds_its_bytes(&test, &test.job(&hit).await).await;
    body["output"] = json!({"delivery": "url"});
    let usual = submit(&test, &body, 200).await;
    assert!(!test.job(&usual).await.to_string().contains("base64"));
}

#[tokio::test]
async fn outputs_that_are_too_large_for_an_answer_are_had_by_their_urls() {
    let test = start(TestBuilder::default().settings(|settings| settings.files.max_inline_bytes = 10)).await;
    let id = submit(&test, &wish("tiny", json!({"color": 1})), 202).await;
    let job = test.wait_status(&id, "succeeded").await;
    let answer = test.get(&format!("/jobs/{id}?include=base64")).await;
    refused(&answer, ErrorCode::PayloadTooLarge);
    assert!(text(&answer.json(), "/recommendation").contains("/outputs/"), "{}", answer.json());
    assert_eq!(test.job(&id).await, job);
    let _picture = test.get(&text(&job, "/outputs/0/url")).await.expect(200);
}
