//! Lists and single jobs at a thousand and at a million jobs.

use std::path::Path;
use std::process::Command;

use gateway_testkit::stack::Postgres;

use crate::load;
use crate::process::{Shape, quantile, system};

const REQUESTS: usize = 400;

pub(crate) async fn run(binary: &Path, server: &str) {
    let database = Postgres::new(server, &format!("l_{}", std::process::id()));
    let url = database.url();
    let gateway = system(binary, Shape { sim: None, env: &[("LOG_LEVEL", "error"), ("DATABASE_URL", &url)] }).await;
    let address = gateway.gateway.url.trim_start_matches("http://").to_owned();
    let mut figures = Vec::new();
    let mut from = 1;
    for jobs in [1_000, 1_000_000] {
        fill(&url, from, jobs);
        from = jobs + 1;
        let paths = ["/jobs?limit=50", "/jobs?limit=50&status=failed", "/jobs/{id}"];
        let mut row = Vec::new();
        for path in paths {
            let took = if path.contains("{id}") {
                // Each another: answers of ended jobs are kept.
                let mut took = Vec::new();
                for number in 0..REQUESTS {
                    let request = load::get(&format!("/jobs/{}", id(1 + number * (jobs / 1_000))));
                    took.extend(load::each(&address, &request, "HTTP/1.1 200", 1).await);
                }
                took
            } else {
                load::each(&address, &load::get(path), "HTTP/1.1 200", REQUESTS).await
            };
            row.push((path, took));
        }
        figures.push(row);
    }
    let [few, many] = figures.as_mut_slice() else { unreachable!("two sizes") };
    for ((path, few), (_, many)) in few.iter_mut().zip(many) {
        let (a, b) = (quantile(few, 0.5), quantile(many, 0.5));
        println!(
            "latency   GET {path}: p50 {a:.2} ms at 1,000 jobs, {b:.2} ms at 1,000,000, ratio {:.2} (p99 {:.2} and {:.2} ms; Postgres)",
            b / a,
            quantile(few, 0.99),
            quantile(many, 0.99)
        );
    }
}

fn id(number: usize) -> String {
    let hex = format!("{number:08x}");
    format!("01900000-{}-7{}-8000-0000{hex}", &hex[0..4], &hex[4..7])
}

/// Ended jobs of these numbers, one in a hundred failed.
fn fill(url: &str, from: usize, to: usize) {
    let id = "lpad(to_hex(n), 8, '0')";
    let sql = format!(
        "INSERT INTO jobs (id, owner, workflow_id, workflow_version, status, priority, inputs, params, resolved, metadata,
            correlation_id, nodes_total, created_at, started_at, finished_at)
         SELECT '01900000-' || substr({id}, 1, 4) || '-7' || substr({id}, 5, 3) || '-8000-0000' || {id}, 'local',
            'tiny', 1, CASE WHEN n % 100 = 0 THEN 'failed' ELSE 'succeeded' END, 1, '{{\"color\":1}}', '{{}}',
            '{{\"color\":1}}', '{{}}', 'c', 2, 1700000000000 + n, 1700000000000 + n, 1700000001000 + n
         FROM generate_series({from}, {to}) AS s(n); ANALYZE jobs;"
    );
    let done = Command::new("psql").args([url, "-v", "ON_ERROR_STOP=1", "-qc", &sql]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
