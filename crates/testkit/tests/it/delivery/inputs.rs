//! Inputs that are files: given in every way, seen by ComfyUI as they were sent, never kept with the job.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use comfyui_sim::{SimConfig, Simulator};
use gateway_core::ErrorCode;
use gateway_core::allowlist::Allowlist;
use gateway_core::workflow::bundled;
use gateway_testkit::{Answer, Receiver, Reply, TestBuilder, TestGateway, until};
use image::{ImageFormat, Rgb, RgbImage};
use serde_json::{Value, json};

use super::{
    UNKNOWN, copying, encoded, ended, fetching, handed, id, listed, noise, output, pixels, prompts, refused, sha256,
    stored, submit, text, upload, wav, wish,
};

/// URLs that lead somewhere else than to the port that is allowed, or are written so that they could.
const URLS: &[&str] = &[
    "http://localhost:PORT/x.png",
    "http://[::1]:PORT/x.png",
    "http://127.1:PORT/x.png",
    "http://2130706433:PORT/x.png",
    "http://10.0.0.1:PORT/x.png",
    "http://user:word@127.0.0.1:PORT/x.png",
    "http://127.0.0.1/x.png",
    "http://169.254.169.254/latest/meta-data/",
    "https://[fd00:ec2::254]/",
    "//127.0.0.1:PORT/x.png",
    "127.0.0.1:PORT/x.png",
    " http://127.0.0.1:PORT/x.png",
    "ftp://127.0.0.1:PORT/x.png",
    "gopher://127.0.0.1:PORT/x.png",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "data:image/png;base64,AAAA",
    "x",
];

/// A job of its own that copies `image`.
fn copy(image: &Value) -> Value {
    json!({"workflowId": "copy", "inputs": {"image": image}, "cache": false})
}

/// Asks for a copy of `image`; gives the job, once it has succeeded.
async fn copied(test: &TestGateway, image: &Value) -> Value {
    let id = submit(test, &copy(image), 202).await;
    test.wait_status(&id, "succeeded").await
}

/// The ways to give the file in `bytes`, which `url` has and which was handed in as `upload`.
fn ways(bytes: &[u8], upload: &str, url: &str) -> [(&'static str, Value); 6] {
    let encoded = STANDARD.encode(bytes);
    [
        ("an upload", json!({"uploadId": upload})),
        ("Base64", json!({"base64": encoded})),
        ("Base64 for URLs", json!({"base64": URL_SAFE.encode(bytes)})),
        ("a data URL", json!({"base64": format!("data:image/png;base64,{encoded}")})),
        ("a data URL of another type", json!({"base64": format!("data:text/html;charset=utf-8;base64,{encoded}")})),
        ("a URL", json!({"url": url})),
    ]
}

/// Asserts that `answer` refuses these inputs, and that neither a job nor a file came of it.
async fn nothing_came(test: &TestGateway, what: &str, answer: &Answer, paths: &[&str]) {
    let told = (answer.status, answer.code());
    assert_eq!(told, (422, "VALIDATION_ERROR".to_owned()), "{what}: {}", answer.json());
    assert_eq!(answer.fault_paths(), paths, "{what}: {}", answer.json());
    assert!(listed(test).await.is_empty(), "{what} made a job");
    assert!(stored(test).is_empty(), "{what} left {:?}", stored(test));
}

/// Registers the workflow `id` that comes with the gateway.
async fn register_bundled(test: &TestGateway, id: &str) {
    let workflow = bundled().iter().find(|workflow| workflow.id == id).expect("a workflow");
    let parsed = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    test.register(id, json!({"workflow": parsed(workflow.graph), "inputSchema": parsed(workflow.schema)})).await;
}

/// Whether any of the files of the database holds `text`.
fn database_holds(test: &TestGateway, text: &str) -> bool {
    let files = std::fs::read_dir(test.folder()).expect("a folder").flatten().map(|entry| entry.path());
    let mut all = files.filter(|path| path.is_file()).map(|path| std::fs::read(path).expect("bytes"));
    all.any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

/// The largest difference of a channel between `picture` and `colour`, over the columns from `from` to before `to`.
fn difference(picture: &RgbImage, colour: [u8; 3], from: u32, to: u32) -> u8 {
    let columns = picture.enumerate_pixels().filter(|(x, _, _)| (from..to).contains(x));
    let channels = columns.flat_map(|(_, _, pixel)| pixel.0.into_iter().zip(colour));
    channels.map(|(one, other)| one.abs_diff(other)).max().expect("a pixel")
}

#[tokio::test]
async fn comfyui_sees_the_picture_that_was_sent_however_it_was_given() {
    let (picture, other) = (noise(40, 24, 1), noise(24, 40, 2));
    let png = encoded(&picture, ImageFormat::Png);
    let served = png.clone();
    let receiver = Receiver::answering(move |_| Reply::status(200).body(served.clone())).await;
    let test = copying(fetching(&receiver)).await;
    let id = upload(&test, &png).await;
    for (way, image) in ways(&png, &id, &receiver.url("/page.html?x=1")) {
        let job = copied(&test, &image).await;
        assert!(pixels(&output(&test, &job).await) == picture, "{way}: another picture");
        let resolved = &job["resolvedInputs"]["image"];
        assert_eq!(
            (&resolved["sha256"], &resolved["contentType"]),
            (&json!(sha256(&png)), &json!("image/png")),
            "{way}"
        );
    }
    assert_eq!(receiver.count(), 1);
    assert_eq!(receiver.requests()[0].path, "/page.html?x=1");
    for (format, content_type) in
        [(ImageFormat::Png, "image/png"), (ImageFormat::Jpeg, "image/jpeg"), (ImageFormat::WebP, "image/webp")]
    {
        let file = encoded(&other, format);
        let job = copied(&test, &json!({"uploadId": upload(&test, &file).await})).await;
        assert_eq!(job["resolvedInputs"]["image"]["contentType"], content_type, "{job}");
        assert!(pixels(&output(&test, &job).await) == pixels(&file), "{content_type}: another picture");
    }
}

#[tokio::test]
async fn the_output_of_an_earlier_job_can_be_given() {
    let test = copying(TestBuilder::default()).await;
    let id = submit(&test, &wish("sampler", json!({"seed": 3})), 202).await;
    let first = test.wait_status(&id, "succeeded").await;
    let image = json!({"jobId": id, "file": first["outputs"][0]["file"]});
    let second = copied(&test, &image).await;
    assert!(pixels(&output(&test, &second).await) == pixels(&output(&test, &first).await), "another picture");
    assert_eq!(second["inputs"]["image"], image);
    assert_eq!(second["resolvedInputs"]["image"]["sha256"], first["outputs"][0]["sha256"]);
    for image in [
        json!({"jobId": id, "file": "image_002.png"}),
        json!({"jobId": id, "file": "../image_001.png"}),
        json!({"jobId": UNKNOWN, "file": "image_001.png"}),
        json!({"jobId": "x", "file": "image_001.png"}),
    ] {
        let answer = test.post("/jobs", &copy(&image)).await;
        refused(&answer, ErrorCode::ValidationError);
        assert_eq!(answer.fault_paths(), ["/inputs/image"], "{image}");
    }
}

#[tokio::test]
async fn what_was_sent_as_base64_is_kept_as_a_file_and_not_with_the_job() {
    let test = copying(TestBuilder::default()).await;
    let picture = noise(64, 64, 1);
    let png = encoded(&picture, ImageFormat::Png);
    let encoded = STANDARD.encode(&png);
    let image = json!({"base64": encoded});
    for (place, body) in [
        ("inputs", copy(&image)),
        ("params", json!({"workflowId": "copy", "inputs": {}, "params": {"image": image}, "cache": false})),
    ] {
        let id = submit(&test, &body, 202).await;
        let job = test.wait_status(&id, "succeeded").await;
        let upload = text(&job, "/resolvedInputs/image/uploadId");
        assert_eq!(job[place], json!({"image": {"uploadId": upload}}), "{job}");
        assert!(stored(&test).iter().any(|file| file.to_string_lossy().contains(&upload)));

        let again = super::id(&test.post(&format!("/jobs/{id}/retry"), &json!({})).await.expect(202));
        let again = test.wait_status(&again, "succeeded").await;
        assert!(pixels(&output(&test, &again).await) == picture, "another picture");
        assert_eq!(again[place], job[place]);
    }
    for part in [100, encoded.len() / 2, encoded.len() - 200] {
        assert!(!database_holds(&test, encoded.get(part..part + 64).expect("a part")), "the database holds the bytes");
    }
    assert!(database_holds(&test, &sha256(&png)), "or else nothing would be found there");
}

#[tokio::test]
async fn the_same_content_is_the_same_result_and_is_handed_to_comfyui_once() {
    let png = encoded(&noise(40, 24, 1), ImageFormat::Png);
    let served = png.clone();
    let receiver = Receiver::answering(move |_| Reply::status(200).body(served.clone())).await;
    let test = copying(fetching(&receiver)).await;
    let upload_id = upload(&test, &png).await;
    let mut first = None;
    for (way, image) in ways(&png, &upload_id, &receiver.url("/cat.png")) {
        let answer = test.post("/jobs", &wish("copy", json!({"image": image}))).await;
        let Some(first) = &first else {
            let id = id(&answer.expect(202));
            test.wait_status(&id, "succeeded").await;
            first = Some(id);
            continue;
        };
        assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("cache_hit")), "{way}: {}", answer.json());
        let job = test.job(&id(&answer)).await;
        assert_eq!(&job["cachedFrom"], first, "{way}: {job}");
    }
    assert_eq!((prompts(&test), handed(&test)), (1, 1));

    let other = encoded(&noise(40, 24, 2), ImageFormat::Png);
    let other = json!({"base64": STANDARD.encode(other)});
    let id = submit(&test, &wish("copy", json!({"image": other})), 202).await;
    test.wait_status(&id, "succeeded").await;
    assert_eq!((prompts(&test), handed(&test)), (2, 2));

    for (way, image) in ways(&png, &upload_id, &receiver.url("/cat.png")) {
        copied(&test, &image).await;
        assert_eq!(handed(&test), 2, "{way}: what ComfyUI has is not sent again");
    }
    assert_eq!(prompts(&test), 8);
}

#[tokio::test]
async fn jobs_that_begin_together_hand_a_file_over_once() {
    let test = copying(TestBuilder::default().settings(|settings| settings.worker.concurrency = 4)).await;
    // Large enough for handing it over to take a while.
    let image = json!({"uploadId": upload(&test, &encoded(&noise(1_500, 1_500, 1), ImageFormat::Png)).await});
    let _paused = test.post("/queue/pause", &json!({})).await.expect(200);
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(submit(&test, &copy(&image), 202).await);
    }
    let _resumed = test.post("/queue/resume", &json!({})).await.expect(200);
    ended(&test, &ids, "succeeded").await;
    assert_eq!(handed(&test), 1);
}

#[tokio::test]
async fn what_is_no_file_is_refused_where_it_stands_and_makes_no_job() {
    let test = copying(TestBuilder::default()).await;
    let png = STANDARD.encode(encoded(&noise(8, 8, 1), ImageFormat::Png));
    for (image, below) in [
        (json!({"uploadId": UNKNOWN}), ""),
        (json!({"uploadId": "x"}), ""),
        (json!({"uploadId": "../x"}), ""),
        (json!({"base64": "not Base64!"}), ""),
        (json!({"base64": png.trim_start_matches('i')}), ""),
        (json!({"base64": format!("data:image/png,{png}")}), ""),
        (json!({"base64": format!("data:image/png;base64;{png}")}), ""),
        (json!({"base64": "data:image/png;base64,"}), ""),
        (json!({"base64": STANDARD.encode("hello")}), ""),
        (json!({"base64": STANDARD.encode("<svg xmlns='http://www.w3.org/2000/svg'/>")}), ""),
        (json!({"base64": ""}), "/base64"),
        (json!({"base64": 7}), "/base64"),
        (json!({"uploadId": null}), "/uploadId"),
        (json!({"jobId": UNKNOWN}), ""),
        (json!({"jobId": UNKNOWN, "file": "image_001.png"}), ""),
        (json!({"base64": png, "url": "https://example.com/x.png"}), ""),
        (json!({"path": "/etc/passwd"}), ""),
        (json!({}), ""),
        (json!("x.png"), ""),
        (json!(7), ""),
        (json!([png]), ""),
    ] {
        let answer = test.post("/jobs", &copy(&image)).await;
        nothing_came(&test, &image.to_string(), &answer, &[&format!("/inputs/image{below}")]).await;
        let body = json!({"workflowId": "copy", "inputs": {}, "params": {"image": image}});
        let answer = test.post("/jobs", &body).await;
        nothing_came(&test, &image.to_string(), &answer, &[&format!("/params/image{below}")]).await;
    }
    assert_eq!((prompts(&test), handed(&test)), (0, 0));
}

#[tokio::test]
async fn a_file_of_another_kind_is_refused_and_one_of_the_kind_is_handed_over() {
    let test = copying(TestBuilder::default()).await;
    let workflow = json!({
        "workflow": {
            "1": {"class_type": "LoadAudio", "inputs": {"audio": "{{sound}}"}},
            "2": {"class_type": "SaveAudio", "inputs": {"audio": ["1", 0], "filename_prefix": "x"}}
        },
        "inputSchema": {
            "type": "object",
            "properties": {"sound": {"type": "object", "format": "audio"}},
            "required": ["sound"]
        }
    });
    test.register("listen", workflow).await;
    let sound = wav(100);
    let sound_id = json!({"uploadId": upload(&test, &sound).await});
    let picture_id = json!({"uploadId": upload(&test, &encoded(&noise(8, 8, 1), ImageFormat::Png)).await});
    for (workflow, name, file, is, wanted) in [
        ("copy", "image", &sound_id, "audio/wav", "image"),
        ("copy", "image", &json!({"base64": STANDARD.encode(&sound)}), "audio/wav", "image"),
        ("listen", "sound", &picture_id, "image/png", "audio"),
    ] {
        let answer = test.post("/jobs", &wish(workflow, json!({name: file}))).await;
        refused(&answer, ErrorCode::ValidationError);
        assert_eq!(answer.fault_paths(), [format!("/inputs/{name}")]);
        let message = text(&answer.json(), "/errors/0/message");
        assert!(message.contains(is) && message.contains(wanted), "{message}");
    }
    assert!(listed(&test).await.is_empty());
    let id = submit(&test, &wish("listen", json!({"sound": sound_id})), 202).await;
    // ComfyUI refuses a sound that it does not have.
    let job = test.wait_status(&id, "succeeded").await;
    assert_eq!(job["outputs"][0]["kind"], "audio", "{job}");
    assert_eq!(handed(&test), 1);
}

#[tokio::test]
async fn what_no_url_gives_is_no_input_and_makes_no_job() {
    let png = encoded(&noise(8, 8, 1), ImageFormat::Png);
    let elsewhere = Receiver::start().await;
    let target = elsewhere.url("/cat.png");
    let receiver = Receiver::answering(move |request| match request.path.as_str() {
        "/gone" => Reply::status(404).body(png.clone()),
        "/broken" => Reply::status(500),
        "/moved" => Reply::status(302).header("location", &target).body(png.clone()),
        "/page" => Reply::status(200).header("content-type", "image/png").body("<html>hello</html>"),
        "/empty" => Reply::status(200),
        "/large" => Reply::status(200).body(vec![0_u8; 100_001]),
        "/half" => Reply::status(200).body(png[..png.len() / 2].to_vec()),
        _ => Reply::close(),
    })
    .await;
    let ports = [receiver.port(), elsewhere.port()];
    let test = copying(TestBuilder::default().settings(move |settings| {
        let hosts = ports.map(|port| format!("127.0.0.1:{port}")).join(",");
        settings.files.urls.allow = Allowlist::parse(&hosts).expect("a list of hosts");
        settings.files.max_upload_bytes = 100_000;
    }))
    .await;
    let paths = ["/gone", "/broken", "/moved", "/page", "/empty", "/large", "/half", "/closed"];
    for path in paths {
        let answer = test.post("/jobs", &copy(&json!({"url": receiver.url(path)}))).await;
        nothing_came(&test, path, &answer, &["/inputs/image"]).await;
        let told = answer.json().to_string();
        assert!(!told.contains("hello") && !told.contains("cat.png"), "{told}");
    }
    assert_eq!((receiver.count(), elsewhere.count()), (paths.len(), 0), "each is asked for once, and nobody else");
    let nobody = copy(&json!({"url": elsewhere.url("/x")}));
    drop(elsewhere);
    nothing_came(&test, "nobody", &test.post("/jobs", &nobody).await, &["/inputs/image"]).await;
}

#[tokio::test]
async fn a_url_that_may_not_be_fetched_is_refused_and_not_tried() {
    let png = encoded(&noise(8, 8, 1), ImageFormat::Png);
    let receiver = Receiver::answering(move |_| Reply::status(200).body(png.clone())).await;
    let port = receiver.port();
    let test = copying(fetching(&receiver)).await;
    let mut urls: Vec<String> = URLS.iter().map(|url| url.replace("PORT", &port.to_string())).collect();
    urls.push(format!("http://127.0.0.1:{}/x.png", port ^ 1));
    urls.push(receiver.url(&format!("/{}", "x".repeat(5_000))));
    for url in urls {
        let answer = test.post("/jobs", &copy(&json!({"url": url}))).await;
        nothing_came(&test, &url, &answer, &["/inputs/image"]).await;
    }
    let usual = copying(TestBuilder::default()).await;
    let answer = usual.post("/jobs", &copy(&json!({"url": receiver.url("/x.png")}))).await;
    nothing_came(&usual, "a private address", &answer, &["/inputs/image"]).await;
    assert_eq!(receiver.count(), 0);
    copied(&test, &json!({"url": receiver.url("/x.png")})).await;
}

#[tokio::test]
async fn an_upload_that_is_gone_when_its_job_runs_fails_the_job() {
    let test = copying(TestBuilder::default()).await;
    let id = upload(&test, &encoded(&noise(8, 8, 1), ImageFormat::Png)).await;
    for file in stored(&test) {
        std::fs::remove_file(file).expect("removed");
    }
    let job = submit(&test, &copy(&json!({"uploadId": id})), 202).await;
    let job = test.wait_status(&job, "failed").await;
    assert_eq!((&job["error"]["code"], &job["attempt"]), (&json!("UPLOAD_NOT_FOUND"), &json!(1)), "{job}");
    assert_eq!((prompts(&test), handed(&test)), (0, 0));
    // Whoever comes next is not kept waiting.
    copied(&test, &json!({"uploadId": upload(&test, &encoded(&noise(8, 8, 2), ImageFormat::Png)).await})).await;
}

#[tokio::test]
async fn a_comfyui_that_has_lost_its_files_is_given_them_again() {
    let mut test = copying(TestBuilder::default()).await;
    let picture = noise(40, 24, 1);
    let image = json!({"uploadId": upload(&test, &encoded(&picture, ImageFormat::Png)).await});
    copied(&test, &image).await;
    let listen = test.sim.address();
    test.sim.crash().await;
    // Another one in its place, whose input folder is empty.
    test.sim = Simulator::start(SimConfig { listen, ..SimConfig::default() }).await.expect("the port is free");
    until("the gateway listens to it", || async { (test.sim.stats().open_sockets > 0).then_some(()) }).await;
    let job = copied(&test, &image).await;
    assert!(pixels(&output(&test, &job).await) == picture, "another picture");
    assert_eq!((prompts(&test), handed(&test)), (1, 1));
}

#[tokio::test]
async fn a_picture_is_changed_as_far_as_its_strength_says() {
    let test = copying(TestBuilder::default()).await;
    register_bundled(&test, "img2img").await;
    let colour = [200, 40, 40];
    let image = encoded(&RgbImage::from_pixel(64, 80, Rgb(colour)), ImageFormat::Png);
    let image = json!({"uploadId": upload(&test, &image).await});
    for (strength, count, differs) in [(0.05, 1, 0..=20), (1.0, 2, 60..=255)] {
        let inputs = json!({
            "image": image, "prompt": "a lighthouse", "strength": strength, "seed": 1, "steps": 2, "width": 256,
            "height": 320, "batch_size": count
        });
        let id = submit(&test, &wish("img2img", inputs), 202).await;
        let job = test.wait_status(&id, "succeeded").await;
        let outputs = job["outputs"].as_array().expect("a list");
        assert_eq!(outputs.len(), count, "{job}");
        for made in outputs {
            assert_eq!((&made["width"], &made["height"]), (&json!(256), &json!(320)), "{made}");
            let picture = pixels(&test.get(&text(made, "/url")).await.expect(200).bytes);
            assert_eq!(picture.dimensions(), (256, 320));
            let difference = difference(&picture, colour, 0, 256);
            assert!(differs.contains(&difference), "strength {strength}: {difference}");
        }
    }
}

#[tokio::test]
async fn a_picture_is_painted_anew_where_its_mask_is_white_and_nowhere_else() {
    let test = copying(TestBuilder::default()).await;
    register_bundled(&test, "inpaint").await;
    let colour = [200, 40, 40];
    let image = encoded(&RgbImage::from_pixel(64, 64, Rgb(colour)), ImageFormat::Jpeg);
    let mask = RgbImage::from_fn(64, 64, |x, _| if x < 32 { Rgb([255; 3]) } else { Rgb([0; 3]) });
    let mask = STANDARD.encode(encoded(&mask, ImageFormat::Png));
    let inputs = json!({
        "image": {"uploadId": upload(&test, &image).await}, "mask": {"base64": mask}, "prompt": "a window",
        "seed": 1, "steps": 2, "width": 256, "height": 256
    });
    let id = submit(&test, &wish("inpaint", inputs), 202).await;
    let job = test.wait_status(&id, "succeeded").await;
    let picture = pixels(&output(&test, &job).await);
    assert_eq!(picture.dimensions(), (256, 256));
    let (painted, kept) = (difference(&picture, colour, 0, 96), difference(&picture, colour, 160, 256));
    assert!(painted > 60 && kept < 10, "where it is white {painted}, where it is black {kept}");
    assert_eq!(handed(&test), 2);
}

#[tokio::test]
async fn several_wrong_files_are_named_at_once() {
    let test = copying(TestBuilder::default()).await;
    register_bundled(&test, "inpaint").await;
    let body = json!({
        "workflowId": "inpaint", "inputs": {"image": {"uploadId": UNKNOWN}, "prompt": "a window"},
        "params": {"mask": {"base64": "x"}}
    });
    let answer = test.post("/jobs", &body).await;
    nothing_came(&test, "both", &answer, &["/inputs/image", "/params/mask"]).await;
}
