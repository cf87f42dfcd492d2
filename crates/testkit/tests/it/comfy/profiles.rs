//! Every release of ComfyUI that is known: run, cancel, time out; and nobody else's prompt is touched.

use comfyui_sim::{Profile, SimConfig};
use gateway_testkit::{TestBuilder, TestGateway};
use serde_json::json;
use tokio::task::JoinSet;

use super::support::*;

async fn with_profile(profile: Profile) -> TestGateway {
    gateway(TestBuilder::default().sim(SimConfig { profile, ..SimConfig::default() })).await
}

async fn run_through(profile: Profile) {
    let test = with_profile(profile).await;
    let health = test.get("/health").await.json();
    assert_eq!(health["comfyui"]["version"], profile.comfyui_version(), "{health}");
    succeeded(&test.run("sampler", json!({"steps": 3})).await, 1);

    let running = test.submit("sampler", endless()).await;
    started(&test, 2).await;
    let waiting = test.submit("sampler", endless()).await;
    pending(&test, 1).await;
    cancel(&test, &waiting).await;
    assert_eq!(test.wait_ended(&waiting).await["status"], "canceled", "{profile}");
    let (runs, waits) = queue(&test).await;
    assert_eq!((runs.len(), waits.len()), (1, 0), "{profile}: only the one that waited is gone");
    assert_eq!(test.job(&running).await["status"], "running", "{profile}");

    cancel(&test, &running).await;
    assert_eq!(test.wait_ended(&running).await["status"], "canceled", "{profile}");
    idle(&test).await;

    let slow = submit_limited(&test, endless(), 1_000).await;
    failed(&test.wait_ended(&slow).await, "COMFYUI_TIMEOUT", 1);
    idle(&test).await;
    succeeded(&test.run("tiny", json!({"color": 7})).await, 1);
    each_ran_once(&test, 4);
}

#[tokio::test]
async fn with_every_release_jobs_run_are_canceled_wherever_they_are_and_time_out() {
    let mut profiles = JoinSet::new();
    for profile in Profile::ALL {
        profiles.spawn(run_through(profile));
    }
    while let Some(ended) = profiles.join_next().await {
        ended.expect("no assertion failed");
    }
}

#[tokio::test]
async fn a_strangers_run_is_never_interrupted_whatever_becomes_of_the_job_behind_it() {
    for profile in [Profile::V0_3_40, Profile::V0_40] {
        let test = with_profile(profile).await;
        let stranger = strangers_prompt(&test, 150).await;
        started(&test, 1).await;
        let ours = test.submit("sampler", json!({})).await;
        pending(&test, 1).await;
        cancel(&test, &ours).await;
        assert_eq!(test.wait_ended(&ours).await["status"], "canceled", "{profile}");
        assert_eq!(strangers_end(&test, &stranger).await, "success", "{profile}");
        each_ran_once(&test, 1);
    }
}

#[tokio::test]
async fn on_a_shared_server_that_can_only_stop_whatever_runs_a_canceled_run_goes_on() {
    let test = with_profile(Profile::V0_3_40).await;
    let ours = test.submit("sampler", json!({"steps": 100})).await;
    started(&test, 1).await;
    let stranger = strangers_prompt(&test, 5).await;
    cancel(&test, &ours).await;
    let job = test.wait_ended(&ours).await;
    assert_eq!(job["status"], "succeeded", "it ended before it could be stopped: {job}");
    assert_eq!(strangers_end(&test, &stranger).await, "success");
    assert_eq!(test.sim.stats().requests.get("POST /interrupt"), None);
    let logs = test.get(&format!("/jobs/{ours}/logs")).await.expect(200).json();
    assert!(logs.to_string().contains("too old to stop one run alone"), "{logs}");
}
