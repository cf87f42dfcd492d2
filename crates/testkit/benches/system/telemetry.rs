//! What log lines, metrics and traces cost each `POST /jobs`: a gateway that tells nothing of itself, against one that
//! tells in one of these ways, and in all of them.

use std::path::Path;
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};

use crate::accept::body;
use crate::load;
use crate::process::{Shape, free_port, quantile, system};
use crate::report::{Report, Target};

/// Requests a second, about a quarter of what two cores can do: how many jobs share a commit, and with it what each costs,
/// must not depend on who is measured.
const RATE: f64 = 1_500.0;
const TIME: Duration = Duration::from_secs(4);
const ROUNDS: usize = 9;

/// What a gateway tells of itself, each way by its variables.
const LOGS: (&str, &str) = ("LOG_LEVEL", "info");
const NO_LOGS: (&str, &str) = ("LOG_LEVEL", "silent");
const METRICS: (&str, &str) = ("METRICS_ENABLED", "true");
const NO_METRICS: (&str, &str) = ("METRICS_ENABLED", "false");

pub(crate) async fn run(binary: &Path, report: &mut Report) {
    let collector = collector();
    let (traces, no_traces) = (("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector), ("OTEL_EXPORTER_OTLP_ENDPOINT", ""));
    let ways = [
        ("telling nothing", [NO_LOGS, NO_METRICS, no_traces]),
        ("with log lines", [LOGS, NO_METRICS, no_traces]),
        ("with metrics", [NO_LOGS, METRICS, no_traces]),
        ("with traces, each recorded", [NO_LOGS, NO_METRICS, traces]),
        ("with all three", [LOGS, METRICS, traces]),
    ];
    let mut sides: [[Vec<f64>; 2]; 5] = Default::default();
    for _ in 0..ROUNDS {
        for ((_, env), side) in ways.iter().zip(&mut sides) {
            let measured = measure(binary, env).await;
            side.iter_mut().zip(measured).for_each(|(values, value)| values.push(value));
        }
    }
    let [[silent, silent_p50], told @ ..] = &sides;
    report.figure("POST /jobs, telling nothing: processor time of each", "µs", silent);
    report.figure("POST /jobs, telling nothing: p50", "ms", silent_p50);
    for ((name, _), [time, p50]) in ways.iter().skip(1).zip(told) {
        let what = format!("processor time of POST /jobs, {name}");
        report.ratio(&what, "telling nothing", time, silent).target(Target::AtMost(1.05));
        report.ratio(&format!("p50 of POST /jobs, {name}"), "telling nothing", p50, silent_p50);
    }
}

/// The processor time of each in microseconds, and the median time until the answer in milliseconds.
async fn measure(binary: &Path, ways: &[(&str, &str)]) -> [f64; 2] {
    let env = [ways, &[("LOG_FORMAT", "json")]].concat();
    let system = system(binary, Shape { env: &env, keep_log: true, ..Shape::default() }).await;
    let (address, request) = (system.gateway.address(), load::post("/jobs", &body(200)));
    load::paced(address, &request, "HTTP/1.1 202", RATE, TIME / 8).await;
    let before = system.gateway.processor_time();
    let mut took = load::paced(address, &request, "HTTP/1.1 202", RATE, TIME).await;
    let spent = system.gateway.processor_time() - before;
    [spent.as_secs_f64() * 1e6 / took.len() as f64, quantile(&mut took, 0.5)]
}

/// The URL of one that takes all traces and keeps none.
fn collector() -> String {
    let port = free_port();
    let take = async |spans: web::Bytes| {
        drop(spans);
        HttpResponse::Ok().content_type("application/x-protobuf").finish()
    };
    let server = HttpServer::new(move || {
        let limit = web::PayloadConfig::new(64 << 20);
        App::new().app_data(limit).route("/v1/traces", web::post().to(take))
    });
    tokio::spawn(server.workers(1).bind(("127.0.0.1", port)).unwrap().run());
    format!("http://127.0.0.1:{port}")
}
