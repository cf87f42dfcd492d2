//! The main job, end to end.

use gateway_testkit::TestGateway;
use serde_json::json;

#[tokio::test]
async fn a_job_becomes_a_picture_over_http() {
    let test = TestGateway::start().await;
    let job = test.run("tiny", json!({"color": 255})).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    assert_eq!(job["progress"]["percent"], 100);
    let output = &job["outputs"][0];
    assert_eq!((&output["kind"], &output["width"], &output["height"]), (&json!("image"), &json!(64), &json!(64)));
    let picture = test.get(output["url"].as_str().unwrap()).await.expect(200);
    assert_eq!(picture.header("content-type"), "image/png");
    let pixel = image::load_from_memory(&picture.bytes).unwrap().to_rgb8().get_pixel(3, 3).0;
    assert_eq!(pixel, [0, 0, 255]);
}
