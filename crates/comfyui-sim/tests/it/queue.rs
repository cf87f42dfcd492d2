//! Order, deletion, interrupts, history, cache and files: what happens to prompts once they are queued.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Frame, Server, endless, messages, read, sampler, small, types, wait_for};

#[tokio::test]
async fn pending_prompts_are_listed_as_a_heap_and_run_by_number() {
    let server = Server::switched(|switches| switches.step_ms = 5).await;
    let blocker = server.submit(json!({"prompt": endless(1), "number": -99})).await;
    server.running(&blocker).await;
    for (id, extra) in [
        ("num0", json!({})),
        ("n1", json!({})),
        ("front1", json!({"front": true})),
        ("n2", json!({"number": 0.5})),
        ("front2", json!({"front": true})),
        ("num-5.5", json!({"number": -5.5})),
    ] {
        let mut body = json!({"prompt": small(1), "prompt_id": id});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        server.submit(body).await;
    }
    let listed = server.get("/queue").await.json();
    let listed: Vec<&str> =
        listed["queue_pending"].as_array().unwrap().iter().map(|item| item[1].as_str().unwrap()).collect();
    // What CPython shows for the same pushes.
    assert_eq!(listed, ["num-5.5", "front1", "front2", "n1", "n2", "num0"]);
    server.post("/interrupt", "").await;
    server.idle().await;
    let history = server.get("/history").await.json();
    let run: Vec<&String> = history.as_object().unwrap().keys().skip(1).collect();
    assert_eq!(run, ["num-5.5", "front2", "front1", "num0", "n2", "n1"]);
}

#[tokio::test]
async fn a_deleted_prompt_leaves_only_two_status_messages_when_it_was_the_last() {
    let server = Server::switched(|switches| switches.step_ms = 5).await;
    let blocker = server.submit(json!({"prompt": endless(1), "client_id": "b"})).await;
    server.running(&blocker).await;
    let mut socket = server.socket("a").await;
    let pending = server.submit(json!({"prompt": small(1), "client_id": "a"})).await;
    server.post_json("/queue", &json!({"delete": [pending, "unknown"]})).await;
    let remaining = async |socket: &mut crate::support::Socket| {
        socket.next_json().await["data"]["status"]["exec_info"]["queue_remaining"].clone()
    };
    assert_eq!(remaining(&mut socket).await, 2);
    assert_eq!(remaining(&mut socket).await, 1);
    assert_eq!(remaining(&mut socket).await, 1);
    assert!(socket.is_silent().await);
    assert_eq!(server.get(&format!("/history/{pending}")).await.json(), json!({}));
    for _ in 0..2 {
        server.submit(json!({"prompt": small(1)})).await;
    }
    server.post_json("/queue", &json!({"clear": true})).await;
    assert_eq!(server.remaining().await, 1);
}

#[tokio::test]
async fn an_interrupt_with_an_id_hits_only_the_running_prompt_and_a_bare_one_whatever_runs() {
    let server = Server::switched(|switches| switches.step_ms = 5).await;
    let first = server.submit(json!({"prompt": endless(1)})).await;
    let second = server.submit(json!({"prompt": endless(2)})).await;
    server.running(&first).await;
    server.post_json("/interrupt", &json!({"prompt_id": second})).await;
    server.post_json("/interrupt", &json!({"prompt_id": "unknown"})).await;
    server.running(&first).await;
    server.post_json("/interrupt", &json!({"prompt_id": first})).await;
    let entry = server.finished(&first).await;
    assert_eq!(entry["status"]["status_str"], "error");
    assert_eq!(entry["status"]["messages"][2][0], "execution_interrupted");
    server.running(&second).await;
    server.post("/interrupt", "").await;
    server.finished(&second).await;
    for body in ["null", "[]"] {
        assert_eq!(server.post("/interrupt", body).await.status, 500);
    }
}

#[tokio::test]
async fn an_interrupt_while_idle_does_not_touch_the_next_prompt() {
    let server = Server::start().await;
    server.post("/interrupt", "{}").await;
    assert_eq!(server.run(small(1)).await["status"]["status_str"], "success");
}

#[tokio::test]
async fn a_node_that_does_not_look_finishes_and_the_next_one_is_blamed() {
    let server = Server::switched(|switches| switches.node_ms = 300).await;
    let mut socket = server.socket("a").await;
    let prompt_id = server.submit(json!({"prompt": small(1), "client_id": "a"})).await;
    socket.until("executing").await;
    server.post_json("/interrupt", &json!({"prompt_id": prompt_id})).await;
    let frames = socket.until_end().await;
    let interrupted = messages(&frames, "execution_interrupted")[0];
    assert_eq!((&interrupted["node_id"], &interrupted["executed"]), (&json!("2"), &json!(["1"])));
}

#[tokio::test]
async fn an_interrupt_during_the_last_node_ends_in_success() {
    let server = Server::switched(|switches| switches.node_ms = 300).await;
    let mut socket = server.socket("a").await;
    let prompt_id = server.submit(json!({"prompt": small(1), "client_id": "a"})).await;
    socket.until_match(|message| message["type"] == "executing" && message["data"]["node"] == "2").await;
    server.post_json("/interrupt", &json!({"prompt_id": prompt_id})).await;
    assert!(types(&socket.until_end().await).contains(&"execution_success"));
}

#[tokio::test]
async fn an_interrupt_is_noticed_only_after_its_delay() {
    let server = Server::switched(|switches| {
        switches.step_ms = 10;
        switches.interrupt_delay_ms = 100;
    })
    .await;
    let mut socket = server.socket("a").await;
    server.submit(json!({"prompt": endless(1), "client_id": "a"})).await;
    socket.until("progress").await;
    server.post("/interrupt", "").await;
    let frames = socket.until_end().await;
    assert!(messages(&frames, "progress").len() >= 2, "steps go on until the interrupt is noticed");
}

#[tokio::test]
async fn a_repeated_prompt_comes_from_the_cache_until_memory_is_freed() {
    let server = Server::start().await;
    let mut socket = server.socket("a").await;
    let body = json!({"prompt": small(1), "client_id": "a"});
    let run = async |socket: &mut crate::support::Socket| {
        let prompt_id = server.submit(body.clone()).await;
        let frames = socket.until_end().await;
        let entry = server.finished(&prompt_id).await;
        (frames, entry["outputs"]["2"]["images"][0]["filename"].clone())
    };
    let (_, first) = run(&mut socket).await;
    let (frames, second) = run(&mut socket).await;
    assert_eq!(first, second);
    assert_eq!(messages(&frames, "execution_cached")[0]["nodes"], json!(["1", "2"]));
    let order = [
        "status",
        "status",
        "execution_start",
        "execution_cached",
        "executed",
        "progress_state",
        "execution_success",
        "status",
        "executing",
    ];
    assert_eq!(types(&frames), order);
    server.post_json("/free", &json!({"unload_models": true})).await;
    assert_eq!(run(&mut socket).await.1, first);
    server.post_json("/free", &json!({"free_memory": true})).await;
    let (_, fresh) = run(&mut socket).await;
    assert_ne!(fresh, first);
}

#[tokio::test]
async fn a_changed_upload_is_loaded_again_under_the_same_name() {
    let server = Server::start().await;
    let prompt = json!({"1": {"class_type": "LoadImage", "inputs": {"image": "p.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "l"}}});
    let mut pictures = Vec::new();
    for edge in [4_u32, 6] {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::RgbaImage::new(edge, edge).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        server.upload("p.png", bytes.into_inner(), &[("overwrite", "true")]).await;
        let entry = server.run(prompt.clone()).await;
        pictures.push(image::load_from_memory(&server.first_picture(&entry).await).unwrap().width());
    }
    assert_eq!(pictures, [4, 6]);
}

#[tokio::test]
async fn history_lists_the_newest_in_order_and_forgets_what_is_deleted() {
    let server = Server::switched(|switches| switches.history_cap = 2).await;
    for id in ["a", "b", "c", "d"] {
        server.submit(json!({"prompt": small(1), "prompt_id": id})).await;
    }
    server.finished("d").await;
    let ids = async |path: &str| server.get(path).await.json().as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(ids("/history").await, ["b", "c", "d"]);
    assert_eq!(ids("/history?max_items=2").await, ["c", "d"]);
    assert_eq!(ids("/history?offset=1&max_items=1").await, ["c"]);
    assert_eq!(server.get("/history?max_items=x").await.status, 500);
    assert_eq!(server.post_json("/history", &json!({"delete": ["c"]})).await.body.len(), 0);
    assert_eq!(ids("/api/history").await, ["b", "d"]);
    server.post_json("/history", &json!({"clear": true})).await;
    assert_eq!(ids("/history").await, Vec::<String>::new());
    assert_eq!(server.post("/history", "").await.status, 500);
}

#[tokio::test]
async fn cached_outputs_of_nodes_that_did_not_run_are_listed_by_the_recorded_release() {
    let server = Server::start().await;
    let mut prompt = small(1);
    prompt["4"] = json!({"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}});
    server.run(prompt.clone()).await;
    let prompt_id = server.submit(json!({"prompt": prompt, "partial_execution_targets": ["2"]})).await;
    let entry = server.finished(&prompt_id).await;
    let listed: Vec<&String> = entry["outputs"].as_object().unwrap().keys().collect();
    assert_eq!(listed.len(), 2);
}

#[tokio::test]
async fn unknown_paths_answer_as_static_files_or_wrong_methods() {
    let server = Server::start().await;
    for path in ["/nothing", "/api/jobs", "/interrupt", "/a/b/c"] {
        let reply = server.get(path).await;
        assert_eq!(
            (reply.status, reply.kind.as_str(), reply.body.len()),
            (404, "application/octet-stream", 0),
            "{path}"
        );
    }
    for path in ["/nothing", "/api/jobs/x/cancel", "/view"] {
        let reply = server.post(path, "").await;
        assert_eq!((reply.status, reply.text().as_str()), (405, "405: Method Not Allowed"), "{path}");
    }
    assert_eq!(server.get("/models/nothing").await.status, 404);
    let foreign = server.request(Method::GET, "/queue").header("origin", "http://evil.example");
    assert_eq!(read(foreign).await.unwrap().status, 403);
}

#[tokio::test]
async fn files_are_served_with_ranges_tags_and_the_statuses_of_comfyui() {
    let server = Server::start().await;
    server.upload("a.svg", b"<svg/>0123456789".to_vec(), &[]).await;
    let path = "/view?filename=a.svg&type=input";
    let whole = server.get(path).await;
    assert_eq!((whole.status, whole.kind.as_str()), (200, "image/svg+xml"));
    let etag = whole.headers["etag"].to_str().unwrap().to_owned();
    assert!(whole.headers.contains_key("last-modified") && whole.headers.contains_key("accept-ranges"));
    let part = read(server.request(Method::GET, path).header("range", "bytes=6-8")).await.unwrap();
    assert_eq!((part.status, part.text().as_str()), (206, "012"));
    assert_eq!(part.headers["content-range"], "bytes 6-8/16");
    let same = read(server.request(Method::GET, path).header("if-none-match", etag)).await.unwrap();
    assert_eq!(same.status, 304);
    let head = read(server.request(Method::HEAD, path)).await.unwrap();
    assert_eq!((head.status, head.headers["content-length"].to_str().unwrap(), head.body.len()), (200, "16", 0));
    for (path, status) in [
        ("/view", 404),
        ("/view?filename=", 400),
        ("/view?filename=a..b.png", 400),
        ("/view?filename=x.png&type=nowhere", 400),
        ("/view?filename=x.png&subfolder=../..", 403),
        ("/view?filename=x.png", 404),
        ("/view?filename=a.svg%20[input]", 200),
        ("/view?filename=dir/a.svg&type=input", 200),
        ("/view?filename=a.svg&type=input&preview=webp", 500),
        ("/view?filename=a.svg&type=input&channel=a", 500),
        ("/view?filename=example.png&type=input&preview=jpeg;80", 200),
        ("/view?filename=example.png&type=input&channel=rgb", 200),
    ] {
        assert_eq!(server.get(path).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn uploads_are_refused_renamed_and_merged_like_comfyui_does() {
    let server = Server::start().await;
    assert_eq!(server.post("/upload/image", "{}").await.status, 400);
    assert_eq!(server.upload("a.png", vec![1], &[("type", "nowhere")]).await.status, 500);
    assert_eq!(server.upload("a.png", vec![1], &[]).await.json()["name"], "a.png");
    assert_eq!(server.upload("a.png", vec![2], &[]).await.json()["name"], "a (1).png");
    assert_eq!(server.upload("a.png", vec![2], &[]).await.json()["name"], "a (1).png");
    assert_eq!(server.upload("a.png", vec![3], &[]).await.json()["name"], "a (2).png");
    let choices = server.get("/object_info/LoadImage").await.json();
    assert_eq!(
        choices["LoadImage"]["input"]["required"]["image"][0],
        json!(["a (1).png", "a (2).png", "a.png", "example.png"])
    );
}

async fn upload_mask(server: &Server, original: Option<Value>) -> crate::support::Reply {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbaImage::new(8, 8).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    let part = reqwest::multipart::Part::bytes(bytes.into_inner()).file_name("masked.png");
    let mut form = reqwest::multipart::Form::new().part("image", part);
    if let Some(original) = original {
        form = form.text("original_ref", original.to_string());
    }
    read(server.request(Method::POST, "/upload/mask").multipart(form)).await.unwrap()
}

#[tokio::test]
async fn a_mask_without_an_original_says_200_and_writes_nothing() {
    let server = Server::start().await;
    assert_eq!(upload_mask(&server, None).await.status, 500);
    let absent = json!({"filename": "absent.png", "type": "input"});
    assert_eq!(upload_mask(&server, Some(absent)).await.status, 200);
    assert_eq!(server.get("/view?filename=masked.png&type=input").await.status, 404);
    let example = json!({"filename": "example.png", "type": "input"});
    assert_eq!(upload_mask(&server, Some(example)).await.status, 200);
    let merged = server.get("/view?filename=masked.png&type=input").await;
    let merged = image::load_from_memory(&merged.body).unwrap().to_rgba8();
    assert!(merged.pixels().all(|pixel| pixel.0[3] == 0) && merged.width() == 64);
}

#[tokio::test]
async fn pictures_sent_over_the_socket_leave_nothing_in_the_history_and_are_sent_anew() {
    let server = Server::start().await;
    let mut socket = server.socket("a").await;
    let prompt = json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 2, "color": 1}},
        "2": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
    });
    for _ in 0..2 {
        let prompt_id = server.submit(json!({"prompt": prompt, "client_id": "a"})).await;
        let frames = socket.until_end().await;
        let pictures = frames.iter().filter_map(|frame| match frame {
            Frame::Binary(bytes) => Some(bytes),
            _ => None,
        });
        let pictures: Vec<_> = pictures.collect();
        assert_eq!(pictures.len(), 2);
        assert_eq!(pictures[0][..8], [0, 0, 0, 1, 0, 0, 0, 2]);
        assert_eq!(image::load_from_memory(&pictures[0][8..]).unwrap().width(), 8);
        assert!(!types(&frames).contains(&"executed"));
        let entry = server.finished(&prompt_id).await;
        assert_eq!((&entry["outputs"], &entry["meta"]), (&json!({}), &json!({})));
    }
}

#[tokio::test]
async fn texts_of_nodes_go_to_every_socket() {
    let server = Server::start().await;
    let mut stranger = server.socket("stranger").await;
    let prompt = json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 32, "batch_size": 1, "color": 1}},
        "2": {"class_type": "GetImageSize", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "PreviewAny", "inputs": {"source": ["2", 0]}},
    });
    let prompt_id = server.submit(json!({"prompt": prompt, "client_id": "a"})).await;
    let entry = server.finished(&prompt_id).await;
    assert_eq!(entry["outputs"]["3"], json!({"text": ["64"]}));
    let text = loop {
        if let Frame::Binary(bytes) = stranger.next().await {
            break bytes;
        }
    };
    assert_eq!(text[..9], [0, 0, 0, 3, 0, 0, 0, 1, b'2']);
    assert!(text.ends_with(b"width: 64, height: 32\n batch size: 1"));
}

#[tokio::test]
async fn every_output_class_leaves_a_file_that_can_be_fetched() {
    let server = Server::start().await;
    let image = json!({"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 1}});
    let webp = json!({"class_type": "SaveAnimatedWEBP", "inputs": {"images": ["1", 0], "filename_prefix": "w", "fps": 6.0,
        "lossless": true, "quality": 80, "method": "default"}});
    let video = json!({"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 8.0}});
    let save_video = json!({"class_type": "SaveVideo", "inputs": {"video": ["3", 0], "filename_prefix": "video/v",
        "format": "auto", "codec": "auto"}});
    let entry = server.run(json!({"1": image, "2": webp, "3": video, "4": save_video})).await;
    let files =
        [(&entry["outputs"]["2"]["images"][0], "image/webp"), (&entry["outputs"]["4"]["images"][0], "video/mp4")];
    for (file, kind) in files {
        let name = file["filename"].as_str().unwrap();
        let reply =
            server.get(&format!("/view?filename={name}&subfolder={}", file["subfolder"].as_str().unwrap())).await;
        assert_eq!((reply.status, reply.kind.as_str()), (200, kind));
    }
    assert_eq!(entry["outputs"]["4"]["animated"], json!([true]));
}

#[tokio::test]
async fn a_prefix_that_leaves_the_output_folder_fails_when_it_runs() {
    let server = Server::start().await;
    let mut prompt = small(1);
    prompt["2"]["inputs"]["filename_prefix"] = json!("../../etc/x");
    let entry = server.run(prompt).await;
    let error = &entry["status"]["messages"][2][1];
    assert!(error["exception_message"].as_str().unwrap().contains("outside the output folder is not allowed"));
}

#[tokio::test]
async fn the_first_use_of_a_model_takes_its_time_and_later_ones_do_not() {
    let server = Server::switched(|switches| switches.load_ms = 60).await;
    let took = async |seed: u64| {
        let entry = server.run(sampler(seed, 1, "x")).await;
        let time = |place: usize| entry["status"]["messages"][place][1]["timestamp"].as_i64().unwrap();
        time(2) - time(0)
    };
    assert!(took(1).await >= 60);
    wait_for(async || (server.remaining().await == 0).then_some(())).await;
    let loads = server.run(sampler(2, 1, "x")).await;
    assert_eq!(loads["status"]["messages"][1][1]["nodes"], json!(["4", "5", "6", "7"]));
}
