//! How much ComfyUI gets at once, what is left there afterwards, and how it is reached.

use std::cell::Cell;

use comfyui_sim::SimConfig;
use gateway_testkit::{TestBuilder, until};
use serde_json::json;

use super::support::*;

#[tokio::test]
async fn comfyui_holds_what_runs_and_one_ahead_and_nothing_is_left_in_its_history() {
    for concurrency in [1, 3] {
        let test =
            gateway(TestBuilder::default().settings(move |settings| settings.worker.concurrency = concurrency)).await;
        let mut jobs = Vec::new();
        for _ in 0..8 {
            jobs.push(test.submit("sampler", json!({"steps": 12})).await);
        }
        let most = Cell::new(0);
        until("all jobs have ended", || async {
            let (running, pending) = queue(&test).await;
            most.set(most.get().max(running.len() + pending.len()));
            (test.job(jobs.last().expect("jobs")).await["status"] == "succeeded").then_some(())
        })
        .await;
        assert_eq!(most.get(), concurrency + 1, "what runs and one ahead, so that ComfyUI never waits");
        for id in &jobs {
            succeeded(&test.wait_ended(id).await, 1);
        }
        each_ran_once(&test, 8);
        until("the history is empty", || async { (sim_json(&test, "/history").await == json!({})).then_some(()) })
            .await;
    }
}

#[tokio::test]
async fn entries_of_failed_and_canceled_jobs_are_removed_too_and_those_of_others_stay() {
    let test = gateway(TestBuilder::default()).await;
    let stranger = strangers_prompt(&test, 1).await;
    assert_eq!(strangers_end(&test, &stranger).await, "success");
    let id = test.submit("sampler", endless()).await;
    started(&test, 2).await;
    cancel(&test, &id).await;
    test.wait_ended(&id).await;
    test.sim.update(|switches| switches.memory_limit_pixels = Some(1));
    failed(&test.run("sampler", json!({})).await, "COMFYUI_OOM", 1);
    until("only the stranger's entry is left", || async {
        let history = sim_json(&test, "/history").await;
        let left: Vec<&String> = history.as_object().expect("entries").keys().collect();
        (left == [&stranger]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_comfyui_below_a_path_behind_a_password_or_a_token_is_reached_and_neither_is_shown() {
    let config = SimConfig {
        base_path: String::from("/tools/comfy"),
        basic_auth: Some((String::from("ann"), String::from("p@ss word"))),
        ..SimConfig::default()
    };
    let sim = comfyui_sim::Simulator::start(config).await.expect("a simulator");
    let url = sim.url().replace("http://", "http://ann:p%40ss%20word@");
    let test = TestBuilder::default().comfyui_url(url).start().await;
    register(&test).await;
    succeeded(&test.run("tiny", json!({"color": 1})).await, 1);
    until("the event socket is open", || async { (sim.stats().open_sockets == 1).then_some(()) }).await;
    let health = test.get("/health").await.json();
    assert_eq!(health["comfyui"]["url"], sim.url(), "{health}");
    assert!(!health.to_string().contains("word"), "{health}");

    let config = SimConfig { bearer: Some(String::from("t0ken")), ..SimConfig::default() };
    let with_token = TestBuilder::default().sim(config).settings(|settings| {
        settings.comfyui.headers = vec![(String::from("Authorization"), String::from("Bearer t0ken").into())];
    });
    let test = with_token.start().await;
    register(&test).await;
    succeeded(&test.run("tiny", json!({"color": 1})).await, 1);
    assert!(!test.get("/health").await.json().to_string().contains("t0ken"));
}

#[tokio::test]
async fn wrong_credentials_are_told_and_jobs_wait_for_the_right_ones() {
    let config = SimConfig { bearer: Some(String::from("t0ken")), ..SimConfig::default() };
    let test = TestBuilder::default().sim(config).start_unready().await;
    register(&test).await;
    let id = test.submit("tiny", json!({"color": 1})).await;
    until("/health names the fault", || async {
        let comfyui = test.get("/health").await.json()["comfyui"].take();
        let problem = comfyui["problem"].as_str().unwrap_or_default();
        (comfyui["state"] == "misconfigured" && problem.contains("COMFYUI_HEADERS")).then_some(())
    })
    .await;
    assert_eq!(test.job(&id).await["status"], "queued");
    assert_eq!(test.job(&id).await["attempt"], 0);
}
