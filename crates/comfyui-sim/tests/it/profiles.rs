//! What differs from release to release.

use comfyui_sim::{Profile, SimConfig};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Server, endless, read, small, types, wait_for};

async fn server(profile: Profile) -> Server {
    Server::with(SimConfig { profile, ..SimConfig::default() }).await
}

#[tokio::test]
async fn every_profile_is_named_as_it_is_parsed_and_runs_a_prompt() {
    for profile in Profile::ALL {
        assert_eq!(profile.to_string().parse::<Profile>().unwrap(), profile);
        let server = server(profile).await;
        let stats = server.get("/system_stats").await.json();
        assert_eq!(stats["system"]["comfyui_version"], profile.comfyui_version());
        assert_eq!(server.run(small(1)).await["status"]["status_str"], "success");
    }
    assert!("1.0".parse::<Profile>().is_err());
}

#[tokio::test]
async fn release_0_3_40_mints_ids_interrupts_anything_and_has_no_flags() {
    let server = server(Profile::V0_3_40).await;
    server.sim.update(|switches| switches.step_ms = 5);
    assert_eq!(server.get("/features").await.status, 404);
    let mine = Uuid::new_v4().to_string();
    let running = server.submit(json!({"prompt": endless(1), "prompt_id": mine})).await;
    assert_ne!(running, mine);
    server.running(&running).await;
    server.post_json("/interrupt", &json!({"prompt_id": "somebody else"})).await;
    server.finished(&running).await;
    let mut socket = server.socket("a").await;
    socket.send(&json!({"type": "feature_flags", "data": {"supports_preview_metadata": true}})).await;
    server.submit(json!({"prompt": small(1), "client_id": "a"})).await;
    let frames = socket.until_end().await;
    let seen = types(&frames);
    assert!(!seen.contains(&"feature_flags") && !seen.contains(&"progress_state"), "{seen:?}");
}

#[tokio::test]
async fn release_0_3_70_notes_the_time_and_hides_secrets_in_the_queue() {
    for (profile, shows) in [(Profile::V0_3_64, true), (Profile::V0_3_70, false)] {
        let server = server(profile).await;
        server.sim.update(|switches| switches.step_ms = 5);
        let body = json!({"prompt": endless(1), "extra_data": {"api_key_comfy_org": "secret"}});
        let prompt_id = server.submit(body).await;
        server.running(&prompt_id).await;
        let extra = server.get("/queue").await.json()["queue_running"][0][3].clone();
        assert_eq!(extra.get("api_key_comfy_org").is_some(), shows);
        assert_eq!(extra.get("create_time").is_some(), !shows);
        server.post("/interrupt", "").await;
        let entry = server.finished(&prompt_id).await;
        assert!(entry["prompt"][3].get("api_key_comfy_org").is_none());
    }
}

#[tokio::test]
async fn newer_histories_list_only_what_the_run_emitted() {
    let server = server(Profile::V0_3_70).await;
    let mut prompt = small(1);
    prompt["4"] = json!({"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}});
    server.run(prompt.clone()).await;
    let prompt_id = server.submit(json!({"prompt": prompt, "partial_execution_targets": ["2"]})).await;
    let entry = server.finished(&prompt_id).await;
    assert_eq!(entry["outputs"].as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn around_0_26_cached_outputs_of_prompts_without_a_client_are_forgotten() {
    let server = server(Profile::V0_26).await;
    assert_eq!(server.run(small(1)).await["outputs"].as_object().unwrap().len(), 1);
    assert_eq!(server.run(small(1)).await["outputs"], json!({}));
    let _socket = server.socket("a").await;
    let prompt_id = server.submit(json!({"prompt": small(1), "client_id": "a"})).await;
    assert_eq!(server.finished(&prompt_id).await["outputs"].as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn january_2026_shows_jobs_and_cannot_cancel_them() {
    let server = server(Profile::V2026_01).await;
    server.sim.update(|switches| switches.step_ms = 5);
    let done = server.submit(json!({"prompt": small(1)})).await;
    server.finished(&done).await;
    let running = server.submit(json!({"prompt": endless(1)})).await;
    server.running(&running).await;
    let pending = server.submit(json!({"prompt": small(2)})).await;
    let jobs = server.get("/api/jobs?sort_order=asc").await.json();
    let listed: Vec<(&str, &str)> = jobs["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| (job["id"].as_str().unwrap(), job["status"].as_str().unwrap()))
        .collect();
    assert_eq!(listed, [(&*done, "completed"), (&*running, "in_progress"), (&*pending, "pending")]);
    let page = server.get("/api/jobs?limit=1&offset=1").await.json();
    assert_eq!(page["pagination"], json!({"offset": 1, "limit": 1, "total": 3, "has_more": true}));
    assert_eq!(server.get("/api/jobs?status=nonsense").await.status, 400);
    let job = server.get(&format!("/api/jobs/{done}")).await.json();
    assert_eq!((&job["outputs_count"], &job["preview_output"]["nodeId"]), (&json!(1), &json!("2")));
    assert_eq!(job["execution_status"]["completed"], true);
    assert_eq!(server.get("/api/jobs/unknown").await.json(), json!({"error": "Job not found"}));
    assert_eq!(server.post(&format!("/api/jobs/{running}/cancel"), "").await.status, 405);
    assert_eq!(server.get("/jobs").await.status, 404);
}

#[tokio::test]
async fn since_0_26_jobs_are_cancelled_and_ids_are_checked() {
    let server = server(Profile::V0_26).await;
    server.sim.update(|switches| switches.step_ms = 5);
    let running = server.submit(json!({"prompt": endless(1)})).await;
    server.running(&running).await;
    let pending = server.submit(json!({"prompt": small(1)})).await;
    let cancel = async |path: String, body: Value| server.post_json(&path, &body).await.json()["cancelled"].clone();
    assert_eq!(cancel(format!("/api/jobs/{pending}/cancel"), json!({})).await, true);
    assert_eq!(cancel("/api/jobs/cancel".to_owned(), json!({"job_ids": [running]})).await, true);
    server.finished(&running).await;
    assert_eq!(server.get(&format!("/api/jobs/{running}")).await.json()["status"], "cancelled");
    assert_eq!(cancel(format!("/api/jobs/{running}/cancel"), json!({})).await, false);
    assert_eq!(server.get(&format!("/api/jobs/{pending}")).await.status, 404);
    let wrong = server.post_json("/api/jobs/cancel", &json!({"job_ids": ["x"]})).await;
    assert_eq!((wrong.status, wrong.json()["invalid_ids"].clone()), (400, json!(["x"])));
    for id in [json!("text"), json!(5), json!(Uuid::new_v4().simple().to_string())] {
        let reply = server.post_json("/prompt", &json!({"prompt": small(1), "prompt_id": id})).await;
        assert_eq!((reply.status, &reply.json()["error"]["type"]), (400, &json!("invalid_prompt_id")));
    }
    server.submit(json!({"prompt": small(1), "prompt_id": null})).await;
    let reply = server.post_json("/prompt", &json!({"prompt": {"1": {"class_type": "Nope", "inputs": {}}}})).await;
    let error = &reply.json()["error"];
    assert_eq!(error["type"], "missing_node_type");
    assert_eq!(error["extra_info"], json!({"node_id": "1", "class_type": "Nope", "node_title": "Nope"}));
    let cross = read(server.request(Method::GET, "/queue").header("sec-fetch-site", "cross-site")).await.unwrap();
    assert_eq!(cross.status, 403);
}

#[tokio::test]
async fn release_0_40_describes_files_and_sends_events_nobody_knows() {
    let server = server(Profile::V0_40).await;
    let mut socket = server.socket("a").await;
    let prompt_id = server.submit(json!({"prompt": small(1), "client_id": "a"})).await;
    let entry = server.finished(&prompt_id).await;
    let file = &entry["outputs"]["2"]["images"][0];
    assert_eq!(file["metadata"], json!({"kind": "image", "width": 32, "height": 32}));
    assert!(types(&socket.until_end().await).contains(&"crystools.monitor"));
    let uploaded = server.upload("a.svg", b"<svg/>".to_vec(), &[]).await.json();
    assert_eq!(uploaded["asset"]["size"], 6);
    let svg = server.get("/view?filename=a.svg&type=input").await;
    assert!(svg.headers["content-disposition"].to_str().unwrap().starts_with("attachment"));
    assert_eq!(server.get("/features").await.json()["assets"], true);
    wait_for(async || (server.remaining().await == 0).then_some(())).await;
}
