//! Runs that end in an exception: classified, cleaned of what is ComfyUI's own business, never run again.

use comfyui_sim::{FailNode, OomStyle};
use gateway_testkit::TestBuilder;
use serde_json::json;

use super::support::*;

const STYLES: [OomStyle; 9] = [
    OomStyle::Cuda,
    OomStyle::CudaOld,
    OomStyle::Accelerator,
    OomStyle::Hip,
    OomStyle::Mps,
    OomStyle::Cpu,
    OomStyle::Windows,
    OomStyle::Python,
    OomStyle::Numpy,
];

#[tokio::test]
async fn running_out_of_memory_is_told_in_every_spelling_and_comfyui_is_asked_to_free_some() {
    let test = gateway(TestBuilder::default()).await;
    test.sim.update(|switches| switches.memory_limit_pixels = Some(100));
    for (round, style) in (1..).zip(STYLES) {
        test.sim.update(|switches| switches.oom_style = style);
        let job = test.run("sampler", json!({})).await;
        failed(&job, "COMFYUI_OOM", 1);
        let error = &job["error"];
        assert_eq!(error["retryable"], false, "{style:?}: {job}");
        assert!(error["recommendation"].as_str().is_some_and(|text| text.contains("smaller")), "{style:?}: {job}");
        let node = json!({"id": "4", "classType": "KSampler", "title": "The sampler"});
        assert_eq!(error["node"], node, "{style:?}: {job}");
        assert_eq!(test.sim.stats().requests.get("POST /free"), Some(&round), "{style:?}");
    }
    each_ran_once(&test, STYLES.len());
    test.sim.update(|switches| switches.memory_limit_pixels = None);
    succeeded(&test.run("sampler", json!({})).await, 1);
}

#[tokio::test]
async fn an_exception_names_its_node_and_holds_nothing_of_comfyuis_machine() {
    let test = gateway(TestBuilder::default()).await;
    for completed in [false, true] {
        test.sim.update(|switches| {
            switches.error_completed_true = completed;
            switches.fail_node = Some(FailNode {
                class_type: "KSampler".to_owned(),
                exception_type: "RuntimeError".to_owned(),
                message: "shape mismatch while reading '/home/comfy/secret place/model.py' and C:\\Users\\bob\\x.dat"
                    .to_owned(),
            });
        });
        let job = test.run("sampler", json!({})).await;
        failed(&job, "COMFYUI_NODE_ERROR", 1);
        assert!(message(&job).contains("RuntimeError: shape mismatch"), "{job}");
        let node = json!({"id": "4", "classType": "KSampler", "title": "The sampler"});
        assert_eq!(job["error"]["node"], node, "{job}");
        let logs = test.get(&format!("/jobs/{}/logs", job["jobId"].as_str().unwrap())).await.expect(200).json();
        for text in [job.to_string(), logs.to_string()] {
            for secret in ["/home", "comfy/", "secret place", "bob", "Traceback", "execution.py"] {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
        }
    }
    assert_eq!(test.sim.stats().requests.get("POST /free"), None, "memory is freed only where it was short");
    each_ran_once(&test, 2);
}
