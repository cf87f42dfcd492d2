//! The forms in which outputs are served and stored: converted, made small, without what ComfyUI writes into them.

use std::path::PathBuf;

use comfyui_sim::ViewFault;
use gateway_core::ErrorCode;
use gateway_testkit::{Answer, TestBuilder, TestGateway, sampler_workflow, until};
use image::{ImageFormat, RgbImage};
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use super::{
    copying, encoded, noise, output, pixels, prompts, refused, sha256, start, stored, submit, text, until_stored,
    upload, wish,
};

/// What a workflow of these tests says to its model.
const WORDS: &str = "a fox that nobody may hear of";

/// The picture of most tests, 300 pixels wide and 200 high.
fn picture() -> RgbImage {
    noise(300, 200, 1)
}

/// The job that copies `picture`, with these wishes for its output.
async fn copied(test: &TestGateway, picture: &RgbImage, wishes: Value) -> Value {
    let image = json!({"uploadId": upload(test, &encoded(picture, ImageFormat::Png)).await});
    let body = json!({"workflowId": "copy", "inputs": {"image": image}, "output": wishes});
    let id = submit(test, &body, 202).await;
    test.wait_status(&id, "succeeded").await
}

/// A job of `tiny`, whose picture is as large as that of [`picture`].
async fn tiny(test: &TestGateway, color: u32) -> Value {
    let id = submit(test, &wish("tiny", json!({"color": color, "width": 300, "height": 200})), 202).await;
    test.wait_status(&id, "succeeded").await
}

/// The URL of the job's first output.
#[track_caller]
fn url(job: &Value) -> String {
    text(job, "/outputs/0/url")
}

/// The first output of `job` in the form that `query` asks for.
async fn form(test: &TestGateway, job: &Value, query: &str) -> Answer {
    test.get(&format!("{}?{query}", url(job))).await.expect(200)
}

/// What `bytes` are, and how many pixels wide and high.
#[track_caller]
fn facts(bytes: &[u8]) -> (ImageFormat, u32, u32) {
    let picture = pixels(bytes);
    (image::guess_format(bytes).expect("a format"), picture.width(), picture.height())
}

/// The one file in the storage that is not among `known`.
#[track_caller]
fn new_file(test: &TestGateway, known: &[PathBuf]) -> PathBuf {
    let mut new: Vec<PathBuf> = stored(test).into_iter().filter(|file| !known.contains(file)).collect();
    assert_eq!(new.len(), 1, "{new:?}");
    new.remove(0)
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Two pictures that follow each other, as WebP.
fn animated_webp() -> Vec<u8> {
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let length = u32::try_from(data.len()).expect("a short chunk").to_le_bytes();
        let padding: &[u8] = if data.len().is_multiple_of(2) { &[] } else { &[0] };
        [kind.as_slice(), &length, data, padding].concat()
    };
    let side = [15, 0, 0];
    let canvas = [[2, 0, 0, 0].as_slice(), &side, &side].concat();
    let frames = [1, 2].map(|number| {
        let whole = encoded(&noise(16, 16, number), ImageFormat::WebP);
        // Place, size, 100 ms, nothing special; then the still picture without the head of its file.
        chunk(b"ANMF", &[[0; 6].as_slice(), &side, &side, &[100, 0, 0, 0], &whole[12..]].concat())
    });
    let parts = [chunk(b"VP8X", &canvas), chunk(b"ANIM", &[0; 6]), frames.concat()].concat();
    chunk(b"RIFF", &[b"WEBP".as_slice(), &parts].concat())
}

/// Puts `bytes` in the place of the file that ComfyUI has just saved, which nobody could fetch so far.
async fn put_in_its_place(test: &TestGateway, bytes: Vec<u8>) {
    let asked = || test.sim.stats().requests.get("GET /view").copied().unwrap_or_default();
    until("the file is asked for", || async { (asked() > 0).then_some(()) }).await;
    let url = |path: &str| format!("{}{path}", test.sim.url());
    let history = test.client().get(url("/history")).send().await.expect("an answer");
    let history: Value = history.json().await.expect("JSON");
    let entry = history.as_object().expect("an object").values().next().expect("a prompt");
    let file = |field: &str| text(entry, &format!("/outputs/2/images/0/{field}"));
    let part = Part::bytes(bytes).file_name(file("filename"));
    let fields = Form::new().text("type", "output").text("overwrite", "true").text("subfolder", file("subfolder"));
    let request = test.client().post(url("/upload/image")).multipart(fields.part("image", part));
    let put: Value = request.send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!((&put["name"], &put["type"]), (&json!(file("filename")), &json!("output")), "{put}");
    test.sim.update(|switches| switches.view_fault = ViewFault::None);
}

#[tokio::test]
async fn a_picture_is_served_in_the_form_that_is_asked_for() {
    let test = copying(TestBuilder::default()).await;
    let picture = picture();
    let job = copied(&test, &picture, json!({})).await;
    for (query, content_type, format, size) in [
        ("format=jpeg", "image/jpeg", ImageFormat::Jpeg, (300, 200)),
        ("format=jpg&quality=1", "image/jpeg", ImageFormat::Jpeg, (300, 200)),
        ("format=webp", "image/webp", ImageFormat::WebP, (300, 200)),
        ("format=png", "image/png", ImageFormat::Png, (300, 200)),
        ("quality=50", "image/png", ImageFormat::Png, (300, 200)),
        ("format=webp&width=100", "image/webp", ImageFormat::WebP, (100, 67)),
        ("format=jpeg&height=50", "image/jpeg", ImageFormat::Jpeg, (75, 50)),
        ("width=100&height=100", "image/png", ImageFormat::Png, (100, 67)),
        ("width=299", "image/png", ImageFormat::Png, (299, 199)),
        ("width=1", "image/png", ImageFormat::Png, (1, 1)),
        ("width=4000&height=4000", "image/png", ImageFormat::Png, (300, 200)),
        ("width=16384&height=100", "image/png", ImageFormat::Png, (150, 100)),
    ] {
        let answer = form(&test, &job, query).await;
        assert_eq!(answer.header("content-type"), content_type, "{query}");
        assert_eq!(facts(&answer.bytes), (format, size.0, size.1), "{query}");
        assert_eq!(answer.header("content-length"), answer.bytes.len().to_string(), "{query}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{query}");
        let extension = if format == ImageFormat::Jpeg { "jpg" } else { format.extensions_str()[0] };
        let name = format!("filename=\"image_001.{extension}\"");
        assert!(answer.header("content-disposition").contains(&name), "{query}: {:?}", answer.headers);
    }
    for query in ["format=png", "format=webp&quality=100", "width=300&height=200"] {
        assert!(pixels(&form(&test, &job, query).await.bytes) == picture, "{query} loses something");
    }
    let mut sizes = Vec::new();
    for quality in [5, 50, 95] {
        for format in ["jpeg", "webp"] {
            sizes.push(form(&test, &job, &format!("format={format}&quality={quality}")).await.bytes.len());
        }
    }
    assert!(sizes[0] < sizes[2] && sizes[2] < sizes[4], "jpeg: {sizes:?}");
    assert!(sizes[1] < sizes[3] && sizes[3] < sizes[5], "webp: {sizes:?}");
    assert!(pixels(&test.get(&url(&job)).await.expect(200).bytes) == picture, "the output itself is what it was");
}

#[tokio::test]
async fn a_form_has_a_tag_of_its_own_and_is_served_in_parts_like_any_output() {
    let test = copying(TestBuilder::default()).await;
    let job = copied(&test, &picture(), json!({})).await;
    let original = test.get(&url(&job)).await.expect(200);
    let mut tags = vec![original.header("etag").to_owned()];
    for query in ["format=webp", "format=webp&quality=81", "format=webp&width=100", "format=jpeg", "width=100"] {
        let path = format!("{}?{query}", url(&job));
        // Asked for before it was ever made.
        let head = test.send(Method::HEAD, &path, None).await.expect(200);
        let whole = test.get(&path).await.expect(200);
        let tag = whole.header("etag").to_owned();
        for name in ["content-type", "content-length", "etag", "accept-ranges", "cache-control"] {
            assert_eq!(head.header(name), whole.header(name), "{query}: {name}");
        }
        assert!(head.bytes.is_empty(), "{query}");
        assert!(!tags.contains(&tag), "{query}: {tag}");

        let known = test.get_with(&path, "if-none-match", &tag).await.expect(304);
        assert!(known.bytes.is_empty(), "{query}");
        assert_eq!(known.header("etag"), tag);
        for other in &tags {
            let answer = test.get_with(&path, "if-none-match", other).await.expect(200);
            assert!(answer.bytes == whole.bytes, "{query}: other bytes");
        }
        let size = whole.bytes.len();
        for (range, from, to) in [("bytes=0-9", 0, 9), ("bytes=-5", size - 5, size - 1), ("bytes=20-", 20, size - 1)] {
            let part = test.get_with(&path, "range", range).await.expect(206);
            assert_eq!(part.header("content-range"), format!("bytes {from}-{to}/{size}"), "{query}");
            assert!(part.bytes == whole.bytes[from..=to], "{query} {range}: other bytes");
        }
        let beyond = test.get_with(&path, "range", &format!("bytes={size}-")).await;
        refused(&beyond, ErrorCode::RangeNotSatisfiable);
        tags.push(tag);
    }
}

#[tokio::test]
async fn a_form_is_made_once_and_goes_with_its_output() {
    let test = start(TestBuilder::default()).await;
    let (job, other) = (tiny(&test, 1).await, tiny(&test, 2).await);
    let before = stored(&test);
    let made = form(&test, &job, "format=webp&width=100").await;
    let file = new_file(&test, &before);
    assert!(std::fs::read(&file).expect("bytes") == made.bytes, "the file holds other bytes");
    // Made again, it would not be this.
    let changed = vec![b'x'; made.bytes.len()];
    std::fs::write(&file, &changed).expect("written");
    assert!(form(&test, &job, "format=webp&width=100").await.bytes == changed, "it was made again");
    assert!(form(&test, &job, "width=100&format=webp&quality=80").await.bytes == changed, "80 is the usual quality");
    assert_eq!(stored(&test).len(), before.len() + 1);
    form(&test, &other, "format=webp&width=100").await;
    form(&test, &job, "format=webp&width=101").await;
    assert_eq!(stored(&test).len(), before.len() + 3);
    let _deleted = test.send(Method::DELETE, &format!("/jobs/{}", text(&job, "/jobId")), None).await.expect(204);
    until_stored(&test, 2).await;
    assert_eq!(facts(&form(&test, &other, "format=webp&width=100").await.bytes), (ImageFormat::WebP, 100, 67));
    refused(&test.get(&format!("{}?format=webp&width=100", url(&job))).await, ErrorCode::OutputNotFound);
}

#[tokio::test]
async fn a_form_that_makes_no_sense_is_refused_and_nothing_is_made() {
    let test = start(TestBuilder::default()).await;
    let job = tiny(&test, 1).await;
    for (query, fields) in [
        ("format=bmp", &["?format"][..]),
        ("format=PNG", &["?format"]),
        ("format=", &["?format"]),
        ("format=webp&format=png", &["?format"]),
        ("quality=0", &["?quality"]),
        ("format=jpeg&quality=101", &["?quality"]),
        ("quality=80.5", &["?quality"]),
        ("quality=best", &["?quality"]),
        ("width=0", &["?width"]),
        ("width=16385", &["?width"]),
        ("width=-1", &["?width"]),
        ("height=1e3", &["?height"]),
        ("height=99999999999999999999", &["?height"]),
        ("size=100", &["?size"]),
        ("format=bmp&quality=0&width=0&height=0", &["?format", "?quality", "?width", "?height"]),
    ] {
        let answer = test.get(&format!("{}?{query}", url(&job))).await;
        refused(&answer, ErrorCode::ValidationError);
        assert_eq!(answer.fault_paths(), fields, "{query}");
    }
    assert_eq!(stored(&test).len(), 1);
}

#[tokio::test]
async fn only_pictures_have_other_forms() {
    let test = start(TestBuilder::default()).await;
    let workflow = json!({"workflow": {
        "1": {"class_type": "PreviewAny", "inputs": {"source": "{{words}}"}},
        "2": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 2, "color": 9}},
        "3": {"class_type": "CreateVideo", "inputs": {"images": ["2", 0], "fps": 24.0}},
        "4": {"class_type": "SaveVideo", "inputs": {
            "video": ["3", 0], "filename_prefix": "a", "format": "auto", "codec": "auto"
        }}
    }});
    test.register("kinds", workflow).await;
    let mut body = wish("kinds", json!({"words": "hello"}));
    body["output"] = json!({"format": "webp", "quality": 50});
    let id = submit(&test, &body, 202).await;
    let job = test.wait_status(&id, "succeeded").await;
    let outputs = job["outputs"].as_array().expect("a list");
    let mut kinds: Vec<String> = outputs.iter().map(|output| text(output, "/contentType")).collect();
    kinds.sort();
    assert_eq!(kinds, ["text/plain; charset=utf-8", "video/mp4"], "they stay what they are: {job}");
    for output in outputs {
        assert_eq!(output.get("thumbnailUrl"), None, "{output}");
        for query in ["format=png", "width=100", "quality=50"] {
            let answer = test.get(&format!("{}?{query}", text(output, "/url"))).await;
            refused(&answer, ErrorCode::ValidationError);
            assert_eq!(answer.fault_paths(), ["?format"], "{query}");
        }
    }
    assert_eq!(stored(&test).len(), 2);
}

#[tokio::test]
async fn a_thumbnail_is_a_small_webp() {
    let test = copying(TestBuilder::default()).await;
    for (width, height, small) in [(300, 200, (256, 171)), (100, 1_000, (26, 256)), (64, 48, (64, 48))] {
        let job = copied(&test, &noise(width, height, 1), json!({})).await;
        let list = test.get(&format!("/outputs/{}", text(&job, "/jobId"))).await.expect(200).json();
        let thumbnail = text(&list, "/items/0/thumbnailUrl");
        assert_eq!(text(&job, "/outputs/0/thumbnailUrl"), thumbnail);
        let answer = test.get(&thumbnail).await.expect(200);
        assert_eq!(answer.header("content-type"), "image/webp");
        assert_eq!(facts(&answer.bytes), (ImageFormat::WebP, small.0, small.1));
    }
}

#[tokio::test]
async fn outputs_are_stored_in_the_form_that_the_job_asks_for() {
    let test = copying(TestBuilder::default()).await;
    let picture = picture();
    let mut sizes = Vec::new();
    for (wishes, content_type, format, file) in [
        (json!({"format": "webp"}), "image/webp", ImageFormat::WebP, "image_001.webp"),
        (json!({"format": "jpeg", "quality": 10}), "image/jpeg", ImageFormat::Jpeg, "image_001.jpg"),
        (json!({"format": "jpeg", "quality": 95}), "image/jpeg", ImageFormat::Jpeg, "image_001.jpg"),
        (json!({"format": "png"}), "image/png", ImageFormat::Png, "image_001.png"),
    ] {
        let before = stored(&test);
        let job = copied(&test, &picture, wishes.clone()).await;
        let bytes = output(&test, &job).await;
        let told = &job["outputs"][0];
        assert_eq!((&told["contentType"], &told["file"]), (&json!(content_type), &json!(file)), "{told}");
        assert_eq!((&told["size"], &told["sha256"]), (&json!(bytes.len()), &json!(sha256(&bytes))), "{told}");
        assert_eq!((&told["width"], &told["height"]), (&json!(300), &json!(200)), "{told}");
        assert_eq!(facts(&bytes), (format, 300, 200));
        assert_eq!(stored(&test).len(), before.len() + 2, "the upload and one output");
        sizes.push(bytes.len());
    }
    assert!(sizes[1] < sizes[2], "{sizes:?}");
    // What differs in its form alone is another result.
    assert_eq!(prompts(&test), 4);
    for wishes in [json!({"format": "bmp"}), json!({"format": "webp", "quality": 0}), json!({"width": 10})] {
        let mut body = wish("tiny", json!({"color": 1}));
        body["output"] = wishes;
        refused(&test.post("/jobs", &body).await, ErrorCode::ValidationError);
    }
}

#[tokio::test]
async fn an_animation_stays_as_it_is_whatever_form_was_asked_for() {
    let test = start(TestBuilder::default().switches(|switches| switches.view_fault = ViewFault::Status502)).await;
    let bytes = animated_webp();
    let mut body = wish("tiny", json!({"color": 1}));
    body["output"] = json!({"format": "jpeg"});
    let id = submit(&test, &body, 202).await;
    put_in_its_place(&test, bytes.clone()).await;
    let job = test.wait_status(&id, "succeeded").await;
    assert_eq!(job["outputs"][0]["contentType"], "image/webp", "{job}");
    assert!(output(&test, &job).await == bytes, "other bytes");
    // On its own it is asked for, and its first picture is what comes.
    assert_eq!(facts(&form(&test, &job, "format=jpeg").await.bytes), (ImageFormat::Jpeg, 16, 16));
}

/// With two workflows whose outputs hold [`WORDS`], unless somebody takes them out: `telling`, and `moving`, which saves an
/// animation.
async fn telling(builder: TestBuilder) -> TestGateway {
    let test = start(builder).await;
    let mut workflow = sampler_workflow();
    workflow["workflow"]["2"]["inputs"]["text"] = json!(WORDS);
    test.register("telling", workflow.clone()).await;
    workflow["workflow"]["6"] = json!({"class_type": "SaveAnimatedPNG", "inputs": {
        "images": ["5", 0], "filename_prefix": "x", "fps": 6.0, "compress_level": 4
    }});
    test.register("moving", workflow).await;
    test
}

/// The output of `workflow`, with these wishes for it.
async fn told(test: &TestGateway, workflow: &str, wishes: Value) -> Vec<u8> {
    let mut body = wish(workflow, json!({"seed": 1}));
    body["output"] = wishes;
    let id = submit(test, &body, 202).await;
    let job = test.wait_status(&id, "succeeded").await;
    let bytes = output(test, &job).await;
    let told = &job["outputs"][0];
    assert_eq!((&told["size"], &told["sha256"]), (&json!(bytes.len()), &json!(sha256(&bytes))), "{told}");
    bytes
}

#[tokio::test]
async fn outputs_tell_nothing_of_the_prompt_where_the_operator_wants_that() {
    let open = telling(TestBuilder::default()).await;
    let closed = telling(TestBuilder::default().settings(|settings| settings.files.strip_metadata = true)).await;
    for (workflow, chunk) in [("telling", b"tEXt"), ("moving", b"comf")] {
        let (plain, bare) = (told(&open, workflow, json!({})).await, told(&closed, workflow, json!({})).await);
        let parts: [&[u8]; 4] = [chunk, WORDS.as_bytes(), b"class_type", b"KSampler"];
        for part in parts {
            let name = String::from_utf8_lossy(part);
            assert!(holds(&plain, part), "ComfyUI writes {name}");
            assert!(!holds(&bare, part), "{name} is still there");
        }
        for part in [b"workflow".as_slice(), b"iTXt", b"zTXt", b"eXIf"] {
            assert!(!holds(&bare, part), "{}", String::from_utf8_lossy(part));
        }
        assert!(pixels(&bare) == pixels(&plain), "another picture");
        assert!(bare.starts_with(b"\x89PNG\r\n\x1a\n") && bare.ends_with(b"IEND\xae\x42\x60\x82"));
    }
    for format in ["png", "jpeg", "webp"] {
        let converted = told(&open, "telling", json!({"format": format})).await;
        assert!(!holds(&converted, WORDS.as_bytes()), "a picture that is made anew holds nothing but itself: {format}");
    }
}
