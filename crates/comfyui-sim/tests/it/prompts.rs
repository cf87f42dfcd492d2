//! What `POST /prompt` accepts, refuses, and survives.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Server, endless, sampler, small, wait_for};

async fn refusal(server: &Server, prompt: Value) -> Value {
    let reply = server.post_json("/prompt", &json!({"prompt": prompt})).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    reply.json()
}

/// EmptyImage → SaveImage with one input of EmptyImage changed.
fn with_input(name: &str, value: Value) -> Value {
    let mut prompt = small(1);
    prompt["1"]["inputs"][name] = value;
    prompt
}

#[tokio::test]
async fn limits_choices_types_and_links_are_checked_with_the_errors_of_comfyui() {
    let server = Server::start().await;
    let error = |answer: &Value, node: &str| answer["node_errors"][node]["errors"][0].clone();

    let found = error(&refusal(&server, with_input("width", json!(999_999))).await, "1");
    assert_eq!(found["message"], "Value 999999 bigger than max of 16384");
    assert_eq!(found["type"], "value_bigger_than_max");

    let mut prompt = small(1);
    prompt["2"]["inputs"]["images"] = json!(["1"]);
    let found = error(&refusal(&server, prompt).await, "2");
    assert_eq!((&found["type"], &found["extra_info"]["received_value"]), (&json!("bad_linked_input"), &json!(["1"])));

    let mut prompt = sampler(1, 1, "x");
    prompt["3"]["inputs"]["model"] = json!(["4", 1]);
    let found = error(&refusal(&server, prompt).await, "3");
    assert_eq!(found["type"], "return_type_mismatch");
    assert_eq!(found["details"], "model, received_type(CLIP) mismatch input_type(MODEL)");

    let mut prompt = sampler(1, 1, "x");
    prompt["3"]["inputs"]["sampler_name"] = json!("best");
    let found = error(&refusal(&server, prompt).await, "3");
    assert_eq!(found["details"], "sampler_name: 'best' not in (list of length 42)");
    assert_eq!(found["extra_info"]["input_config"], Value::Null);

    let prompt = json!({"1": {"class_type": "LoadImage", "inputs": {"image": "nope.png"}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}});
    let found = error(&refusal(&server, prompt).await, "1");
    assert_eq!(found["type"], "custom_validation_failed");
    assert_eq!(found["details"], "image - Invalid image file: nope.png");

    let mut prompt = small(1);
    prompt["2"]["inputs"]["images"] = json!(["1", 5]);
    let found = error(&refusal(&server, prompt).await, "2");
    assert_eq!(
        (&found["type"], &found["details"]),
        (&json!("exception_during_validation"), &json!("tuple index out of range"))
    );
}

#[tokio::test]
async fn a_cycle_is_refused_without_a_reason() {
    let server = Server::start().await;
    let prompt = json!({
        "1": {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
    });
    let answer = refusal(&server, prompt).await;
    assert_eq!(answer["error"]["details"], "");
    assert_eq!(answer["node_errors"], json!({}));
}

fn chain(length: usize) -> Value {
    let mut prompt = small(1);
    prompt["n0"] = json!({"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}});
    for number in 1..length {
        let above = format!("n{}", number - 1);
        prompt[format!("n{number}")] = json!({"class_type": "ImageInvert", "inputs": {"image": [above, 0]}});
    }
    prompt
}

#[tokio::test]
async fn chains_of_300_run_and_of_1000_overflow_the_stack_of_python() {
    let server = Server::start().await;
    let mut short = chain(300);
    short["2"]["inputs"]["images"] = json!(["n299", 0]);
    assert_eq!(server.run(short).await["status"]["status_str"], "success");
    let mut long = chain(1000);
    long["2"]["inputs"]["images"] = json!(["n999", 0]);
    let answer = refusal(&server, long).await;
    assert!(answer.to_string().contains("RecursionError"));
}

#[tokio::test]
async fn what_python_cannot_handle_is_a_500_in_plain_text() {
    let server = Server::start().await;
    let prompt = small(1);
    let bodies = [
        "not json".to_owned(),
        json!({"prompt": null}).to_string(),
        json!({"prompt": "text"}).to_string(),
        json!({"prompt": {"1": null}}).to_string(),
        json!({"prompt": {"1": {"class_type": 5}}}).to_string(),
        json!({"prompt": prompt, "number": "abc"}).to_string(),
        json!({"prompt": prompt, "client_id": "a", "extra_data": null}).to_string(),
        json!({"prompt": prompt, "client_id": "a", "extra_data": "x"}).to_string(),
    ];
    for body in bodies {
        let reply = server.post("/prompt", body.clone()).await;
        assert_eq!((reply.status, reply.kind.as_str()), (500, "text/plain; charset=utf-8"), "{body}");
        assert_eq!(reply.text(), "500 Internal Server Error\n\nServer got itself in trouble");
    }
    let reply = server.post("/prompt", "[]").await;
    assert_eq!((reply.status, &reply.json()["error"]["type"]), (400, &json!("no_prompt")));
}

#[tokio::test]
async fn numbers_count_refusals_and_ids_may_be_anything() {
    let server = Server::start().await;
    server.post_json("/prompt", &json!({"prompt": {}})).await;
    let number = async |extra: Value| {
        let mut body = json!({"prompt": small(1)});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let reply = server.post_json("/prompt", &body).await.json();
        (reply["number"].to_string(), reply["prompt_id"].as_str().unwrap().to_owned())
    };
    assert_eq!(number(json!({"prompt_id": 123})).await, ("1".into(), "123".into()));
    assert_eq!(number(json!({"prompt_id": null, "front": true})).await, ("-2".into(), "None".into()));
    assert_eq!(number(json!({"prompt_id": "any text", "number": "7"})).await, ("7.0".into(), "any text".into()));
    assert_eq!(number(json!({"prompt_id": "", "number": -3})).await, ("-3.0".into(), String::new()));
}

#[tokio::test]
async fn only_the_wanted_outputs_run_and_a_target_that_is_none_is_refused() {
    let server = Server::start().await;
    let mut prompt = small(1);
    prompt["3"] = json!({"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}});
    let prompt_id = server.submit(json!({"prompt": prompt, "partial_execution_targets": ["3"]})).await;
    let entry = server.finished(&prompt_id).await;
    assert_eq!(entry["prompt"][4], json!(["3"]));
    let body = json!({"prompt": prompt, "partial_execution_targets": ["1"]});
    assert_eq!(server.post_json("/prompt", &body).await.json()["error"]["type"], "prompt_no_outputs");
}

#[tokio::test]
async fn nan_goes_in_and_comes_out_bare() {
    let server = Server::start().await;
    let prompt = small(1);
    let body = format!(r#"{{"prompt": {prompt}, "prompt_id": "n", "extra_data": {{"x": NaN, "y": -Infinity}}}}"#);
    assert_eq!(server.post("/prompt", body).await.status, 200);
    let text = wait_for(async || {
        let text = server.get("/history/n").await.text();
        (text != "{}").then_some(text)
    });
    assert!(text.await.contains(r#"{"x": NaN, "y": -Infinity}"#));
}

#[tokio::test]
async fn values_are_converted_in_place_and_literal_lists_unwrapped() {
    let server = Server::start().await;
    let mut prompt = with_input("width", json!("16"));
    prompt["1"]["inputs"]["batch_size"] = json!(1.9);
    prompt["2"]["inputs"]["filename_prefix"] = json!({"__value__": "wrapped"});
    let entry = server.run(prompt).await;
    assert_eq!(entry["prompt"][2]["1"]["inputs"]["width"], 16);
    assert_eq!(entry["prompt"][2]["1"]["inputs"]["batch_size"], 1);
    assert_eq!(entry["prompt"][2]["2"]["inputs"]["filename_prefix"], "wrapped");
}

#[tokio::test]
async fn the_limit_of_bodies_holds_for_prompts() {
    let server = Server::switched(|switches| switches.max_upload_bytes = 1000).await;
    let reply = server.post("/prompt", "x".repeat(1001)).await;
    assert_eq!((reply.status, reply.text().as_str()), (413, "Maximum request body size 1000 exceeded."));
    assert_eq!(
        server.get("/features").await.text(),
        r#"{"supports_preview_metadata": true, "max_upload_size": 1000.0}"#
    );
}

/// Nothing runs any more, although everything answers.
async fn assert_zombie(server: &Server) {
    let next = server.submit(json!({"prompt": small(2)})).await;
    wait_for(async || (server.remaining().await == 2).then_some(())).await;
    assert_eq!(server.post("/interrupt", "").await.status, 200);
    assert_eq!(server.get(&format!("/history/{next}")).await.json(), json!({}));
    assert_eq!(server.sim.stats().prompts_finished, 0);
}

#[tokio::test]
async fn extra_data_that_is_null_kills_the_worker_and_only_a_restart_helps() {
    let server = Server::start().await;
    server.submit(json!({"prompt": small(1), "extra_data": null})).await;
    wait_for(async || (server.sim.stats().prompts_started == 1).then_some(())).await;
    assert_zombie(&server).await;
    server.sim.crash().await;
    server.sim.restart().await.unwrap();
    server.run(small(3)).await;
}

#[tokio::test]
async fn an_unreachable_node_without_inputs_kills_the_worker() {
    for inputs in [json!(null), json!([])] {
        let server = Server::start().await;
        let mut prompt = small(1);
        prompt["7"] = json!({"class_type": "ImageInvert", "inputs": inputs});
        server.submit(json!({"prompt": prompt})).await;
        assert_zombie(&server).await;
    }
}

#[tokio::test]
async fn an_unreachable_chain_of_3000_nodes_kills_the_worker() {
    let server = Server::start().await;
    server.submit(json!({"prompt": chain(3000)})).await;
    assert_zombie(&server).await;
}

#[tokio::test]
async fn a_client_id_that_is_an_object_ends_the_process() {
    let server = Server::switched(|switches| switches.down_ms = Some(1)).await;
    server.submit(json!({"prompt": small(1), "client_id": {"a": 1}})).await;
    wait_for(async || (server.sim.stats().crashes == 1).then_some(())).await;
}

#[tokio::test]
async fn the_same_number_and_id_twice_is_a_500_and_both_run() {
    let server = Server::switched(|switches| switches.step_ms = 10).await;
    let first = server.submit(json!({"prompt": endless(1)})).await;
    server.running(&first).await;
    let body = json!({"prompt": small(1), "prompt_id": "twin", "number": 5});
    assert_eq!(server.post_json("/prompt", &body).await.status, 200);
    assert_eq!(server.post_json("/prompt", &body).await.status, 500);
    server.post("/interrupt", "").await;
    server.idle().await;
    assert_eq!(server.sim.stats().starts["twin"], 2);
}

#[tokio::test]
async fn ids_that_were_lost_are_still_counted_once_per_start() {
    let server = Server::start().await;
    let entry = server.run(small(1)).await;
    let stats = server.sim.stats();
    assert_eq!((stats.prompts_accepted, stats.prompts_started, stats.prompts_finished), (1, 1, 1));
    assert_eq!(stats.starts[entry["prompt"][1].as_str().unwrap()], 1);
    assert!(stats.requests["POST /prompt"] == 1 && stats.requests["GET /history/{prompt_id}"] >= 1);
    assert!(Duration::from_nanos(stats.idle_nanos).is_zero());
}
