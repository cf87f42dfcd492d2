//! Lists and single jobs at a thousand and at a million jobs.

use std::path::Path;
use std::process::Command;

use gateway_testkit::stack::Postgres;

use crate::load;
use crate::process::{Shape, quantile, system};
use crate::report::{Report, Target};

const ROUNDS: usize = 3;
const REQUESTS: usize = 200;
const PATHS: [&str; 3] = ["/jobs?limit=50", "/jobs?limit=50&status=failed", "/jobs/{id}"];

pub(crate) async fn run(binary: &Path, server: &str, report: &mut Report) {
    let database = Postgres::new(server, &format!("l_{}", std::process::id()));
    let url = database.url();
    let env = [("LOG_LEVEL", "error"), ("DATABASE_URL", url.as_str())];
    let gateway = system(binary, Shape { env: &env, ..Shape::default() }).await;
    fill(&url, 1, 1_000);
    let few = measure(gateway.gateway.address(), 1_000).await;
    fill(&url, 1_001, 1_000_000);
    let many = measure(gateway.gateway.address(), 1_000_000).await;
    for ((path, few), many) in PATHS.iter().zip(few).zip(many) {
        report.figure(&format!("GET {path} at 1,000,000 jobs, Postgres: p50"), "ms", &many);
        let what = format!("GET {path} at 1,000,000 jobs: p50");
        report.ratio(&what, "at 1,000 jobs", &many, &few).target(Target::AtMost(1.5));
    }
}

/// The median time of a request for each path, a value for each round.
async fn measure(address: &str, jobs: usize) -> [Vec<f64>; 3] {
    let mut medians: [Vec<f64>; 3] = Default::default();
    for round in 0..ROUNDS {
        for (path, medians) in PATHS.iter().zip(&mut medians) {
            let mut took = Vec::new();
            if path.contains("{id}") {
                // Each another: answers of ended jobs are kept.
                for number in (round..1_000).step_by(ROUNDS) {
                    let request = load::get(&format!("/jobs/{}", id(1 + number * (jobs / 1_000))));
                    took.extend(load::each(address, &request, "HTTP/1.1 200", 1).await);
                }
            } else {
                took = load::each(address, &load::get(path), "HTTP/1.1 200", REQUESTS).await;
            }
            medians.push(quantile(&mut took, 0.5));
        }
    }
    medians
}

fn id(number: usize) -> String {
    let hex = format!("{number:08x}");
    format!("01900000-{}-7{}-8000-0000{hex}", &hex[0..4], &hex[4..7])
}

/// Ended jobs of these numbers, one in ten failed.
fn fill(url: &str, from: usize, to: usize) {
    let id = "lpad(to_hex(n), 8, '0')";
    let sql = format!(
        "INSERT INTO jobs (id, owner, workflow_id, workflow_version, status, priority, inputs, params, resolved, metadata,
            correlation_id, nodes_total, created_at, started_at, finished_at)
         SELECT '01900000-' || substr({id}, 1, 4) || '-7' || substr({id}, 5, 3) || '-8000-0000' || {id}, 'local',
            'tiny', 1, CASE WHEN n % 10 = 0 THEN 'failed' ELSE 'succeeded' END, 1, '{{\"color\":1}}', '{{}}',
            '{{\"color\":1}}', '{{}}', 'c', 2, 1700000000000 + n, 1700000000000 + n, 1700000001000 + n
         FROM generate_series({from}, {to}) AS s(n); ANALYZE jobs;"
    );
    let done = Command::new("psql").args([url, "-v", "ON_ERROR_STOP=1", "-qc", &sql]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
