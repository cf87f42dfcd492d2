//! `POST /prompt`: what is sent, and how every kind of answer is sorted.

use axum::{http::header::LOCATION, response::Response};
use comfyui_client::{ComfyClient, PreparedPrompt, RefusalReason, SubmitError, SubmitOptions};
use serde_json::{Map, Value, json};

use crate::server::{
    TestServer, blunt, chain, client, empty, hasty_client, html, json as json_answer, nowhere, silent, typed,
};

fn prompt() -> PreparedPrompt {
    let graph = json!({
        "1": {"class_type": "PT_Slow", "inputs": {"seed": 18_446_744_073_709_551_615_u64}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    });
    PreparedPrompt::prepare(graph.as_object().cloned().unwrap(), None).unwrap()
}

fn echo(request: &crate::server::Seen) -> Response {
    json_answer(200, &json!({"prompt_id": request.json()["prompt_id"], "number": 3, "node_errors": {}}))
}

async fn submit(client: &ComfyClient) -> SubmitError {
    client.submit(&prompt(), &SubmitOptions::new()).await.unwrap_err()
}

#[tokio::test]
async fn a_prompt_is_sent_once_with_its_id_client_and_exact_numbers_and_without_origin() {
    let server = TestServer::start(echo).await;
    let mut extra = Map::new();
    extra.insert("gateway".to_owned(), json!({"job": "J"}));
    extra.insert("client_id".to_owned(), json!({"kills": "the process"}));
    extra.insert("extra_pnginfo".to_owned(), Value::Null);
    let options = SubmitOptions { client_id: Some("c1".to_owned()), extra_data: extra, ..SubmitOptions::new() };
    let accepted = server.client().submit(&prompt(), &options).await.unwrap();
    assert_eq!(
        (accepted.prompt_id.as_str(), accepted.own_id, accepted.number),
        (&*options.prompt_id.to_string(), true, 3.0)
    );
    let seen = server.seen();
    assert_eq!(server.lines(), ["POST /prompt"]);
    let body = seen[0].json();
    assert_eq!(body["prompt_id"], options.prompt_id.hyphenated().to_string());
    assert_eq!(body["client_id"], "c1");
    assert_eq!(body["extra_data"], json!({"gateway": {"job": "J"}}));
    assert_eq!(body["prompt"]["1"]["inputs"]["seed"].as_u64(), Some(u64::MAX));
    for absent in ["origin", "sec-fetch-site", "referer"] {
        assert_eq!(seen[0].header(absent), None, "{absent}");
    }
}

#[tokio::test]
async fn without_client_and_extra_data_neither_is_null() {
    let server = TestServer::start(echo).await;
    server.client().submit(&prompt(), &SubmitOptions::new()).await.unwrap();
    let body = server.seen()[0].json();
    assert!(body.get("client_id").is_none());
    assert_eq!(body["extra_data"], json!({}));
}

#[tokio::test]
async fn an_old_server_that_mints_its_own_id_is_noticed_by_the_echo() {
    let server =
        TestServer::start(|_| json_answer(200, &json!({"prompt_id": "its-own", "number": 0, "node_errors": {}}))).await;
    let accepted = server.client().submit(&prompt(), &SubmitOptions::new()).await.unwrap();
    assert_eq!((accepted.prompt_id.as_str(), accepted.own_id), ("its-own", false));
}

#[tokio::test]
async fn recorded_refusals_keep_their_meaning() {
    use RefusalReason::{InvalidInputs, MissingNodeType, NoOutputs, Other, ValueNotOffered};
    let recorded: Vec<Value> = serde_json::from_str(include_str!("data/refused_prompts.json")).unwrap();
    let expected = [
        NoOutputs,
        Other,
        MissingNodeType,
        NoOutputs,
        InvalidInputs,
        InvalidInputs,
        InvalidInputs,
        InvalidInputs,
        ValueNotOffered,
        InvalidInputs,
    ];
    assert_eq!(recorded.len(), expected.len());
    for (answer, reason) in recorded.into_iter().zip(expected) {
        let status = u16::try_from(answer["status"].as_u64().unwrap()).unwrap();
        let body = answer["body"].clone();
        let server = TestServer::start(move |_| json_answer(status, &body)).await;
        let SubmitError::Refused(refusal) = submit(&server.client()).await else { panic!("{answer}") };
        assert_eq!(refusal.reason(), reason, "{answer}");
        assert_eq!(refusal.partial, status == 200, "{answer}");
        assert!(!refusal.to_string().contains("/comfyui/"), "{refusal}");
    }
}

#[tokio::test]
async fn a_partly_accepted_prompt_is_a_refusal_that_names_the_queued_remainder() {
    let body = json!({"prompt_id": "b04893d8-9d44-46e3-bec8-b409ae5a1ae2", "number": 21, "node_errors": {"4": {
        "errors": [{"type": "custom_validation_failed", "message": "Custom validation failed for node",
            "details": "image - Invalid image file: nope.png", "extra_info": {"input_name": "image"}}],
        "dependent_outputs": ["3"], "class_type": "LoadImage"}}});
    let server = TestServer::start(move |_| json_answer(200, &body)).await;
    let SubmitError::Refused(refusal) = submit(&server.client()).await else { panic!() };
    assert!(refusal.partial);
    assert_eq!(refusal.prompt_id.as_deref(), Some("b04893d8-9d44-46e3-bec8-b409ae5a1ae2"));
    assert_eq!(refusal.reason(), RefusalReason::MissingInputFile);
    assert_eq!(
        refusal.to_string(),
        "ComfyUI would run only a part of the workflow: node 4 (LoadImage), input image: \
         Custom validation failed for node (image - Invalid image file: nope.png)"
    );
}

#[tokio::test]
async fn failures_that_may_have_queued_it_are_unknown_and_never_repeated() {
    for (status, content_type) in
        [(500, "text/plain"), (502, "text/html"), (503, "text/html"), (504, "text/html"), (429, "text/html")]
    {
        let server = TestServer::start(move |_| typed(status, content_type, "500 Internal Server Error")).await;
        let error = submit(&server.client()).await;
        assert!(matches!(&error, SubmitError::Unknown(cause) if cause.status() == Some(status)), "{error:?}");
        assert_eq!(server.lines().len(), 1);
    }
    for body in ["", "{", "{}", "{\"prompt_id\": null}", "[]"] {
        let server = TestServer::start(move |_| typed(200, "application/json", body)).await;
        assert!(matches!(submit(&server.client()).await, SubmitError::Unknown(_)), "{body}");
    }
}

#[tokio::test]
async fn a_connection_cut_after_sending_is_unknown_and_a_refused_one_is_not() {
    let cut = client(&format!("http://{}", blunt(Vec::new()).await));
    assert!(matches!(submit(&cut).await, SubmitError::Unknown(_)));
    let half = client(&format!(
        "http://{}",
        blunt(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{\"pro".to_vec()).await
    ));
    let error = submit(&half).await;
    assert!(matches!(&error, SubmitError::Unknown(cause) if cause.is_transient()), "{error:?}");
    let refused = submit(&client(&format!("http://{}", nowhere().await))).await;
    assert!(matches!(&refused, SubmitError::Unreachable(cause) if cause.is_unreachable()), "{refused:?}");
    let no_host = submit(&client("http://comfy.invalid:8188")).await;
    assert!(matches!(no_host, SubmitError::Unreachable(_)), "{no_host:?}");
}

#[tokio::test]
async fn silence_after_sending_is_unknown() {
    let error = submit(&hasty_client(&silent().await)).await;
    assert!(matches!(&error, SubmitError::Unknown(cause) if cause.is_transient()), "{error:?}");
}

#[tokio::test]
async fn logins_redirects_and_foreign_programs_are_told_apart_from_comfyui() {
    let redirect = || {
        let mut response = empty(302);
        response.headers_mut().insert(LOCATION, "/login?secret=1".parse().unwrap());
        response
    };
    type Answer = Box<dyn Fn() -> Response + Send + Sync>;
    let answers: Vec<Answer> = vec![
        Box::new(redirect),
        Box::new(|| empty(401)),
        Box::new(|| html(401)),
        Box::new(|| empty(403)),
        Box::new(|| html(200)),
        Box::new(|| html(404)),
        Box::new(|| empty(404)),
        Box::new(|| typed(405, "text/plain", "405: Method Not Allowed")),
        Box::new(|| typed(400, "text/html", "<h1>Bad Request</h1>")),
        Box::new(|| json_answer(400, &json!({"message": "unknown tenant"}))),
    ];
    for answer in answers {
        let shown = format!("{:?}", answer());
        let server = TestServer::start(move |_| answer()).await;
        let error = submit(&server.client()).await;
        let SubmitError::Misconfigured(sentence) = &error else { panic!("{error:?} for {shown}") };
        assert!(sentence.len() > 20 && !chain(&error).contains("secret"), "{sentence}");
        assert_eq!(server.lines(), ["POST /prompt"], "nothing is followed or repeated");
    }
}

#[tokio::test]
async fn prompts_above_the_limit_are_too_large_even_before_they_are_sent() {
    let server = TestServer::start(|_| typed(413, "text/plain", "Maximum request body size 1048576 exceeded.")).await;
    assert!(matches!(submit(&server.client()).await, SubmitError::TooLarge));
    let strict = TestServer::start(|request| match request.uri.path() {
        "/system_stats" => json_answer(200, &json!({"system": {"comfyui_version": "0.3.64"}, "devices": []})),
        "/features" => json_answer(200, &json!({"max_upload_size": 64.0})),
        _ => empty(404),
    })
    .await;
    let client = strict.client();
    client.probe().await.unwrap();
    assert!(matches!(submit(&client).await, SubmitError::TooLarge));
    assert!(!strict.lines().contains(&"POST /prompt".to_owned()));
}
