//! Values of inputs: ranges, exactness, what stays text, seeds.

use gateway_core::ErrorCode;
use gateway_testkit::TestGateway;
use serde_json::{Value, json};

use super::support::{invalid, offline, picture_workflow, problem};

async fn picture() -> TestGateway {
    let test = offline().await;
    test.register("picture", picture_workflow()).await;
    test
}

/// What a job and a validation of it are refused with: the same.
async fn refused(test: &TestGateway, inputs: Value, paths: &[&str]) -> String {
    let validated = test.post("/workflows/picture/validate", &json!({"inputs": inputs})).await;
    let submitted = test.post("/jobs", &json!({"workflowId": "picture", "inputs": inputs})).await;
    let body = invalid(&submitted, paths);
    assert_eq!(invalid(&validated, paths)["errors"], body["errors"]);
    body["errors"][0]["message"].as_str().unwrap().to_owned()
}

async fn rendered(test: &TestGateway, inputs: Value) -> Value {
    test.post("/workflows/picture/validate", &json!({"inputs": inputs})).await.expect(200).json()
}

#[tokio::test]
async fn values_out_of_range_are_refused_with_the_range() {
    let test = picture().await;
    for (name, values, said) in [
        ("steps", vec![json!(0), json!(-1), json!(1_000_000_000)], "between 1 and 150"),
        ("width", vec![json!(7), json!(100_000)], "between 16 and 4096"),
        ("batch", vec![json!(0), json!(1000)], "between 1 and 64"),
        ("cfg", vec![json!(-0.1), json!(31)], "between 0 and 30"),
        ("width", vec![json!("512"), json!(true), json!([512]), json!({"a": 1}), Value::Null], "integer"),
        ("steps", vec![json!(1.5), json!("7")], "integer"),
        ("seed", vec![json!(1.5), json!("7"), json!(-2), json!([1]), json!(true)], ""),
        ("prompt", vec![json!({"a": "b"}), json!(["a"]), json!(7), Value::Null], "string"),
        ("prompt", vec![json!("")], "at least 1"),
        ("prompt", vec![json!("x".repeat(65_537)), json!("e\u{301}".repeat(200_000))], "65536"),
        ("checkpoint", vec![json!("x.ckpt"), json!("x.pt"), json!("../x.safetensors"), json!("/x.safetensors")], ""),
    ] {
        for value in values {
            let mut inputs = json!({"prompt": "a cat"});
            inputs[name] = value.clone();
            let message = refused(&test, inputs, &[&format!("/inputs/{name}")]).await;
            assert!(message.contains(said), "{name} {message}");
            assert!(!value.is_string() || value == "" || !message.contains(value.as_str().unwrap()), "{message}");
        }
    }
    let body = r#"{"workflowId":"picture","inputs":{"prompt":"a","seed":18446744073709551616}}"#;
    invalid(&test.post_raw("/jobs", body).await, &[""]);
    let marks =
        format!("{{\"workflowId\":\"picture\",\"inputs\":{{\"prompt\":\"{}\"}}}}", "e\u{301}".repeat(1_000_000));
    invalid(&test.post_raw("/jobs", marks).await, &["/inputs/prompt"]);
}

#[tokio::test]
async fn missing_extra_and_doubled_inputs_are_named_all_at_once() {
    let test = picture().await;
    refused(&test, json!({}), &["/inputs/prompt"]).await;
    let message = refused(&test, json!({"prompt": "a", "step": 3}), &["/inputs/step"]).await;
    assert!(message.contains("did you mean `steps`"), "{message}");
    refused(
        &test,
        json!({"width": 1, "steps": 0, "nope": 1, "seed": "x"}),
        &["/inputs/nope", "/inputs/prompt", "/inputs/seed", "/inputs/steps", "/inputs/width"],
    )
    .await;
    let body = json!({"workflowId": "picture", "inputs": {"prompt": "a", "steps": 3}, "params": {"steps": 3, "x": 1}});
    let answer = test.post("/jobs", &body).await;
    problem(&answer, ErrorCode::ValidationError);
    assert!(answer.fault_paths().contains(&"/params/x".to_owned()), "{:?}", answer.fault_paths());
    assert!(answer.fault_paths().iter().any(|path| path.ends_with("/steps")), "{:?}", answer.fault_paths());
}

#[tokio::test]
async fn a_prompt_stays_text_whatever_stands_in_it() {
    let test = picture().await;
    let plain = rendered(&test, json!({"prompt": "a cat", "seed": 1})).await;
    for prompt in [
        r#"x"}},"99":{"class_type":"LoadTrainingDataset","inputs":{}}"#,
        "{{secret}}",
        "{{prompt}}",
        "{{",
        "}}",
        "{{{{",
        "{{seed|1}}",
        "\\\"\n\r\t\u{1b}[31m",
        "\u{202e}txt.exe",
        "👩‍👩‍👧‍👦",
        "[\"1\", 0]",
        "../../etc/passwd [output]",
    ] {
        let graph = rendered(&test, json!({"prompt": prompt, "negative": prompt, "seed": 1})).await["workflow"].clone();
        let mut expected = plain["workflow"].clone();
        expected["2"]["inputs"]["text"] = json!(prompt);
        expected["3"]["inputs"]["text"] = json!(format!("no {prompt}"));
        assert_eq!(graph, expected);
        let id = test.submit("picture", json!({"prompt": prompt})).await;
        let job = test.job(&id).await;
        assert_eq!((&job["inputs"]["prompt"], &job["resolvedInputs"]["prompt"]), (&json!(prompt), &json!(prompt)));
    }
}

#[tokio::test]
async fn a_seed_is_drawn_once_where_none_is_given_and_kept_exactly_where_one_is() {
    let test = picture().await;
    for seed in [None, Some(Value::Null), Some(json!(-1))] {
        let mut inputs = json!({"prompt": "a"});
        if let Some(seed) = &seed {
            inputs["seed"] = seed.clone();
        }
        let first = test.submit("picture", inputs.clone()).await;
        let second = test.submit("picture", inputs.clone()).await;
        let (job, again, other) = (test.job(&first).await, test.job(&first).await, test.job(&second).await);
        let drawn = job["resolvedInputs"]["seed"].as_u64().expect("a drawn seed");
        assert!(drawn < 1 << 53, "{drawn}");
        assert_eq!(job["inputs"], inputs, "what was sent stays as it was");
        assert_eq!(again["resolvedInputs"]["seed"], drawn);
        assert_ne!(other["resolvedInputs"]["seed"], drawn, "each job has its own");
    }
    for seed in [0, 7, 9_007_199_254_740_993, u64::MAX] {
        let id = test.submit("picture", json!({"prompt": "a", "seed": seed})).await;
        assert_eq!(test.job(&id).await["resolvedInputs"]["seed"], seed);
        let graph = rendered(&test, json!({"prompt": "a", "seed": seed})).await;
        assert_eq!(graph["workflow"]["5"]["inputs"]["seed"], seed);
    }
}

#[tokio::test]
async fn the_seed_that_is_shown_is_the_one_that_ran() {
    let test = TestGateway::start().await;
    let body = json!({
        "workflow": {
            "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": "{{seed}}"}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "seed"}}
        },
        "inputSchema": {"type": "object", "properties": {"seed": {"type": "integer", "maximum": 16_777_215}}}
    });
    test.register("seed", body).await;
    let job = test.run("seed", json!({})).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    let seed = u32::try_from(job["resolvedInputs"]["seed"].as_u64().unwrap()).unwrap();
    let picture = test.get(job["outputs"][0]["url"].as_str().unwrap()).await.expect(200);
    let [_, red, green, blue] = seed.to_be_bytes();
    assert_eq!(image::load_from_memory(&picture.bytes).unwrap().to_rgb8().get_pixel(1, 1).0, [red, green, blue]);
}

#[tokio::test]
async fn files_of_comfyuis_machine_can_not_be_named() {
    let test = offline().await;
    let graph = json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "{{picture}}"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
    });
    test.register("derived", json!({"workflow": graph})).await;
    let schema = json!({"type": "object", "properties": {"picture": {"type": "string"}}});
    test.register("named", json!({"workflow": graph, "inputSchema": schema})).await;
    let long = "x".repeat(300);
    for name in
        ["../../etc/passwd", "/etc/passwd", "x.png [output]", "x.png [temp]", "blake3:00", "a\\b.png", "C:x", &long]
    {
        for workflow in ["derived", "named"] {
            let body = json!({"workflowId": workflow, "inputs": {"picture": name}});
            invalid(&test.post("/jobs", &body).await, &["/inputs/picture"]);
        }
    }
    for file in
        [json!("a.png"), json!("a/b.png"), json!({}), json!({"path": "x"}), json!({"url": "https://x.example/a.png"})]
    {
        let body = json!({"workflowId": "derived", "inputs": {"picture": file}});
        problem(&test.post("/jobs", &body).await, ErrorCode::ValidationError);
    }
}
