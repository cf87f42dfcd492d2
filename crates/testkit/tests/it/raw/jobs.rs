//! What comes of a graph, and what is told of servers on which graphs are dangerous.

use std::io::Cursor;

use comfyui_sim::{Profile, SimConfig};
use gateway_core::ErrorCode;
use gateway_testkit::{Answer, TestBuilder, until};
use image::{ImageFormat, Rgb, RgbImage};
use serde_json::{Map, Value, json};

use super::{body, count_jobs, id, invalid, picture, prompts, refused, start, taking, text};

#[tokio::test]
async fn a_graph_makes_its_picture_and_the_job_is_like_any_other() {
    let test = start(taking()).await;
    let answer = test.post("/jobs", &body(&picture(255))).await.expect(202);
    let job = test.wait_status(&id(&answer), "succeeded").await;
    let output = &job["outputs"][0];
    assert_eq!((&output["width"], &output["height"], &output["nodeId"]), (&json!(64), &json!(48), &json!("2")));
    assert_eq!(output["file"], "image_001.png", "{job}");
    assert_eq!((&job["inputs"]["color_1"], &job["resolvedInputs"]["width_1"]), (&json!(255), &json!(64)), "{job}");
    let workflow = text(&job, "/workflowId");
    assert!(workflow.starts_with("raw_"), "{workflow}");
    let png = test.get(&text(&job, "/outputs/0/url")).await.expect(200);
    let shown = image::load_from_memory(&png.bytes).expect("a picture").to_rgb8();
    assert_eq!((shown.dimensions(), shown.get_pixel(0, 0).0), ((64, 48), [0, 0, 255]));
    let list = test.get(&format!("/jobs?workflowId={workflow}")).await.expect(200).json();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
}

#[tokio::test]
async fn a_graph_takes_files_as_any_workflow_does_and_no_names_of_files() {
    let test = start(taking().variable("RAW_NODES_ALLOWED", "LoadImage,SaveImage")).await;
    let mut bytes = Cursor::new(Vec::new());
    let shown = RgbImage::from_fn(24, 16, |x, y| Rgb([(x * 9) as u8, (y * 15) as u8, 7]));
    shown.write_to(&mut bytes, ImageFormat::Png).expect("a file");
    let upload = test.client().post(test.url("/uploads")).body(bytes.into_inner()).send().await.expect("an answer");
    let upload = text(&Answer::read(upload).await.expect(201).json(), "/uploadId");
    let graph = |image: Value| {
        json!({
            "1": {"class_type": "LoadImage", "inputs": {"image": image, "upload": "image"}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
        })
    };
    let answer = test.post("/jobs", &body(&graph(json!({"uploadId": upload})))).await.expect(202);
    let first = test.wait_status(&id(&answer), "succeeded").await;
    let again = test.post(&format!("/jobs/{}/retry", id(&answer)), &json!({})).await.expect(202);
    let second = test.wait_status(&id(&again), "succeeded").await;
    for job in [&first, &second] {
        let png = test.get(&text(job, "/outputs/0/url")).await.expect(200);
        assert!(image::load_from_memory(&png.bytes).expect("a picture").to_rgb8() == shown, "another picture");
    }
    let long = "x".repeat(300);
    for name in [
        "cat.png",
        "../../etc/passwd",
        "/etc/passwd",
        "x.png [output]",
        "x.png [temp]",
        "blake3:00",
        "a/b.png",
        "gateway/x.png",
        &long,
    ] {
        invalid(&test.post("/jobs", &body(&graph(json!(name)))).await, &["/workflow/1/inputs/image"], name);
    }
    for image in [json!({"uploadId": "x"}), json!({"path": "/etc/passwd"}), json!(7), Value::Null] {
        invalid(&test.post("/jobs", &body(&graph(image))).await, &["/workflow/1/inputs/image"], "no file");
    }
    let mut linked = graph(json!(["3", 0]));
    linked["3"] = json!({"class_type": "LoadImage", "inputs": {"image": {"uploadId": upload}}});
    invalid(&test.post("/jobs", &body(&linked)).await, &["/workflow/1/inputs/image"], "a link");
    assert_eq!((count_jobs(&test).await, prompts(&test)), (2, 2));
}

#[tokio::test]
async fn the_same_graph_is_the_same_result_and_another_value_is_another() {
    let test = start(taking()).await;
    let first = id(&test.post("/jobs", &body(&picture(1))).await.expect(202));
    test.wait_status(&first, "succeeded").await;
    let turned: Map<String, Value> = picture(1).as_object().expect("nodes").clone().into_iter().rev().collect();
    for graph in [picture(1), Value::Object(turned)] {
        let hit = test.post("/jobs", &body(&graph)).await.expect(200);
        assert_eq!(hit.json()["status"], "cache_hit", "{}", hit.json());
        assert_eq!(test.job(&id(&hit)).await["cachedFrom"], json!(first));
    }
    let other = id(&test.post("/jobs", &body(&picture(2))).await.expect(202));
    let other = test.wait_status(&other, "succeeded").await;
    let first = test.job(&first).await;
    assert_eq!(other["workflowId"], first["workflowId"], "only a value differs");
    assert_ne!(other["outputs"][0]["sha256"], first["outputs"][0]["sha256"]);
    assert_eq!(prompts(&test), 2);
}

#[tokio::test]
async fn a_graph_with_an_id_may_be_sent_again() {
    let test = start(taking()).await;
    let mut request = body(&picture(1));
    request["metadata"] = json!({"requestId": "order-1"});
    let first = id(&test.post("/jobs", &request).await.expect(202));
    assert_eq!(id(&test.post("/jobs", &request).await.expect(200)), first);
    test.wait_status(&first, "succeeded").await;
    assert_eq!(id(&test.post("/jobs", &request).await.expect(200)), first);
    request["workflow"] = picture(2);
    refused(&test.post("/jobs", &request).await, ErrorCode::IdempotencyKeyReused);
    assert_eq!((count_jobs(&test).await, prompts(&test)), (1, 1));
}

#[tokio::test]
async fn servers_with_known_holes_are_named_and_others_are_not() {
    let raw = start(taking()).await;
    let health = raw.get("/health").await.expect(200).json();
    assert_eq!((&health["ok"], health["warnings"].as_array().map(Vec::len)), (&json!(true), Some(1)), "{health}");
    let warning = &health["warnings"][0];
    assert_eq!((&warning["comfyui"], &warning["version"]), (&json!(raw.sim.url()), &json!("0.3.64")), "{warning}");
    assert!(warning["holes"].as_array().expect("a list").contains(&json!("CVE-2026-68771")), "{warning}");
    for part in ["update it to 0.28.0", "ALLOW_RAW_WORKFLOWS"] {
        assert!(text(warning, "/message").contains(part), "{warning}");
    }
    let _ready = raw.get("/health/ready").await.expect(200);

    let usual = start(TestBuilder::default()).await;
    let told = text(&usual.get("/health").await.json(), "/warnings/0/message");
    assert!(!told.contains("ALLOW_RAW_WORKFLOWS"), "{told}");

    let sim = SimConfig { profile: Profile::V0_40, ..SimConfig::default() };
    let new = TestBuilder::default().sim(sim).start().await;
    let version = until("the version is known", || async {
        let health = new.get("/health").await.json();
        assert_eq!(health["warnings"], json!([]), "{health}");
        health["comfyui"]["version"].as_str().map(str::to_owned)
    })
    .await;
    assert_eq!(version, "0.40.0");
}
