//! `POST /jobs` where processes share the queue, against a bare handler that inserts into the same kind of database and
//! hints in a stream: at a fixed rate, and as fast as they go.

use std::path::Path;
use std::time::Duration;

use gateway_testkit::stack::{Postgres, Redis};

use crate::accept::body;
use crate::load;
use crate::process::{Process, Shape, quantile, system};
use crate::report::{Report, Target};

const RATE: f64 = 500.0;
const TIME: Duration = Duration::from_secs(8);
const CONNECTIONS: usize = 64;
const BURST: Duration = Duration::from_secs(4);
const ROUNDS: usize = 3;

pub(crate) async fn run(binary: &Path, server: &str, report: &mut Report) {
    let request = load::post("/jobs", &body(200));
    let (mut bare, mut xadd, mut shared) = (Vec::new(), Vec::new(), Vec::new());
    let mut paced: [Vec<f64>; 3] = Default::default();
    for round in 0..ROUNDS {
        let folder = tempfile::tempdir().unwrap();
        let redis = Redis::start(folder.path(), true).await;
        let own = |name: &str| Postgres::new(server, &format!("b_{name}_{}_{round}", std::process::id()));

        let database = own("bare");
        let process = Process::bare(binary, &database.url(), Some(&redis.url())).await;
        let address = process.address();
        paced[0].push(p99(address, &request).await);
        xadd.push(load::rate(address, &load::post("/xadd", ""), "HTTP/1.1 202", CONNECTIONS, BURST).await);
        bare.push(load::rate(address, &request, "HTTP/1.1 202", CONNECTIONS, BURST).await);
        drop((process, database));

        let database = own("shared");
        let (url, queue) = (database.url(), redis.url());
        let env = [("LOG_LEVEL", "error"), ("DATABASE_URL", url.as_str()), ("REDIS_URL", queue.as_str())];
        let gateway = system(binary, Shape { env: &env, ..Shape::default() }).await;
        paced[1].push(p99(gateway.gateway.address(), &request).await);
        shared.push(load::rate(gateway.gateway.address(), &request, "HTTP/1.1 202", CONNECTIONS, BURST).await);
        drop((gateway, database));

        let gateway = system(binary, Shape { env: &[("LOG_LEVEL", "error")], ..Shape::default() }).await;
        paced[2].push(p99(gateway.gateway.address(), &request).await);
    }
    let [bare_p99, shared_p99, sqlite_p99] = &paced;
    let at = |name: &str| format!("{name} at {RATE:.0}/s: p99");
    report.figure(&at("bare INSERT + XADD"), "ms", bare_p99);
    report.figure(&at("POST /jobs, Postgres and Redis,"), "ms", shared_p99);
    report.figure(&at("POST /jobs, SQLite,"), "ms", sqlite_p99);
    let name = "POST /jobs, Postgres and Redis";
    report.figure("bare XADD", "/s", &xadd);
    report.figure("bare INSERT + XADD, Postgres", "/s", &bare);
    report.figure(name, "/s", &shared);
    report.ratio(name, "bare XADD", &shared, &xadd);
    report.ratio(name, "bare INSERT + XADD", &shared, &bare).target(Target::AtLeast(0.7));
}

async fn p99(address: &str, request: &[u8]) -> f64 {
    let mut took = load::paced(address, request, "HTTP/1.1 202", RATE, TIME).await;
    assert_eq!(took.len(), (RATE * TIME.as_secs_f64()) as usize);
    quantile(&mut took, 0.99)
}
