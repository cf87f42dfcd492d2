//! Every fault that can be switched on, seen from the client's side.

use std::time::Duration;

use comfyui_sim::{FailNode, HostileFilenames, HttpFault, OomStyle, PreviewMethod, ViewFault};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Frame, Server, messages, read, sampler, small, types, wait_for};

/// Short, for requests that are never answered.
const NEVER: Duration = Duration::from_millis(100);

#[tokio::test]
async fn each_device_runs_out_of_memory_in_its_own_words() {
    for (style, kind, message) in [
        (OomStyle::Cuda, "torch.OutOfMemoryError", "Allocation on device \nThis error means you ran out of memory"),
        (OomStyle::CudaOld, "torch.cuda.OutOfMemoryError", "Allocation on device 0 would exceed allowed memory."),
        (OomStyle::Accelerator, "torch.AcceleratorError", "CUDA error: out of memory\n"),
        (OomStyle::Hip, "torch.OutOfMemoryError", "HIP out of memory."),
        (OomStyle::Mps, "RuntimeError", "MPS backend out of memory"),
        (OomStyle::Cpu, "RuntimeError", "[enforce fail at alloc_cpu.cpp:117]"),
        (
            OomStyle::Windows,
            "RuntimeError",
            "[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough",
        ),
        (OomStyle::Python, "MemoryError", "\n"),
        (OomStyle::Numpy, "numpy._core._exceptions._ArrayMemoryError", "Unable to allocate"),
    ] {
        let server = Server::switched(|switches| {
            switches.memory_limit_pixels = Some(128 * 128 - 1);
            switches.oom_style = style;
        })
        .await;
        let entry = server.run(sampler(1, 2, "x")).await;
        let error = &entry["status"]["messages"][2];
        assert_eq!((&error[0], &error[1]["node_id"]), (&json!("execution_error"), &json!("3")));
        assert_eq!(error[1]["exception_type"], kind);
        assert!(error[1]["exception_message"].as_str().unwrap().starts_with(message), "{error}");
        server.sim.update(|switches| switches.memory_limit_pixels = Some(128 * 128));
        assert_eq!(server.run(sampler(1, 2, "x")).await["status"]["status_str"], "success");
    }
}

#[tokio::test]
async fn a_class_can_be_made_to_fail_and_keeps_the_outputs_before_it() {
    let fail = FailNode {
        class_type: "ImageInvert".to_owned(),
        exception_type: "ValueError".to_owned(),
        message: "bad value".to_owned(),
    };
    let server = Server::switched(|switches| switches.fail_node = Some(fail)).await;
    let mut socket = server.socket("a").await;
    let mut prompt = small(1);
    prompt["3"] = json!({"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}});
    prompt["4"] = json!({"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}});
    let prompt_id = server.submit(json!({"prompt": prompt, "client_id": "a"})).await;
    let frames = socket.until_end().await;
    let error = messages(&frames, "execution_error")[0];
    assert_eq!((&error["exception_type"], &error["exception_message"]), (&json!("ValueError"), &json!("bad value\n")));
    assert!(!types(&frames).contains(&"execution_success"));
    let entry = server.finished(&prompt_id).await;
    assert_eq!(entry["status"]["completed"], false);
    assert!(entry["outputs"].get("2").is_some());
}

#[tokio::test]
async fn outcomes_can_contradict_themselves() {
    let server = Server::switched(|switches| switches.empty_outputs = true).await;
    let entry = server.run(small(1)).await;
    assert_eq!((&entry["status"]["status_str"], &entry["outputs"]), (&json!("success"), &json!({})));
    server.sim.update(|switches| {
        switches.error_completed_true = true;
        switches.memory_limit_pixels = Some(1);
    });
    let entry = server.run(sampler(1, 1, "x")).await;
    assert_eq!(entry["status"]["status_str"], "error");
    assert_eq!(entry["status"]["completed"], true);
}

#[tokio::test]
async fn files_arrive_broken_in_every_way() {
    let server = Server::start().await;
    let path = "/view?filename=example.png&type=input";
    let whole = server.get(path).await.body.len();
    let with = async |fault: ViewFault| {
        server.sim.update(|switches| switches.view_fault = fault);
        read(server.request(Method::GET, path)).await
    };
    let half = with(ViewFault::Truncate).await.unwrap();
    assert_eq!((half.status, half.body.len()), (200, whole / 2));
    assert!(with(ViewFault::WrongLength).await.is_err());
    let page = with(ViewFault::Html).await.unwrap();
    assert_eq!((page.status, page.kind.as_str()), (200, "text/html"));
    let empty = with(ViewFault::Empty).await.unwrap();
    assert_eq!((empty.status, empty.body.len()), (200, 0));
    assert_eq!(with(ViewFault::Status502).await.unwrap().status, 502);
    assert_eq!(with(ViewFault::None).await.unwrap().body.len(), whole);
}

#[tokio::test]
async fn answers_can_be_late_missing_or_of_somebody_else() {
    let server = Server::start().await;
    let ask = async || read(server.request(Method::GET, "/queue").timeout(NEVER)).await;
    server.sim.update(|switches| switches.http_fault = HttpFault::Html200);
    let page = ask().await.unwrap();
    assert_eq!((page.status, page.kind.as_str()), (200, "text/html"));
    server.sim.update(|switches| switches.http_fault = HttpFault::Status502);
    assert_eq!(ask().await.unwrap().status, 502);
    server.sim.update(|switches| switches.http_fault = HttpFault::Timeout);
    assert!(ask().await.err().unwrap().is_timeout());
    server.socket("a").await;
    server.sim.update(|switches| {
        switches.http_fault = HttpFault::None;
        switches.hang_accept = true;
    });
    assert!(ask().await.err().unwrap().is_timeout());
    assert_eq!(server.get("/sim/switches").await.json()["hangAccept"], true);
    server.sim.update(|switches| {
        switches.hang_accept = false;
        switches.history_delay_ms = 60_000;
    });
    let late = read(server.request(Method::GET, "/history/x").timeout(NEVER)).await;
    assert!(late.err().unwrap().is_timeout());
    assert_eq!(ask().await.unwrap().status, 200);
}

#[tokio::test]
async fn prompts_can_be_refused_by_something_in_between() {
    let server = Server::start().await;
    for status in [413, 500, 502] {
        server.sim.update(|switches| switches.refuse_prompt_status = Some(status));
        let reply = server.post_json("/prompt", &json!({"prompt": small(1)})).await;
        assert_eq!((reply.status, reply.kind.as_str()), (status, "text/html"));
    }
    assert_eq!(server.sim.stats().prompts_accepted, 0);
}

#[tokio::test]
async fn a_lost_reply_leaves_a_prompt_that_runs_once() {
    let server = Server::switched(|switches| switches.lose_prompt_reply = 1).await;
    let body = json!({"prompt": small(1), "prompt_id": "lost"}).to_string();
    assert!(read(server.request(Method::POST, "/prompt").body(body)).await.is_err());
    server.finished("lost").await;
    assert_eq!(server.sim.stats().starts["lost"], 1);
    assert_eq!(server.sim.switches().lose_prompt_reply, 0);
    server.run(small(2)).await;
}

#[tokio::test]
async fn the_process_dies_at_a_node_and_stays_down_until_it_is_restarted() {
    let server = Server::switched(|switches| switches.die_on_node = Some("SaveImage".to_owned())).await;
    let mut socket = server.socket("a").await;
    server.submit(json!({"prompt": small(1), "client_id": "a"})).await;
    while socket.next().await != Frame::Closed {}
    wait_for(async || (server.sim.stats().crashes == 1).then_some(())).await;
    assert!(read(server.request(Method::GET, "/queue")).await.is_err());
    server.sim.update(|switches| switches.die_on_node = None);
    server.sim.restart().await.unwrap();
    server.run(small(1)).await;
    assert_eq!(server.sim.stats().prompts_finished, 1);
}

#[tokio::test]
async fn the_process_dies_some_time_into_a_prompt_and_comes_back_by_itself() {
    let server = Server::switched(|switches| {
        switches.step_ms = 10;
        switches.die_after_ms = Some(50);
        switches.down_ms = Some(20);
    })
    .await;
    server.submit(json!({"prompt": sampler(1, 1000, "x")})).await;
    wait_for(async || (server.sim.stats().crashes == 1).then_some(())).await;
    server.sim.update(|switches| switches.die_after_ms = None);
    let back = wait_for(async || read(server.request(Method::GET, "/history")).await.ok());
    assert_eq!(back.await.json(), json!({}));
}

#[tokio::test]
async fn a_zombie_answers_everything_and_runs_nothing() {
    let server = Server::switched(|switches| switches.zombie = true).await;
    let prompt_id = server.submit(json!({"prompt": small(1)})).await;
    assert_eq!(server.remaining().await, 1);
    assert_eq!(server.get(&format!("/history/{prompt_id}")).await.json(), json!({}));
    assert_eq!(server.sim.stats().prompts_started, 0);
    server.sim.update(|switches| switches.zombie = false);
    server.finished(&prompt_id).await;
}

#[tokio::test]
async fn names_of_files_can_be_hostile_and_are_served_all_the_same() {
    let server = Server::start().await;
    for (style, is_hostile) in [
        (HostileFilenames::Traversal, (|name: &str| name.contains("../")) as fn(&str) -> bool),
        (HostileFilenames::Nul, |name| name.contains('\0')),
        (HostileFilenames::Long, |name| name.len() == 300),
        (HostileFilenames::Rtl, |name| name.contains('\u{202E}')),
        (HostileFilenames::Absolute, |name| name.starts_with('/')),
        (HostileFilenames::Duplicate, |name| name == "same_00001_.png"),
    ] {
        server.sim.update(|switches| switches.hostile_filenames = style);
        server.post_json("/free", &json!({"free_memory": true})).await;
        let mut prompt = small(1);
        prompt["1"]["inputs"]["batch_size"] = json!(2);
        let entry = server.run(prompt).await;
        let name = entry["outputs"]["2"]["images"][1]["filename"].as_str().unwrap();
        assert!(is_hostile(name), "{name:?}");
        server.first_picture(&entry).await;
    }
}

#[tokio::test]
async fn history_can_hold_nan_be_poisoned_or_empty() {
    let server = Server::switched(|switches| switches.nan_in_history = true).await;
    server.submit(json!({"prompt": small(1), "prompt_id": "nan"})).await;
    server.idle().await;
    let text = server.get("/history/nan").await.text();
    assert!(text.contains("[NaN, Infinity, -Infinity]"), "{text}");

    server.sim.update(|switches| {
        switches.nan_in_history = false;
        switches.poison_history = true;
    });
    server.submit(json!({"prompt": small(2), "prompt_id": "poison"})).await;
    server.idle().await;
    assert_eq!(server.get("/history/poison").await.status, 500);
    assert_eq!(server.get("/history").await.status, 500);
    server.post_json("/history", &json!({"delete": ["poison"]})).await;
    assert_eq!(server.get("/history").await.status, 200);

    server.sim.update(|switches| {
        switches.poison_history = false;
        switches.evict_history = true;
    });
    server.submit(json!({"prompt": small(3), "prompt_id": "gone"})).await;
    server.idle().await;
    assert_eq!(server.get("/history/gone").await.json(), json!({}));
    assert_eq!(server.sim.stats().prompts_finished, 3);
}

#[tokio::test]
async fn success_can_come_long_before_the_history_entry() {
    let server = Server::switched(|switches| switches.history_after_success_ms = 200).await;
    let mut socket = server.socket("a").await;
    let prompt_id = server.submit(json!({"prompt": small(1), "client_id": "a"})).await;
    socket.until("execution_success").await;
    assert_eq!(server.get(&format!("/history/{prompt_id}")).await.json(), json!({}));
    socket.until_end().await;
    assert_ne!(server.get(&format!("/history/{prompt_id}")).await.json(), json!({}));
}

#[tokio::test]
async fn events_can_come_before_the_answer() {
    let server = Server::switched(|switches| switches.event_before_response = true).await;
    for colour in 0..5 {
        let prompt_id = server.submit(json!({"prompt": small(colour)})).await;
        assert_eq!(server.sim.stats().starts.get(&prompt_id), Some(&1));
    }
}

#[tokio::test]
async fn events_can_be_held_dropped_or_doubled() {
    let server = Server::switched(|switches| switches.hold_events = true).await;
    let mut socket = server.socket("a").await;
    let submit = async |colour: u32| {
        let prompt_id = server.submit(json!({"prompt": small(colour), "client_id": "a"})).await;
        server.finished(&prompt_id).await;
        server.idle().await;
    };
    submit(1).await;
    assert!(socket.is_silent().await);
    server.sim.update(|switches| switches.hold_events = false);
    let frames = socket.until_end().await;
    assert_eq!(messages(&frames, "executed").len(), 1);

    server.sim.update(|switches| switches.drop_events = true);
    submit(2).await;
    assert!(socket.is_silent().await);

    server.sim.update(|switches| {
        switches.drop_events = false;
        switches.duplicate_events = true;
    });
    submit(3).await;
    let frames = socket.until_end().await;
    assert_eq!(messages(&frames, "executed").len(), 2);
}

#[tokio::test]
async fn progress_can_go_backwards_and_strangers_and_unknown_things_can_appear() {
    let server = Server::switched(|switches| {
        switches.progress_backwards = true;
        switches.foreign_events = true;
        switches.unknown_events = true;
    })
    .await;
    let mut socket = server.socket("a").await;
    let prompt_id = server.submit(json!({"prompt": sampler(1, 3, "x"), "client_id": "a"})).await;
    let frames = socket.until_end().await;
    let (mine, foreign): (Vec<&Value>, Vec<&Value>) =
        messages(&frames, "progress").into_iter().partition(|progress| progress["prompt_id"] == *prompt_id);
    let steps: Vec<&Value> = mine.iter().map(|progress| &progress["value"]).collect();
    assert_eq!(steps, [1, 2, 1, 3, 2]);
    assert!(!foreign.is_empty());
    assert!(types(&frames).contains(&"crystools.monitor"));
    assert!(frames.iter().any(|frame| matches!(frame, Frame::Binary(bytes) if bytes[3] == 0x63)));
}

#[tokio::test]
async fn a_socket_can_go_silent_after_some_messages() {
    let server = Server::switched(|switches| switches.socket_stall_after = Some(3)).await;
    let mut socket = server.socket("a").await;
    let prompt_id = server.submit(json!({"prompt": small(1), "client_id": "a"})).await;
    server.finished(&prompt_id).await;
    socket.next_json().await;
    socket.next_json().await;
    assert!(socket.is_silent().await);
}

#[tokio::test]
async fn previews_can_be_huge_and_messages_come_in_fragments() {
    let server = Server::switched(|switches| {
        switches.preview_method = PreviewMethod::Jpeg;
        switches.preview_bytes = 5 << 20;
        switches.fragment_frames = true;
    })
    .await;
    let mut socket = server.socket("a").await;
    server.submit(json!({"prompt": sampler(1, 1, "x"), "client_id": "a"})).await;
    let frames = socket.until_end().await;
    let previews = frames.iter().filter_map(|frame| match frame {
        Frame::Binary(bytes) => Some(bytes.len()),
        _ => None,
    });
    assert_eq!(previews.collect::<Vec<_>>(), [(5 << 20) + 8]);
    assert!(types(&frames).contains(&"execution_success"));
}

#[tokio::test]
async fn the_clock_can_be_an_hour_off() {
    let server = Server::start().await;
    let time = async |colour: u32| {
        let entry = server.run(small(colour)).await;
        entry["status"]["messages"][0][1]["timestamp"].as_i64().unwrap()
    };
    let right = time(1).await;
    server.sim.update(|switches| switches.clock_skew_ms = -3_600_000);
    assert!(right - time(2).await > 3_500_000);
}

#[tokio::test]
async fn a_blocked_node_is_an_error_that_does_not_end_the_prompt() {
    let server = Server::switched(|switches| switches.block_node = Some("SaveImage".to_owned())).await;
    let mut socket = server.socket("a").await;
    let prompt_id = server.submit(json!({"prompt": small(1), "client_id": "a"})).await;
    let frames = socket.until_end().await;
    let error = messages(&frames, "execution_error")[0];
    assert_eq!(error["exception_type"], "ExecutionBlocked");
    assert!(error.get("timestamp").is_none());
    assert!(types(&frames).contains(&"execution_success"));
    let entry = server.finished(&prompt_id).await;
    assert_eq!((&entry["status"]["status_str"], &entry["outputs"]), (&json!("success"), &json!({})));
    assert_eq!(entry["status"]["messages"].as_array().unwrap().len(), 3);
}
