//! Events that come wrong, twice, late or not at all: the socket is for progress only.

use std::cell::RefCell;

use comfyui_sim::{PreviewMethod, SimConfig, Simulator, Switches};
use gateway_testkit::{TestBuilder, TestGateway, until};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::support::*;

type Oddity = (&'static str, fn(&mut Switches));

const ODDITIES: [Oddity; 16] = [
    ("duplicates", |switches| switches.duplicate_events = true),
    ("backwards", |switches| switches.progress_backwards = true),
    ("foreign", |switches| switches.foreign_events = true),
    ("unknown", |switches| switches.unknown_events = true),
    ("fragments", |switches| switches.fragment_frames = true),
    ("previews", |switches| {
        switches.preview_method = PreviewMethod::Jpeg;
        switches.preview_bytes = 4 << 20;
    }),
    ("png previews", |switches| switches.preview_method = PreviewMethod::Png),
    ("clock an hour ahead", |switches| switches.clock_skew_ms = 3_600_000),
    ("clock an hour behind", |switches| switches.clock_skew_ms = -3_600_000),
    ("not a number", |switches| switches.nan_in_history = true),
    ("success before history", |switches| switches.history_after_success_ms = 600),
    ("slow history", |switches| switches.history_delay_ms = 2_000),
    ("dropped", |switches| switches.drop_events = true),
    ("silent", |switches| switches.socket_stall_after = Some(1)),
    ("held", |switches| switches.hold_events = true),
    ("dropped, and no queue to be read", |switches| (switches.drop_events, switches.queue_fault) = (true, true)),
];

#[tokio::test]
async fn no_oddity_of_events_clock_or_history_keeps_a_job_from_its_result() {
    let test = gateway(TestBuilder::default()).await;
    let healthy = test.sim.switches();
    for (round, (name, change)) in ODDITIES.into_iter().enumerate() {
        let mut switches = healthy.clone();
        change(&mut switches);
        test.sim.set_switches(switches);
        let job = test.run("sampler", json!({"steps": 3})).await;
        assert_eq!((&job["status"], &job["attempt"]), (&json!("succeeded"), &json!(1)), "{name}: {job}");
        assert_eq!(job["outputs"].as_array().map(Vec::len), Some(1), "{name}: {job}");
        assert_eq!(job["progress"]["percent"], 100, "{name}: {job}");
        each_ran_once(&test, round + 1);
    }
    test.sim.set_switches(healthy);
    succeeded(&test.run("sampler", json!({})).await, 1);
}

#[tokio::test]
async fn progress_never_goes_back_however_the_events_do() {
    let test = gateway(TestBuilder::default()).await;
    test.sim.update(|switches| {
        switches.progress_backwards = true;
        switches.duplicate_events = true;
        switches.foreign_events = true;
    });
    let id = test.submit("sampler", json!({"steps": 60})).await;
    let seen = RefCell::new(vec![0]);
    let job = until("the job ends", || async {
        let job = test.job(&id).await;
        let percent = job["progress"]["percent"].as_i64().expect("a percentage");
        let mut seen = seen.borrow_mut();
        assert!(seen.last().is_some_and(|last| *last <= percent), "{percent} after {seen:?}");
        seen.push(percent);
        matches!(job["status"].as_str(), Some("succeeded" | "failed")).then_some(job)
    })
    .await;
    succeeded(&job, 1);
    assert!(seen.borrow().iter().any(|percent| (1..100).contains(percent)), "progress was seen: {seen:?}");
}

/// Passes everything on to `target` but requests for the event socket.
async fn proxy_without_socket(target: std::net::SocketAddr) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass_on(client, target));
        }
    });
    address
}

async fn pass_on(client: TcpStream, target: std::net::SocketAddr) -> std::io::Result<()> {
    let server = TcpStream::connect(target).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from_client.read(&mut buffer).await?;
        if length == 0 || buffer[..length].starts_with(b"GET /ws") {
            back.abort();
            return Ok(());
        }
        to_server.write_all(&buffer[..length]).await?;
    }
}

#[tokio::test]
async fn without_any_event_socket_jobs_run_as_fast_as_comfyui_is_asked() {
    let mut config = SimConfig::default();
    config.switches.step_ms = STEP_MS;
    let sim = Simulator::start(config).await.expect("a simulator");
    let proxy = proxy_without_socket(sim.address()).await;
    let test: TestGateway = TestBuilder::default().comfyui_url(format!("http://{proxy}")).start().await;
    register(&test).await;
    for color in 0..3 {
        succeeded(&test.run("tiny", json!({"color": color})).await, 1);
    }
    assert_eq!((sim.stats().open_sockets, sim.stats().prompts_accepted), (0, 3));
    let id = test.submit("sampler", endless()).await;
    test.wait_status(&id, "running").await;
    cancel(&test, &id).await;
    assert_eq!(test.wait_ended(&id).await["status"], "canceled");
}
