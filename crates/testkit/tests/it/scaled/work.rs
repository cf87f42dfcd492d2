//! Jobs go to servers that can run them, and preferably to those that have their models loaded.

use comfyui_sim::SimConfig;
use gateway_testkit::{TestGateway, sampler_workflow, until};
use serde_json::{Value, json};

use super::{Shared, with_checkpoints, worker};

async fn submit(test: &TestGateway, checkpoint: &str, priority: &str) -> String {
    let job = json!({"workflowId": "sampler", "inputs": {"checkpoint": checkpoint, "steps": 1}, "priority": priority});
    test.post("/jobs", &job).await.expect(202).json()["jobId"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_job_is_run_only_by_a_server_that_has_its_model() {
    let Some(shared) = Shared::new() else { return };
    let one = shared.node("one", with_checkpoints(&["a.safetensors", "b.safetensors"])).await;
    let other = shared.node("other", with_checkpoints(&["c.safetensors"])).await;
    one.register("sampler", sampler_workflow()).await;
    let mut jobs = Vec::new();
    for _ in 0..6 {
        for checkpoint in ["c.safetensors", "a.safetensors"] {
            jobs.push((submit(&one, checkpoint, "normal").await, checkpoint));
        }
    }
    let ids = (worker(&one, &one.sim.url()).await["id"].clone(), worker(&one, &other.sim.url()).await["id"].clone());
    for (id, checkpoint) in jobs {
        let job = one.wait_ended(&id).await;
        assert_eq!(job["status"], "succeeded", "{job}");
        assert_eq!(job["worker"], if checkpoint == "c.safetensors" { ids.1.clone() } else { ids.0.clone() });
        assert_eq!(job["attempt"], 1, "{job}");
    }
    let refused = one.post("/jobs", &json!({"workflowId": "sampler", "inputs": {"checkpoint": "d.safetensors"}})).await;
    assert_eq!((refused.status, refused.fault_paths()), (422, vec![String::from("/inputs/checkpoint")]));
}

#[tokio::test]
async fn a_job_that_no_worker_can_run_waits_and_says_for_what_and_is_run_by_one_that_comes_later() {
    let Some(shared) = Shared::new() else { return };
    let api = shared.api().await;
    api.register("sampler", sampler_workflow()).await;
    let id = submit(&api, "rare.safetensors", "normal").await;
    assert_eq!(api.job(&id).await["waitingFor"], Value::Null, "nobody is there to be asked");
    let lacking = shared.node("lacking", with_checkpoints(&["a.safetensors"])).await;
    worker(&api, &lacking.sim.url()).await;
    let job = until("it says what it waits for", || async {
        let job = api.job(&id).await;
        job["waitingFor"].is_array().then_some(job)
    })
    .await;
    assert_eq!(job["waitingFor"], json!(["model rare.safetensors (CheckpointLoaderSimple.ckpt_name)"]));
    // What comes behind it is not held up.
    let other = submit(&api, "a.safetensors", "low").await;
    assert_eq!(api.wait_ended(&other).await["status"], "succeeded");
    assert_eq!((&api.job(&id).await["status"], lacking.sim.stats().prompts_refused), (&json!("queued"), 0));
    let _having = shared.node("having", with_checkpoints(&["rare.safetensors"])).await;
    let job = api.wait_ended(&id).await;
    assert_eq!((&job["status"], &job["attempt"]), (&json!("succeeded"), &json!(1)), "{job}");
}

#[tokio::test]
async fn among_equal_jobs_those_go_first_whose_model_is_loaded() {
    let Some(shared) = Shared::new() else { return };
    let test = shared.node("one", with_checkpoints(&["a.safetensors", "b.safetensors"])).await;
    test.register("sampler", sampler_workflow()).await;
    let _answer = test.post("/queue/pause", &json!({})).await.expect(200);
    until("the worker is paused", || async {
        (test.get("/workers").await.json()["items"][0]["state"] == "paused").then_some(())
    })
    .await;
    let mut jobs = Vec::new();
    for number in 0..20 {
        let checkpoint = if number % 2 == 0 { "a.safetensors" } else { "b.safetensors" };
        jobs.push((submit(&test, checkpoint, "normal").await, checkpoint));
    }
    let _answer = test.post("/queue/resume", &json!({})).await.expect(200);
    let mut order = Vec::new();
    for (id, checkpoint) in jobs {
        let job = test.wait_ended(&id).await;
        assert_eq!(job["status"], "succeeded", "{job}");
        order.push((job["startedAt"].as_str().expect("a time").to_owned(), checkpoint));
    }
    order.sort();
    let changes = order.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
    // In turn it would be 19; the first jobs are taken before any model is loaded.
    assert!(changes <= 5, "{changes} changes of models: {order:?}");
    until("it says what is loaded", || async {
        let worker = worker(&test, &test.sim.url()).await;
        (worker["backends"][0]["loaded"].as_array()?.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_worker_with_several_servers_uses_them_all_and_the_loss_of_one_costs_no_job() {
    let Some(shared) = Shared::new() else { return };
    let second = comfyui_sim::Simulator::start(SimConfig::default()).await.expect("a simulator");
    let url = second.url();
    let node = shared.node_with("two", SimConfig::default(), move |settings| {
        let more =
            gateway_config::ComfyBackend { url: secrecy::SecretString::from(url.clone()), display_url: url.clone() };
        if settings.comfyui.backends.len() == 1 {
            settings.comfyui.backends.push(more);
        }
    });
    let test = node.await;
    test.register("tiny", gateway_testkit::tiny_workflow()).await;
    for sim in [&test.sim, &second] {
        sim.update(|switches| switches.node_ms = 30);
    }
    let mut jobs = Vec::new();
    for color in 0..30 {
        jobs.push(test.submit("tiny", json!({"color": color})).await);
    }
    until("both run some", || async {
        let counts = [test.sim.stats().prompts_started, second.stats().prompts_started];
        counts.iter().all(|count| *count > 2).then_some(())
    })
    .await;
    second.crash().await;
    for id in &jobs {
        let job = test.wait_ended(id).await;
        assert_eq!(job["status"], "succeeded", "{job}");
    }
    // A worker tells of its servers every few seconds.
    until("one is known to be lost", || async {
        let workers = test.get("/workers").await.json();
        let state = |place: usize| workers["items"][0]["backends"][place]["state"].clone();
        (state(0) == "ready" && state(1) == "unreachable").then_some(())
    })
    .await;
}
