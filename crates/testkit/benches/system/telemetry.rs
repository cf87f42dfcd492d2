//! What log lines, metrics and traces cost each `POST /jobs`: a gateway that tells nothing of itself, against one that
//! tells in one of these ways, and in all of them.

use std::path::Path;
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};

use crate::accept::body;
use crate::load;
use crate::process::{Shape, System, free_port, quantile, system};
use crate::report::{Report, Target};

/// Requests a second, about a quarter of what two cores can do: how many jobs share a commit, and with it what each costs,
/// must not depend on who is measured.
const RATE: f64 = 1_500.0;
/// In each round all take turns, as short as this: what else the machine does changes more slowly. Who begins changes, too,
/// so that each comes equally often in each place.
const TURN: Duration = Duration::from_millis(500);
const TURNS: usize = 2 * WAYS;
const WAYS: usize = 7;
const ROUNDS: usize = 9;

/// What a gateway tells of itself, each way by its variables.
const LOGS: (&str, &str) = ("LOG_LEVEL", "info");
const NO_LOGS: (&str, &str) = ("LOG_LEVEL", "silent");
/// One of the two lines that a `POST /jobs` has.
const REQUEST_LINE: (&str, &str) = ("LOG_LEVEL", "error,gateway_request=info");
const JOB_LINE: (&str, &str) = ("LOG_LEVEL", "error,gateway_job=info");
const METRICS: (&str, &str) = ("METRICS_ENABLED", "true");
const NO_METRICS: (&str, &str) = ("METRICS_ENABLED", "false");

pub(crate) async fn run(binary: &Path, report: &mut Report) {
    let collector = collector();
    let (traces, no_traces) = (("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector), ("OTEL_EXPORTER_OTLP_ENDPOINT", ""));
    let ways = [
        ("telling nothing", [NO_LOGS, NO_METRICS, no_traces]),
        ("with the request's log line", [REQUEST_LINE, NO_METRICS, no_traces]),
        ("with the job's log line", [JOB_LINE, NO_METRICS, no_traces]),
        ("with both", [LOGS, NO_METRICS, no_traces]),
        ("with metrics", [NO_LOGS, METRICS, no_traces]),
        ("with traces, each recorded", [NO_LOGS, NO_METRICS, traces]),
        ("with lines, metrics and traces", [LOGS, METRICS, traces]),
    ];
    let mut sides: [[Vec<f64>; 2]; WAYS] = Default::default();
    for _ in 0..ROUNDS {
        let measured = round(binary, &ways.map(|(_, env)| env)).await;
        for (side, [time, p50]) in sides.iter_mut().zip(measured) {
            side[0].push(time);
            side[1].push(p50);
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

/// For each of `ways` the processor time of each `POST /jobs` in microseconds, and the median time until the answer in
/// milliseconds.
async fn round(binary: &Path, ways: &[[(&str, &str); 3]]) -> Vec<[f64; 2]> {
    let mut measured = Vec::new();
    for way in ways {
        let env = [&way[..], &[("LOG_FORMAT", "json")]].concat();
        let system = system(binary, Shape { env: &env, keep_log: true, ..Shape::default() }).await;
        post(&system, TURN).await;
        measured.push(Measured { system, spent: Duration::ZERO, took: Vec::new() });
    }
    for _ in 0..TURNS {
        measured.rotate_left(1);
        for Measured { system, spent, took } in &mut measured {
            let before = system.gateway.processor_time();
            took.extend(post(system, TURN).await);
            *spent += system.gateway.processor_time() - before;
        }
    }
    let figures = |Measured { spent, mut took, .. }: Measured| {
        [spent.as_secs_f64() * 1e6 / took.len() as f64, quantile(&mut took, 0.5)]
    };
    measured.into_iter().map(figures).collect()
}

/// One way of telling, in one round.
struct Measured {
    system: System,
    spent: Duration,
    took: Vec<Duration>,
}

async fn post(system: &System, time: Duration) -> Vec<Duration> {
    let request = load::post("/jobs", &body(200));
    load::paced(system.gateway.address(), &request, "HTTP/1.1 202", RATE, time).await
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
