//! The process is killed at any moment; what it promised must hold.

use std::path::PathBuf;

use gateway_testkit::chaos::Chaos;

#[tokio::test]
async fn a_killed_gateway_loses_no_job_and_runs_no_prompt_twice() {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_comfyui-gateway"));
    let report = Chaos { binary, kills: 12, jobs: 60, seed: 3 }.run().await;
    assert!(report.broken.is_empty(), "{report:#?}");
    assert_eq!(report.accepted, 60);
}
